package llmsim

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"
)

// sequence is one prompt of a request and its answer.
type sequence struct {
	x      *exchange
	index  int
	prompt prompt
	tokens int    // of the answer, if nothing fails
	cut    int    // the number of tokens after which it fails, or tokens
	finish string // the reason of the last token
	times  *rand.Rand
	text   *rand.Rand
	made   int       // tokens handed to the sink
	sent   int       // tokens that have left the server
	stamps []int64   // when each of them left, on CLOCK_MONOTONIC
	last   time.Time // when the last token was made
	ended  time.Time // zero when it never left the queue
}

func newSequence(x *exchange, index int) *sequence {
	seed := x.s.c.Seed
	q := &sequence{
		x: x, index: index, prompt: x.req.prompts[index], finish: finishStop,
		times: stream(seed, x.key, timeStream, index),
		text:  stream(seed, x.req.textKey(index, x.key), textStream, 0),
	}
	tokens, limited := answerLength(q.text, x.req.minTokens, x.req.limits[index], x.req.ignoreEOS)
	q.tokens = tokens
	if limited {
		q.finish = finishLength
	}
	switch x.fault {
	case Truncate, StreamError:
		q.cut = q.tokens / 2
	case Empty:
		q.cut = 0
	default:
		q.cut = q.tokens
	}
	if x.s.emissions != nil {
		q.stamps = make([]int64, 0, q.cut)
	}
	return q
}

// run makes the tokens, each when it is due. It returns early when ctx ends or the client has gone.
func (q *sequence) run(ctx context.Context) error {
	s := q.x.s
	waited, err := s.queue.enter(ctx)
	if err != nil {
		return err
	}
	running := s.queue.hold(q.prompt.tokens)
	defer func() {
		s.queue.leave(q.prompt.tokens + q.made)
		q.ended = time.Now()
	}()
	start := q.x.arrived
	if waited {
		start = time.Now()
	}
	s.metrics.queueTime.Observe(start.Sub(q.x.arrived).Seconds())

	pause := newPauser(&s.stall)
	if err := pause.until(ctx, start); err != nil {
		return err
	}
	if err := q.x.out.start(q); err != nil {
		return err
	}
	latency := s.c.TTFT
	for due := start; q.made < q.tokens; latency = s.c.ITL {
		due = due.Add(scale(latency.draw(q.times), slowdown(s.c.Slowdown, running, s.c.MaxNumSeqs)))
		if err := pause.until(ctx, due); err != nil {
			return err
		}
		if q.made == q.cut {
			return nil
		}
		if err := q.next(); err != nil {
			return err
		}
		running = s.queue.hold(1)
	}
	return nil
}

// next makes one token.
func (q *sequence) next() error {
	finish := ""
	if q.made == q.tokens-1 {
		finish = q.finish
	}
	now, m := time.Now(), q.x.s.metrics
	if q.made == 0 {
		m.promptTokens.Add(float64(q.prompt.tokens))
		m.ttft.Observe(now.Sub(q.x.arrived).Seconds())
	} else {
		m.itl.Observe(now.Sub(q.last).Seconds())
	}
	q.last = now
	text := q.x.s.words.pick(q.text, q.made)
	q.made++
	return q.x.out.token(q, text, finish)
}

// count tells that n more tokens left at a moment on CLOCK_MONOTONIC.
func (q *sequence) count(n int, at int64) {
	q.sent += n
	q.x.s.metrics.generationTokens.Add(float64(n))
	if q.x.s.emissions != nil {
		for range n {
			q.stamps = append(q.stamps, at)
		}
	}
}

// account writes what the end of the sequence means to metrics and log; err is what ended the request early.
func (q *sequence) account(err error) {
	s := q.x.s
	reason := q.finish
	switch {
	case err != nil && !errors.Is(err, errTruncated):
		reason = finishAbort
	case q.x.fault == Empty:
		reason = finishStop
	case q.x.fault != "":
		reason = finishError
	}
	s.metrics.success.WithLabelValues(reason).Inc()
	if !q.ended.IsZero() {
		s.metrics.e2e.Observe(q.ended.Sub(q.x.arrived).Seconds())
		s.metrics.requestPrompt.Observe(float64(q.prompt.tokens))
		s.metrics.requestAnswer.Observe(float64(q.sent))
	}
	if s.emissions == nil || q.sent == 0 {
		return
	}
	id := q.x.id
	if len(q.x.req.prompts) > 1 {
		id += "-" + strconv.Itoa(q.index)
	}
	s.emissions.write(id, q.stamps)
}

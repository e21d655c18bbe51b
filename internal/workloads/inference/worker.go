package inference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"assay.bench/internal/load"
)

// worker makes requests one after the other on a connection of its own.
type worker struct {
	workload   *Workload
	connection *connection
	stream     stream
	events     events
	timeline   timeline
	asked      request
	id         []byte
	body       []byte
	message    []byte
	line       []byte
}

// afterDone is how long the end of the body may take after [DONE] before the connection is given up.
const afterDone = time.Second

const sampleBytes = 512

var errLongEvent = fmt.Errorf("an event of the answer is longer than %d KiB", longestEvent>>10)

func newWorker(ctx context.Context, w *Workload) *worker {
	return &worker{
		workload:   w,
		connection: newConnection(ctx, w),
		stream:     stream{ctx: ctx, clock: w.options.Clock},
	}
}

// Close ends the connection.
func (w *worker) Close() { w.connection.end() }

// Do makes one attempt.
func (w *worker) Do(op *load.Op) {
	w.prepare(op)
	op.Sent = w.workload.options.Clock.Now()
	outcome := w.exchange(op)
	if outcome.kind == "" {
		outcome = w.verdict()
	}
	if op.Done == 0 {
		op.Done = w.workload.options.Clock.Now()
	}
	w.timeline.count(op)
	if w.timeline.input >= 0 {
		op.Input(w.timeline.input)
	} else if outcome.answered {
		op.Input(w.asked.input)
	}
	w.log(op, outcome)
	switch {
	case outcome.err != nil:
		op.FailErr(outcome.kind, outcome.err)
	case outcome.kind != "":
		op.Fail(outcome.kind, outcome.code, outcome.sample)
	default:
		op.End = w.timeline.stamps[len(w.timeline.stamps)-1]
		w.timeline.observe(op)
	}
}

// prepare writes the request into message.
func (w *worker) prepare(op *load.Op) {
	o := &w.workload.options
	w.timeline.reset()
	w.asked = w.workload.request(op.Key())
	w.id = append(append(w.id[:0], o.Client...), "-r"...)
	w.id = append(strconv.AppendInt(w.id, int64(o.Repeat), 10), '-')
	w.id = op.AppendName(w.id)
	w.body = w.workload.appendBody(w.body[:0], w.asked)
	w.message = append(append(w.message[:0], w.workload.head...), w.id...)
	w.message = append(w.message, "\r\nContent-Length: "...)
	w.message = strconv.AppendInt(w.message, int64(len(w.body)), 10)
	w.message = append(append(w.message, "\r\n\r\n"...), w.body...)
}

// outcome is how an attempt ended; the zero outcome is an answer with its end mark.
type outcome struct {
	kind   load.Kind
	code   int
	sample string
	err    error
	// answered says that the server accepted the request.
	answered bool
}

// exchange sends the request and reads the answer.
func (w *worker) exchange(op *load.Op) outcome {
	limits := newLimits(&w.workload.options, op.Sent)
	conn, err := w.connection.open(op.Sent, limits.due())
	if err != nil {
		return outcome{kind: openFailure(err), err: err}
	}
	w.stream.conn = conn
	w.stream.r, w.stream.w = 0, 0
	w.stream.start(limits)
	keep := false
	defer func() {
		if !keep {
			w.connection.close()
		}
		w.connection.used = w.workload.options.Clock.Now()
	}()
	if _, err := conn.Write(w.message); err != nil && !w.answerWaits() {
		return w.broken(err, load.Reset)
	}
	h, err := w.stream.head()
	if err != nil {
		return w.broken(err, load.Reset)
	}
	body := newBody(&w.stream, h)
	var out outcome
	if refused := refusal(h); refused.kind != "" {
		out, err = w.sample(&body, refused)
	} else {
		out, err = w.answer(&body)
		out.answered = true
	}
	op.Done = w.stream.at
	keep = err == nil && !h.close && body.state == over && len(w.stream.unread()) == 0
	return out
}

// answerWaits: a server that refuses a request may answer before it has read all of it, and close; then the answer
// counts and not the error of the write.
func (w *worker) answerWaits() bool { return w.stream.fill() == nil }

// broken is the outcome of an error of the connection. A write that a deadline ended, ended by the limit that came first.
func (w *worker) broken(err error, ended load.Kind) outcome {
	var late timeoutError
	switch {
	case errors.As(err, &late):
		return outcome{kind: late.kind, sample: err.Error()}
	case errors.Is(err, errMalformed), errors.Is(err, errTooLong):
		return outcome{kind: load.StreamError, sample: err.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return outcome{kind: ended, sample: "the server closed the connection"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return outcome{kind: w.stream.limits.kind(), err: err}
	}
	return outcome{kind: load.KindOf(err), err: err}
}

// refusal is the outcome of an answer that is not a stream of events.
func refusal(h head) outcome {
	switch {
	case h.status >= 500:
		return outcome{kind: load.HTTP5xx, code: h.status}
	case h.status != 200:
		return outcome{kind: load.HTTP4xx, code: h.status}
	case isFold(h.mediaType, "text/html"):
		return outcome{kind: load.StreamError, sample: "answered HTML instead of a stream of events: "}
	case isFold(h.mediaType, "application/json"):
		return outcome{kind: load.StreamError, sample: "answered JSON instead of a stream of events: "}
	}
	return outcome{}
}

// sample reads a short body to its end and keeps its beginning.
func (w *worker) sample(body *body, out outcome) (outcome, error) {
	const longest = 64 << 10
	read := 0
	for {
		piece, err := body.next()
		if room := sampleBytes - len(out.sample); room > 0 {
			out.sample += string(piece[:min(len(piece), room)])
		}
		read += len(piece)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, err
		case read > longest:
			return out, errTooLong
		}
	}
}

// answer reads a stream of events through its end mark.
func (w *worker) answer(body *body) (outcome, error) {
	w.events.reset()
	for {
		piece, err := body.next()
		if err != nil {
			return w.cut(err)
		}
		w.events.feed(piece)
		for {
			data, found := w.events.next()
			if !found {
				break
			}
			if out, done := w.event(data); done {
				return out, w.finish(body)
			}
		}
		if w.events.long {
			return outcome{kind: load.StreamError, sample: errLongEvent.Error()}, errLongEvent
		}
	}
}

// cut is the outcome of a body that ended without an end mark.
func (w *worker) cut(err error) (outcome, error) {
	if errors.Is(err, io.EOF) {
		if data, found := w.events.rest(); found {
			if out, done := w.event(data); done {
				return out, nil
			}
		}
		if w.events.long {
			return outcome{kind: load.StreamError, sample: errLongEvent.Error()}, errLongEvent
		}
		return outcome{kind: load.Truncated, sample: "the answer ended without [DONE]"}, nil
	}
	return w.broken(err, load.Truncated), err
}

// event takes in one event; done says that the answer is over, well or badly.
func (w *worker) event(data []byte) (out outcome, done bool) {
	if len(data) == 0 {
		return outcome{}, false
	}
	if string(data) == "[DONE]" {
		return outcome{}, true
	}
	c, valid := scanChunk(data)
	if !valid || c.failure {
		return outcome{kind: load.StreamError, sample: string(data[:min(len(data), sampleBytes)])}, true
	}
	w.timeline.add(w.stream.at, c)
	if c.content {
		w.stream.content()
	}
	return outcome{}, false
}

// finish reads what follows the end mark, so that the connection can be used again.
func (w *worker) finish(body *body) error {
	due := w.stream.at + int64(afterDone)
	if !body.buffered() && due < w.stream.limits.due() {
		w.stream.start(limits{first: due, total: due, idle: never})
	}
	for {
		if _, err := body.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// verdict judges a whole answer by its tokens.
func (w *worker) verdict() outcome {
	out := outcome{answered: true}
	n := w.timeline.tokens()
	switch {
	case len(w.timeline.stamps) == 0:
		out.kind, out.sample = load.Empty, fmt.Sprintf("no content; %d tokens by usage", n)
	case n < w.asked.output:
		out.kind, out.sample = load.Short, fmt.Sprintf("%d tokens of %d", n, w.asked.output)
	}
	return out
}

// log writes the attempt's line for Options.Events.
func (w *worker) log(op *load.Op, out outcome) {
	if w.workload.options.Events == nil {
		return
	}
	b := append(append(w.line[:0], `{"id":"`...), w.id...)
	b = append(append(b, `","phase":"`...), op.Phase.String()...)
	b = strconv.AppendInt(append(b, `","scheduled":`...), op.Scheduled, 10)
	b = strconv.AppendInt(append(b, `,"sent":`...), op.Sent, 10)
	kind := out.kind
	if kind == "" {
		kind = "ok"
	}
	b = append(append(append(b, `,"outcome":"`...), kind...), `","tokens":[`...)
	mark := len(b)
	w.timeline.each(func(at int64, tokens int) {
		for range tokens {
			if len(b) > mark {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, at, 10)
		}
	})
	b = append(b, "]}\n"...)
	w.line = b
	w.workload.writeEvents(w.line)
}

package inference

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
)

// worker makes requests one after the other on a connection of its own.
type worker struct {
	workload   *Workload
	connection *http1.Connection
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
	return &worker{workload: w, connection: http1.New(ctx, &w.http)}
}

// Close ends the connection.
func (w *worker) Close() { w.connection.End() }

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
	w.countInput(op, outcome)
	w.log(op, outcome)
	switch {
	case outcome.err != nil:
		op.FailErr(outcome.kind, outcome.err)
	case outcome.kind != "":
		op.Fail(outcome.kind, outcome.code, worded(outcome.sample))
	default:
		op.End = w.timeline.stamps[len(w.timeline.stamps)-1]
		w.timeline.observe(op)
	}
}

// worded puts before the sample of an error in JSON, which may be cut, the message in it. It looks for no more, so that a
// storm of errors does not make the client late.
func worded(sample string) string {
	_, rest, found := strings.Cut(sample, `"message":`)
	rest = strings.TrimLeft(rest, " ")
	if !found || sample[0] != '{' || !strings.HasPrefix(rest, `"`) {
		return sample
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			var words string
			if err := json.Unmarshal([]byte(rest[:i+1]), &words); err == nil && words != "" {
				return words + "\n" + sample
			}
			return sample
		}
	}
	return sample
}

// countInput counts the prompt of a request of whose answer a token came; that of one which succeeded belongs to its end.
// vLLM counts it then too, with the first token: a prompt that it accepted with a 200 and then refused, failed or answered
// with nothing is in no counter of its.
func (w *worker) countInput(op *load.Op, out outcome) {
	n := 0
	if len(w.timeline.stamps) > 0 || w.timeline.output > 0 {
		if n = w.timeline.input; n < 0 {
			n = w.asked.input
		}
	}
	at := int64(load.Nowhen)
	if out.kind == "" {
		at = w.timeline.stamps[len(w.timeline.stamps)-1]
	}
	op.Count(inputTokens, at, int64(n))
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
}

// exchange sends the request and reads the answer.
func (w *worker) exchange(op *load.Op) outcome {
	if err := w.connection.Open(op.Sent, w.workload.timeouts.From(op.Sent)); err != nil {
		return outcome{kind: http1.DialKind(err), err: err}
	}
	keep := false
	defer func() { w.connection.Finish(keep) }()
	if err := w.connection.Write(w.message); err != nil {
		return w.broken(err, load.Reset)
	}
	h, err := w.connection.Head()
	if err != nil {
		return w.broken(err, load.Reset)
	}
	body := http1.NewBody(&w.connection.Stream, h)
	var out outcome
	if refused := refusal(h); refused.kind != "" {
		out, err = w.sample(&body, refused)
	} else {
		out, err = w.answer(&body)
	}
	op.Done = w.connection.At
	keep = err == nil && !h.Close && body.Over() && len(w.connection.Unread()) == 0
	return out
}

// broken is the outcome of an error of the connection.
func (w *worker) broken(err error, ended load.Kind) outcome {
	kind, words := w.connection.Failure(err, ended)
	if words != "" {
		return outcome{kind: kind, sample: words}
	}
	return outcome{kind: kind, err: err}
}

// refusal is the outcome of an answer that is not a stream of events.
func refusal(h http1.Head) outcome {
	switch {
	case h.Status >= 500:
		return outcome{kind: load.HTTP5xx, code: h.Status}
	case h.Status != 200:
		return outcome{kind: load.HTTP4xx, code: h.Status}
	case http1.IsFold(h.MediaType, "text/html"):
		return outcome{kind: load.StreamError, sample: "answered HTML instead of a stream of events: "}
	case http1.IsFold(h.MediaType, "application/json"):
		return outcome{kind: load.StreamError, sample: "answered JSON instead of a stream of events: "}
	}
	return outcome{}
}

// sample reads a short body to its end and keeps its beginning.
func (w *worker) sample(body *http1.Body, out outcome) (outcome, error) {
	const longest = 64 << 10
	read := 0
	for {
		piece, err := body.Next()
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
			return out, http1.ErrTooLong
		}
	}
}

// answer reads a stream of events through its end mark.
func (w *worker) answer(body *http1.Body) (outcome, error) {
	w.events.reset()
	for {
		piece, err := body.Next()
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
	w.timeline.add(w.connection.At, c)
	if c.content {
		w.connection.Content()
	}
	return outcome{}, false
}

// finish reads what follows the end mark, so that the connection can be used again.
func (w *worker) finish(body *http1.Body) error {
	due := w.connection.At + int64(afterDone)
	if !body.Buffered() && due < w.connection.Limits.Due() {
		w.connection.Start(http1.Limits{First: due, Total: due, Idle: http1.Never})
	}
	for {
		if _, err := body.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// verdict judges a whole answer by its tokens.
func (w *worker) verdict() outcome {
	var out outcome
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

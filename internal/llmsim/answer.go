package llmsim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// eventStream sends each token as an event of its own.
type eventStream struct {
	x    *exchange
	w    http.ResponseWriter
	rc   *http.ResponseController
	wire wire

	mu  sync.Mutex
	buf []byte
}

func newEventStream(x *exchange, w http.ResponseWriter, wire wire) *eventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	e := &eventStream{x: x, w: w, rc: http.NewResponseController(w), wire: wire}
	// The header goes ahead of the tokens, also while the request waits, unless nothing may leave now.
	if now := time.Now(); x.s.stall.shift(now).Equal(now) {
		w.WriteHeader(http.StatusOK)
		_ = e.rc.Flush() // an error comes back at the first token
	}
	return e
}

func (e *eventStream) start(q *sequence) error {
	if e.x.req.api != chats {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = e.wire.role(e.buf[:0], e.running(q, 0))
	return e.send()
}

func (e *eventStream) token(q *sequence, text, finish string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = e.wire.token(e.buf[:0], q.index, text, finish, e.running(q, q.made))
	at := int64(0)
	if e.x.s.emissions != nil {
		at = monotonic()
	}
	if err := e.send(); err != nil {
		return err
	}
	q.count(1, at)
	return nil
}

// running returns the usage that stands in every event, or nil when the client did not ask for it.
func (e *eventStream) running(q *sequence, n int) *usage {
	if !e.x.req.running {
		return nil
	}
	return &usage{q.prompt.tokens, n}
}

// send writes the buffer out to the connection.
func (e *eventStream) send() error {
	if _, err := e.w.Write(e.buf); err != nil {
		return err
	}
	return e.rc.Flush()
}

// end writes without a flush: what it writes leaves when the handler returns, after all has been counted.
func (e *eventStream) end(all []*sequence, fault FaultType) error {
	b := e.buf[:0]
	switch fault {
	case Truncate:
		return nil
	case StreamError:
		text, err := json.Marshal(errorBody(injectedError()))
		if err != nil {
			return err
		}
		b = append(append(append(b, "data: "...), text...), "\n\n"...)
	default:
		if fault == Empty {
			for _, q := range all {
				b = e.wire.token(b, q.index, "", finishStop, e.running(q, 0))
			}
		}
		if e.x.req.usage {
			b = e.wire.last(b, total(all))
		}
	}
	_, err := e.w.Write(append(b, doneEvent...))
	return err
}

// total is the usage of all prompts together.
func total(all []*sequence) (u usage) {
	for _, q := range all {
		u.prompt += q.prompt.tokens
		u.completion += q.made
	}
	return u
}

// wholeAnswer keeps the tokens until all are there.
type wholeAnswer struct {
	x    *exchange
	w    http.ResponseWriter
	wire wire

	mu    sync.Mutex
	texts map[int][]byte // by the index of the prompt
}

func (a *wholeAnswer) start(*sequence) error { return nil }

func (a *wholeAnswer) token(q *sequence, text, _ string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.texts == nil {
		a.texts = map[int][]byte{}
	}
	a.texts[q.index] = append(a.texts[q.index], text...)
	return nil
}

// end sends the answer. Its last byte leaves when the handler returns, so that a client that has all of it finds all
// of its tokens counted.
func (a *wholeAnswer) end(all []*sequence, fault FaultType) error {
	if fault == StreamError {
		writeJSON(a.w, http.StatusOK, errorBody(injectedError()))
		return nil
	}
	b := a.wire.open(nil)
	for i, q := range all {
		if i > 0 {
			b = append(b, ',')
		}
		finish := q.finish
		if fault == Empty {
			finish = finishStop
		}
		b = a.wire.whole(b, q.index, string(a.texts[q.index]), finish)
	}
	b = a.wire.close(b, total(all))
	a.w.Header().Set("Content-Type", "application/json")
	a.w.Header().Set("Content-Length", strconv.Itoa(len(b)))

	rest := len(b) - 1
	if fault == Truncate {
		rest = len(b) / 2
	}
	at := monotonic()
	if _, err := a.w.Write(b[:rest]); err != nil {
		return err
	}
	if err := http.NewResponseController(a.w).Flush(); err != nil {
		return err
	}
	if fault == Truncate {
		return errTruncated
	}
	for _, q := range all {
		q.count(q.made, at)
	}
	_, err := a.w.Write(b[rest:])
	return err
}

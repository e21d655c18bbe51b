package llmsim

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// exchange is one request for text that is being answered.
type exchange struct {
	s       *Server
	id      string
	key     uint64 // what the draws depend on
	arrived time.Time
	req     *request
	fault   FaultType
	out     sink
}

// sink is where the tokens of a request go: a stream or a whole answer. Prompts of one request run side by side, so
// all methods but end may be called at the same time.
type sink interface {
	// start tells that a prompt is being answered.
	start(*sequence) error
	// token hands over the next token of a prompt; finish is empty unless it is the last.
	token(q *sequence, text, finish string) error
	// end closes the answer when all prompts have ended.
	end([]*sequence, FaultType) error
}

// generate returns the handler of an api.
func (s *Server) generate(a api) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.underWay.RLock()
		defer s.underWay.RUnlock()
		arrived := time.Now()
		id := clientID(r)
		if id == "" {
			id = "sim-" + strconv.FormatUint(s.ordinal.Add(1), 10)
			w.Header().Set(requestIDHeader, id)
		}
		b, ok := readBody(w, r)
		if !ok {
			return
		}
		req, err := parse(b, a, s.c.Model, s.c.MaxModelLen)
		if err != nil {
			var refused *apiError
			if !errors.As(err, &refused) {
				refused = badRequest("%v", err)
			}
			writeError(w, refused)
			return
		}
		s.stall.begin(arrived)
		x := &exchange{s: s, id: id, key: hash64(id), arrived: arrived, req: req}
		x.fault = drawFault(s.c.Faults, stream(s.c.Seed, x.key, faultStream, 0))
		x.answer(r.Context(), w)
	}
}

// answer runs the request to its end.
func (x *exchange) answer(ctx context.Context, w http.ResponseWriter) {
	if failsAtOnce(x.fault) {
		if newPauser(&x.s.stall).until(ctx, x.arrived) == nil {
			fail(w, x.fault)
		}
		return
	}
	wire := newWire(x.req.api, x.req.stream, x.id, x.s.c.Model, x.s.c.Now().Unix())
	if x.req.stream {
		x.out = newEventStream(x, w, wire)
	} else {
		x.out = &wholeAnswer{x: x, w: w, wire: wire}
	}
	all := x.sequences()
	err := x.run(ctx, all)
	if err == nil {
		err = x.out.end(all, x.fault)
	}
	for _, q := range all {
		q.account(err)
	}
	if err != nil {
		// The answer is not whole: the connection must not look as if it were.
		panic(http.ErrAbortHandler)
	}
}

// sequences returns one for each prompt.
func (x *exchange) sequences() []*sequence {
	all := make([]*sequence, len(x.req.prompts))
	for i := range all {
		all[i] = newSequence(x, i)
	}
	return all
}

// run answers all prompts and returns the first error; an error of one ends the others.
func (x *exchange) run(ctx context.Context, all []*sequence) error {
	if len(all) == 1 {
		return all[0].run(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, q := range all {
		wg.Go(func() {
			if err := q.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

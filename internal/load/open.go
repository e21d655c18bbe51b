package load

import (
	"context"
	"fmt"
	"sync"
)

// openLoop dispatches this rank's slots at their instants and returns when all of them ended.
func (r *Run) openLoop(ctx context.Context) error {
	r.gate.open(r.options)
	cursor := r.options.schedule().Cursor(r.options.Rank, r.options.Ranks)
	for slot, more := cursor.Next(); more; slot, more = cursor.Next() {
		due := r.start + slot.At
		if !r.options.Clock.WaitUntil(due, r.stop) {
			break
		}
		r.recorder.offered(slot.Phase)
		r.dispatch(ctx, Request{Phase: slot.Phase, Index: slot.Index, Scheduled: due})
	}
	return r.gate.drain()
}

// dispatch hands a request to the worker that was idle for the shortest time, whose connection is the warmest; without
// one to a new worker; and beyond maxInFlight to the queue.
func (r *Run) dispatch(ctx context.Context, req Request) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.idle); n > 0 {
		next := g.idle[n-1]
		g.idle = g.idle[:n-1]
		next <- req
		return
	}
	if g.workers < g.most {
		number := g.workers
		g.workers++
		g.wg.Go(func() { r.openWorker(ctx, number, req) })
		return
	}
	if len(g.queue) == g.head {
		g.fullSince = r.options.Clock.Now()
	}
	g.queue = append(g.queue, req)
}

// openWorker makes the request it was started for and then whatever it is handed.
func (r *Run) openWorker(ctx context.Context, number int, req Request) {
	w, err := r.workload.Worker(ctx, number)
	if err != nil {
		r.gate.fail(fmt.Errorf("make worker %d: %w", number, err))
		r.Drain("a worker could not be made")
		return
	}
	defer w.Close()
	var op Op
	inbox := make(chan Request, 1)
	for more := true; more; {
		r.recorder.begin(&op, req)
		r.perform(ctx, w, &op)
		if req, more = r.next(inbox); !more {
			req, more = <-inbox
		}
	}
}

// next is the request that waited longest, if any; else the worker goes idle and its inbox will be filled or closed.
func (r *Run) next(inbox chan Request) (req Request, found bool) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.head < len(g.queue) {
		req = g.pop()
		if g.head == len(g.queue) {
			g.saturated += r.recorder.clip(g.fullSince, r.options.Clock.Now())
		}
		return req, true
	}
	if g.closing {
		close(inbox)
		return req, false
	}
	g.idle = append(g.idle, inbox)
	return req, false
}

// clip is the part of a span that lies in the measured window.
func (r *recorder) clip(from, to int64) int64 {
	return max(0, min(to, r.to.Load())-max(from, r.from))
}

// gate holds an open loop's workers and what waits for them.
type gate struct {
	mu      sync.Mutex
	wg      sync.WaitGroup
	most    int
	workers int
	idle    []chan Request
	// queue from head on waits for maxInFlight, since fullSince.
	queue     []Request
	head      int
	fullSince int64
	saturated int64
	closing   bool
	failure   error
}

func (g *gate) open(o Options) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = max(1, share(o.Open.MaxInFlight, o.Rank, o.Ranks))
}

// pop takes the head of the queue. The caller holds mu.
func (g *gate) pop() Request {
	req := g.queue[g.head]
	g.head++
	if g.head >= 1024 && g.head*2 >= len(g.queue) {
		g.queue = g.queue[:copy(g.queue, g.queue[g.head:])]
		g.head = 0
	}
	return req
}

func (g *gate) queued() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(len(g.queue) - g.head)
}

func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failure == nil {
		g.failure = err
	}
}

// drain lets the workers end once nothing waits any more, and waits for them.
func (g *gate) drain() error {
	g.mu.Lock()
	g.closing = true
	for _, inbox := range g.idle {
		close(inbox)
	}
	g.idle = nil
	g.mu.Unlock()
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failure
}

// saturation is how long requests waited for maxInFlight within the window, up to now.
func (r *Run) saturation(now int64) int64 {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	total := g.saturated
	if g.head < len(g.queue) {
		total += r.recorder.clip(g.fullSince, now)
	}
	return total
}

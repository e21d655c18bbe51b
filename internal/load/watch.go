package load

import (
	"context"
	"time"
)

// watch ticks until ctx ends: it audits, feeds the live view, looks for a hopeless run, and ends the wait at the end.
func (r *Run) watch(ctx context.Context) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for at := r.start; r.options.Clock.WaitUntil(at, ctx.Done()); at = r.nextTick(at) {
			r.tick(at)
		}
	}()
	return over
}

// nextTick is at most a second after the last one, sooner for a short abort window, and meets every edge.
func (r *Run) nextTick(last int64) int64 {
	next := last + int64(time.Second)
	if a := r.options.Abort; a != nil {
		next = min(next, last+max(int64(10*time.Millisecond), int64(a.Window)/10))
	}
	for _, edge := range []int64{r.recorder.from, r.windowEnd(), r.end() + int64(r.options.DrainTimeout)} {
		if last < edge {
			next = min(next, edge)
		}
	}
	return next
}

func (r *Run) tick(at int64) {
	now := r.options.Clock.Now()
	switch {
	case at == r.recorder.from:
		r.auditor.begin(now)
	case at > r.recorder.from && at <= r.windowEnd() && !closed(r.stop):
		r.auditor.look(now)
	}
	keep := int64((liveSpan + 1) * time.Second)
	if a := r.options.Abort; a != nil {
		keep = max(keep, int64(a.Window))
	}
	r.meter.tick(at, keep)
	r.abortIfHopeless()
	r.expire(now)
}

// lookBack audits the end of the window when the watch had no time for it: load and window may end at one instant.
func (r *Run) lookBack() {
	if now := r.options.Clock.Now(); !closed(r.stop) && now >= r.windowEnd() && r.auditor.seen() < r.windowEnd() {
		r.auditor.look(now)
	}
}

func (r *Run) abortIfHopeless() {
	a := r.options.Abort
	if a == nil {
		return
	}
	failed, ended, known := r.meter.errorRatio(int64(a.Window))
	if known && float64(failed) >= a.ErrorRatio*float64(ended) {
		r.abort(failed, ended)
	}
}

// expire ends what is in flight once the wait after the last request is over.
func (r *Run) expire(now int64) {
	r.mu.Lock()
	over := r.end()
	if r.stopped != 0 {
		over = min(over, r.stopped)
	}
	r.mu.Unlock()
	if now >= over+int64(r.options.DrainTimeout) {
		r.cancel(errDrained)
	}
}

// Live is what the load does now.
func (r *Run) Live() Live {
	live := Live{Phase: "Waiting", Total: time.Duration(r.options.Lengths.total())}
	if !r.begun.Load() {
		return live
	}
	now := r.options.Clock.Now()
	t := r.recorder.counted(Warmup, Measure, Cooldown)
	live.Phase, live.T0 = r.phaseName(now), r.t0
	live.Elapsed = time.Duration(now - r.start)
	live.Requests, live.Succeeded, live.Failed = t.Offered, t.Succeeded, t.Failed
	live.InFlight = r.inFlight.Load()
	live.Queued = r.gate.queued()
	live.Rate, live.P99 = r.meter.recent(now)
	return live
}

func (r *Run) phaseName(now int64) string {
	phase, within := r.options.Lengths.at(now - r.start)
	switch {
	case r.ended.Load():
		return "Ended"
	case !within || closed(r.stop):
		return "Draining"
	}
	return [...]string{"Warmup", "Measuring", "Cooldown"}[phase]
}

// Snapshot is the result so far. While the load is under way it is marked as truncated for the given reason. Before T0
// it is ErrNotBegun.
func (r *Run) Snapshot(reason string) (*Result, error) { return r.result(reason) }

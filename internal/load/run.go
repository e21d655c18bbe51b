package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Run is one rank's load, once. Its methods are safe for concurrent use.
type Run struct {
	options  Options
	workload Workload

	// begun is set once the fields of this group are there; they do not change afterwards.
	begun       atomic.Bool
	start, late int64
	t0          int64
	recorder    *recorder
	meter       *meter
	auditor     *auditor
	gate        *gate

	inFlight atomic.Int64
	ended    atomic.Bool
	// stop is closed when the load is to end before the end of its phases.
	stop chan struct{}

	mu      sync.Mutex
	reason  string
	aborted bool
	stopped int64
	cancel  context.CancelCauseFunc
}

// onTime is how late the wait for T0 may end without counting as a late start.
const onTime = 5 * time.Millisecond

var (
	errDrained = errors.New("what was in flight did not end in time")
	errAborted = errors.New("aborted")
)

// New checks the options; the load begins with Run.
func New(o Options, w Workload) (*Run, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if n := len(w.Metrics()); n > 16 {
		return nil, fmt.Errorf("load: a workload has at most 16 metrics, not %d", n)
	}
	if n := len(w.Operations()); n > maxOperations {
		return nil, fmt.Errorf("load: a workload has at most %d operations, not %d", maxOperations, n)
	}
	if n := len(w.Totals()); n > maxTotals {
		return nil, fmt.Errorf("load: a workload has at most %d totals, not %d", maxTotals, n)
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = defaultDrain
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.ScheduleHash == "" {
		var err error
		if o.ScheduleHash, err = o.Hash(); err != nil {
			return nil, err
		}
	}
	return &Run{options: o, workload: w, stop: make(chan struct{})}, nil
}

// Run offers the load, waits for what is in flight, and returns the result, also when the load ended early: by Drain, by
// Options.Abort or, at once and without waiting, by the end of ctx. An error means that there was no load at all. It is
// called once.
func (r *Run) Run(ctx context.Context) (*Result, error) {
	if !r.options.Clock.WaitUntil(r.options.Start, ctx.Done()) {
		return nil, fmt.Errorf("load: stopped before T0: %w", context.Cause(ctx))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.begin(cancel)
	context.AfterFunc(ctx, func() { r.halt(context.Cause(ctx)) })

	watching := r.watch(ctx)
	err := r.offer(ctx)
	if ctx.Err() != nil {
		r.halt(context.Cause(ctx))
	}
	r.ended.Store(true)
	cancel(nil)
	<-watching
	r.lookBack()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return r.result("")
}

// begin sets T0.
func (r *Run) begin(cancel context.CancelCauseFunc) {
	r.start, r.t0 = r.options.Start, r.options.T0
	switch now := r.options.Clock.Now(); {
	case r.start == 0:
		r.start, r.t0 = now, r.options.Wall().UnixNano()
	case now-r.start > int64(onTime):
		r.start, r.late = now, now-r.start
	}
	lengths := r.options.Lengths
	r.recorder = newRecorder(r.workload.Metrics(), r.workload.Operations(), r.workload.Totals(), r.start+lengths.start(Measure), lengths.of(Measure))
	r.meter = &meter{recorder: r.recorder}
	r.auditor = newAuditor(r.options.Root, r.options.Limits)
	r.gate = &gate{}
	r.mu.Lock()
	r.cancel = cancel
	r.mu.Unlock()
	r.begun.Store(true)
}

// offer runs the loop and returns when everything ended, and not before the phases are over: a window in which the last
// request ended early is as long as any other.
func (r *Run) offer(ctx context.Context) error {
	loop := r.openLoop
	if r.options.Closed != nil {
		loop = r.closedLoop
	}
	if err := loop(ctx); err != nil {
		return err
	}
	r.options.Clock.WaitUntil(r.end(), r.stop)
	return nil
}

// end is the instant at which the phases are over.
func (r *Run) end() int64 { return r.start + r.options.Lengths.total() }

// windowEnd is the instant at which the measured window was planned to be over.
func (r *Run) windowEnd() int64 { return r.recorder.from + r.options.Lengths.of(Measure) }

// Drain ends the load early: nothing more is offered, what is in flight is waited for. The first reason counts. It may
// be called at any time; after the end of the phases it does nothing.
func (r *Run) Drain(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun.Load() && r.options.Clock.Now() >= r.end() {
		return
	}
	r.drain(reason)
}

// drain closes stop once. The caller holds mu.
func (r *Run) drain(reason string) bool {
	if closed(r.stop) || r.ended.Load() {
		return false
	}
	r.reason = reason
	if r.begun.Load() {
		r.stopped = r.options.Clock.Now()
		r.recorder.to.Store(min(r.recorder.to.Load(), max(r.stopped, r.recorder.from)))
	}
	close(r.stop)
	return true
}

// halt notes that the run's context ended.
func (r *Run) halt(cause error) {
	if errors.Is(cause, errDrained) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drain(fmt.Sprintf("stopped: %v", cause))
}

// abort ends a hopeless run with what is in flight.
func (r *Run) abort(failed, ended int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reason := fmt.Sprintf("%d of the %d requests that ended within %v failed, at least the ratio %v",
		failed, ended, r.options.Abort.Window, r.options.Abort.ErrorRatio)
	if r.drain(reason) {
		r.aborted = true
		r.cancel(errAborted)
	}
}

// perform makes one request with its retries.
func (r *Run) perform(ctx context.Context, w Worker, op *Op) {
	r.inFlight.Add(1)
	defer r.inFlight.Add(-1)
	clock := r.options.Clock
	pause := int64(r.options.BackOff)
	cut := false // the last attempt, by the end of ctx
	for n := 0; ; n++ {
		if ctx.Err() != nil { // what the last attempt came to still stands in op
			op.Done = clock.Now()
			break
		}
		op.attempt(n)
		r.attempt(w, op)
		if op.kind == ok {
			break
		}
		if cut = ctx.Err() != nil; !cut {
			r.recorder.attemptFailed(op)
		}
		if n == r.options.Retries || !clock.WaitUntil(op.Done+pause, ctx.Done()) {
			break
		}
		pause *= 2
	}
	if op.kind != ok || op.firstSent == 0 {
		op.excuse(context.Cause(ctx))
	}
	if cut && op.kind != unfinished {
		r.recorder.attemptFailed(op)
	}
	r.recorder.ended(op)
}

// attempt makes one attempt and fills in what the worker left out.
func (r *Run) attempt(w Worker, op *Op) {
	r.recorder.sending(op)
	called := r.options.Clock.Now()
	w.Do(op)
	if op.kind.unsent() {
		r.recorder.unsent(op)
	}
	if op.Sent == 0 {
		op.Sent = called
	}
	if op.Done == 0 {
		op.Done = r.options.Clock.Now()
	}
	if op.End == 0 {
		op.End = op.Done
	}
	if op.Attempt == 0 {
		r.recorder.sent(op)
	}
}

// excuse settles a request that did not succeed while the run's context ended: what outlasted the wait at the end is
// timeout_total, what we stopped ourselves is not the server's failure.
func (o *Op) excuse(cause error) {
	switch {
	case cause == nil:
	case errors.Is(cause, errDrained):
		o.kind, o.code, o.sample = TimeoutTotal, 0, cause.Error()
	default:
		o.kind = unfinished
	}
}

package node

import (
	"context"
	"fmt"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3"
)

// storer is a workload that keeps objects in its target: they are stored before its load, and removed after it.
type storer interface {
	load.Workload
	// Store stores this rank's share, Remove everything that any rank has stored. Both return the calls that they made,
	// also beside an error.
	Store(ctx context.Context, rank, ranks int) (s3.Calls, error)
	Remove(ctx context.Context) (s3.Calls, error)
	// Stored is how many objects Store has stored, of all that it will.
	Stored() (done, all int64)
}

// stage is what a client stores for one repeat.
type stage struct {
	objects storer
	// calls were made outside of the load.
	calls    s3.Calls
	warnings []string
}

// How long a clean-up may take once its rank has been told to end, and one after a load that ended early; and how long
// the first rank waits then for the others.
const (
	cleanUpGrace  = 10 * time.Second
	othersGrace   = 3 * time.Second
	serviceGrace  = 2 * time.Second
	stageInterval = 200 * time.Millisecond
)

// setUp waits for the service and stores what the load reads.
func (c *client) setUp(ctx context.Context, k int, clock load.Clock) *ending {
	c.status.must(func(st *rundir.Status) {
		st.Repeat, st.Ready, st.T0, st.Phase, st.Live = k, false, 0, rundir.PhaseWaiting, nil
	})
	endpoint, end := c.barrier.arrive(ctx, k)
	if end != nil {
		return end
	}
	objects, err := c.storer(k, endpoint, clock)
	if err != nil {
		return asEnding(err)
	}
	st := &stage{objects: objects, calls: s3.Calls{}}
	c.stage.Store(st)
	c.status.must(func(st *rundir.Status) { st.Phase = rundir.PhasePreparing })
	c.log("SetUp", "repeat", k)
	begin := time.Now()
	calls, err := c.store(ctx, k, objects)
	st.calls.Add(calls)
	c.status.must(func(st *rundir.Status) { st.Message = "" })
	if err != nil {
		end := c.setUpEnding(ctx, err)
		c.log("SetUpFailed", "repeat", k, "reason", end.reason, "message", end.message)
		return end
	}
	done, _ := objects.Stored()
	c.log("SetUpDone", "repeat", k, "objects", done, "calls", calls, "took", time.Since(begin))
	return nil
}

// store stores, until the service or another rank is missing for good.
func (c *client) store(ctx context.Context, k int, objects storer) (s3.Calls, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(c.job.poll())
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.drain:
				cancel(endf(rundir.ExitReasonStopped, "control.json asked to drain"))
				return
			case now := <-tick.C:
				if end := c.barrier.look(now, k); end != nil {
					cancel(end)
					return
				}
			}
		}
	}()
	calls, err := objects.Store(ctx, c.number, c.spec.Ranks)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-watched
	return calls, err
}

// setUpEnding is how a rank ends whose set-up failed. When the service itself has ended, it says so a moment later, and
// that is then the cause.
func (c *client) setUpEnding(ctx context.Context, err error) *ending {
	if ctx.Err() != nil {
		return cause(ctx)
	}
	if end := asEnding(err); end.reason != rundir.ExitReasonError {
		return end
	}
	if s := c.barrier.service; s != nil {
		tick := time.NewTicker(stageInterval)
		defer tick.Stop()
		for range serviceGrace / stageInterval {
			<-tick.C
			s.look(time.Now())
			if end := serviceLost(s, time.Now(), c.lostAfter); end != nil {
				return end
			}
		}
	}
	return endf(rundir.ExitReasonSetUpFailed, "%v", err)
}

// cleanUp removes what was stored. The first rank does it for all, once none of them loads any more; end is how its own
// load ended. What cannot be removed is a warning, for the measurement is whole without it.
func (c *client) cleanUp(ctx context.Context, k int, end *ending) {
	st := c.stage.Load()
	if st == nil || c.number != 0 || !c.job.plan.DeleteObjects {
		return
	}
	early := end.code != rundir.ExitOK
	c.status.must(func(st *rundir.Status) { st.Phase = rundir.PhaseCleaning })
	c.awaitOthers(ctx, k, early)
	ctx, cancel := c.graceful(ctx, early)
	defer cancel()
	begin := time.Now()
	calls, err := st.objects.Remove(ctx)
	st.calls.Add(calls)
	if s := c.barrier.service; err != nil && s != nil {
		if s.look(time.Now()); s.over() || s.status != nil && s.status.Phase == rundir.PhaseStopping {
			c.log("CleanUpFailed", "repeat", k, "error", err)
			return // its server has ended, and took with it what was stored
		}
	}
	if err != nil {
		st.warnings = append(st.warnings, fmt.Sprintf("not everything below its prefix is removed: %v", err))
		c.log("CleanUpFailed", "repeat", k, "error", err)
		return
	}
	c.log("CleanUpDone", "repeat", k, "calls", calls, "took", time.Since(begin))
}

// awaitOthers waits until every other rank of this client has closed the repeat, or never will, and no other client loads
// any more: its measurement is not to be disturbed.
func (c *client) awaitOthers(ctx context.Context, k int, early bool) {
	if early {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), othersGrace)
		defer cancel()
	}
	tick := time.NewTicker(c.job.poll())
	defer tick.Stop()
	for {
		open, now := 0, time.Now()
		for _, p := range c.barrier.clients {
			if p.name == c.name && p.rank == c.number {
				continue
			}
			if p.look(now); p.name != c.name {
				if p.measures() && !p.lost(now, c.lostAfter) {
					open++
				}
			} else if p.closed(k) == nil && !p.over() && !p.lost(now, c.lostAfter) {
				open++
			}
		}
		if open == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// graceful is a context that ends some time after ctx does, or after control.json asks to drain; atOnce begins to count.
func (c *client) graceful(ctx context.Context, atOnce bool) (context.Context, context.CancelFunc) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		if !atOnce {
			select {
			case <-ctx.Done():
			case <-c.drain:
			case <-own.Done():
			}
		}
		grace := time.NewTimer(cleanUpGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-own.Done():
		}
	}()
	return own, cancel
}

// addStage adds to a rank's result what it did outside of its load.
func (c *client) addStage(r *results.Rank) {
	st := c.stage.Load()
	if st == nil {
		return
	}
	r.Warnings = st.warnings
	for name, n := range st.calls.All() {
		*r = r.Counted(name, n)
	}
}

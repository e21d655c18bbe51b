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
		c.cleanUp(ctx, k, end)
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
	ctx, cancel := graceful(ctx, cleanUpGrace, early)
	defer cancel()
	begin := time.Now()
	calls, err := st.objects.Remove(ctx)
	st.calls.Add(calls)
	if err != nil {
		st.warnings = append(st.warnings, fmt.Sprintf("not everything below its prefix is removed: %v", err))
		c.log("CleanUpFailed", "repeat", k, "error", err)
		return
	}
	c.log("CleanUpDone", "repeat", k, "calls", calls, "took", time.Since(begin))
}

// awaitOthers waits until every other rank of this client has closed the repeat, or never will.
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
			if p.name != c.name || p.rank == c.number {
				continue
			}
			if p.look(now); p.closed(k) == nil && !p.over() && !p.lost(now, c.lostAfter) {
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

// graceful is a context that ends some time after another one does; at once begins to count.
func graceful(ctx context.Context, grace time.Duration, atOnce bool) (context.Context, context.CancelFunc) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	begin := func() { time.AfterFunc(grace, cancel) }
	if atOnce {
		begin()
		return own, cancel
	}
	stop := context.AfterFunc(ctx, begin)
	return own, func() { stop(); cancel() }
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

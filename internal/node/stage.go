package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3"
)

// storer is a workload that keeps objects in its target: they are stored before its load, and removed after it.
type storer interface {
	load.Workload
	// Store stores this rank's share, Remove what this rank and the others have begun to store. Both return the calls that
	// they made, also beside an error.
	Store(ctx context.Context) (s3.Calls, error)
	Remove(ctx context.Context, others ...s3.Manifest) (s3.Calls, error)
	// Manifest is what this rank has begun to store; ahead, what it may have begun when it is asked again.
	Manifest(ahead bool) s3.Manifest
	// Stored is how many objects Store has stored, of all that it will.
	Stored() (done, all int64)
}

// stage is what a client stores for one repeat.
type stage struct {
	objects storer
	// calls were made outside of the load.
	calls    s3.Calls
	warnings []string
	// told says that the claim is told.
	told bool
}

// How long a set-up that failed waits for word that its service has ended, and how often it looks.
const (
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
	if err := c.tellNow(k, objects.Manifest(true)); err != nil {
		return asEnding(err)
	}
	begin := time.Now()
	calls, err := c.store(ctx, k, objects)
	st.calls.Add(calls)
	c.tellClaim(k, objects)
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
				c.tellClaim(k, objects)
				if end := c.barrier.look(now, k); end != nil {
					cancel(end)
					return
				}
			}
		}
	}()
	calls, err := objects.Store(ctx)
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

// tell writes to the node's disk what this rank has stored, for the one that removes it: the first rank, or the job where
// that is lost. share carries it there, also when this rank is killed.
func (c *client) tell(k int, m s3.Manifest) error {
	if !c.job.plan.DeleteObjects {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.spool.keep(k, rundir.ObjectsFile, b)
}

// tellClaim tells, once, that the prefix is ours: what is below one that is not, nobody may remove.
func (c *client) tellClaim(k int, objects storer) {
	st := c.stage.Load()
	if c.number > 0 || st.told {
		return
	}
	if m := objects.Manifest(true); m.Claimed {
		st.told = true
		c.check(c.tellNow(k, m))
	}
}

// tellNow is tell, and carries it to the run directory.
func (c *client) tellNow(k int, m s3.Manifest) error {
	return errors.Join(c.tell(k, m), c.spool.share())
}

// told are the manifests of the other ranks of this client. What a rank has stored that never wrote one, is not known and
// stays.
func (c *client) told(k int) []s3.Manifest {
	var all []s3.Manifest
	for _, p := range c.barrier.clients {
		if p.name != c.name || p.rank == c.number {
			continue
		}
		m, err := manifest(p.dir, p.rank, k)
		if err != nil {
			c.log("ObjectsNotKnown", "repeat", k, "rank", p.rank, "error", err)
			continue
		}
		all = append(all, m)
	}
	return all
}

// manifest is what a rank has told that it stored for a repeat.
func manifest(dir string, rank, k int) (s3.Manifest, error) {
	b, err := os.ReadFile(filepath.Join(rundir.Repeat(dir, k), rundir.ObjectsFile))
	if err != nil {
		return s3.Manifest{}, err
	}
	m, err := s3.ParseManifest(b)
	if err == nil && m.Rank != rank {
		err = fmt.Errorf("%s of rank %d is that of rank %d", rundir.ObjectsFile, rank, m.Rank)
	}
	return m, err
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

package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// client is a rank that makes a load. It lives over all repeats.
type client struct {
	*rank
	spec    *rundir.Client
	cred    *rundir.Credential
	barrier *barrier
	spool   *spool
	run     atomic.Pointer[load.Run]
	// stage is what the client has stored for the repeat under way; nil where its workload stores nothing.
	stage atomic.Pointer[stage]
}

// loadRank is `assay-node load`.
func loadRank(r *rank, s secrets) int {
	c, err := newClient(r, s)
	if err != nil {
		return r.refuse(err)
	}
	if err := wakeEarly(); err != nil {
		r.sayf("%v", err)
	}
	unused := spareCollections()
	defer runtime.KeepAlive(unused)
	return r.run(rundir.PhaseWaiting, nil, c.work)
}

// unusedBytes is what a client holds and never touches, so that no memory stands behind it.
const unusedBytes = 32 << 20

// spareCollections lets a client collect its garbage when there is as much of it as of what it returns, instead of after every
// few megabytes: a collection stops its threads, and for as long as the host keeps one of them from its core. The result
// has to be kept alive.
func spareCollections() []byte { return make([]byte, unusedBytes) }

// newClient finds the client in the plan.
func newClient(r *rank, s secrets) (*client, error) {
	for i := range r.job.plan.Clients {
		spec := &r.job.plan.Clients[i]
		if spec.Name != r.name {
			continue
		}
		if r.number < 0 || r.number >= spec.Ranks {
			return nil, fmt.Errorf("client %s has the ranks 0 to %d, not %d", spec.Name, spec.Ranks-1, r.number)
		}
		if spec.Target.Credential != "" && s.Credential == nil {
			return nil, fmt.Errorf("client %s needs the credential %s/%s, which the batch step reads", spec.Name,
				rundir.SecretsDir, spec.Target.Credential)
		}
		c := &client{rank: r, spec: spec, cred: s.Credential}
		r.refresh = c.live
		var err error
		c.barrier, err = c.newBarrier()
		return c, err
	}
	return nil, fmt.Errorf("the plan has no client %q", r.name)
}

func (c *client) newBarrier() (*barrier, error) {
	b := &barrier{job: c.job, lostAfter: c.lostAfter, services: peersOf(c.job, c.job.services()),
		clients: peersOf(c.job, c.job.clients()), host: c.world.Hostname, now: c.world.Now}
	for _, cl := range c.job.plan.Clients {
		b.lead = max(b.lead, cl.Lead.D())
	}
	if len(b.clients) == 0 {
		return nil, errors.New("the plan's list of all clients is empty")
	}
	b.leader = b.clients[0]
	b.leads = b.leader.dir == c.dir
	if name := c.spec.Target.Service; name != "" {
		for _, p := range b.services {
			if p.name == name && p.leads {
				b.targets = append(b.targets, p)
			}
		}
		if len(b.targets) == 0 {
			return nil, fmt.Errorf("client %s targets the service %q, which the plan does not list", c.name, name)
		}
		b.service = b.targets[0]
	}
	b.announce = func(t0 time.Time) {
		c.status.must(func(st *rundir.Status) { st.T0 = t0.UnixNano() })
	}
	return b, nil
}

// work makes every repeat of the job.
func (c *client) work(ctx context.Context) *ending {
	c.barrier.control, c.barrier.drain = c.control, c.drain
	select {
	case <-c.provenance: // nothing else may run beside the load
	case <-ctx.Done():
		return cause(ctx)
	}
	var err error
	if c.spool, err = openSpool(c.world, c.job, c.name, c.number); err != nil {
		return asEnding(err)
	}
	defer func() {
		if err := c.spool.close(); err != nil {
			c.log("SamplesNotClosed", "error", err)
		}
	}()
	for k := c.job.plan.Repeats.First; ; k++ {
		end := c.repeat(ctx, k)
		if err := writeExit(rundir.Repeat(c.dir, k), end, c.world.Now()); err != nil {
			return asEnding(err)
		}
		if end.code != rundir.ExitOK || k == c.job.lastRepeat() {
			return end
		}
	}
}

// repeat stores what the load needs, waits at the barrier, makes the load and writes the result.
func (c *client) repeat(ctx context.Context, k int) *ending {
	clock, err := load.NewClock()
	if err != nil {
		return asEnding(err)
	}
	defer func() { _ = clock.Close() }() // a timer
	c.run.Store(nil)
	c.stage.Store(nil)
	defer c.stage.Store(nil)
	offer, err := c.offer(k)
	if err != nil {
		return asEnding(err)
	}
	var end *ending
	if c.spec.S3 != nil {
		end = c.setUp(ctx, k, clock)
	}
	var out *load.Result
	if end == nil {
		out, end = c.load(ctx, k, offer, clock)
	}
	if out != nil && c.stage.Load() != nil {
		c.check(c.keepWhole(k, out)) // the clean-up takes its time, and the rank may be lost meanwhile
	}
	c.cleanUp(ctx, k, end)
	if out == nil {
		return end
	}
	if err := c.finish(k, out); err != nil {
		return asEnding(err)
	}
	c.log("LoadEnded", "repeat", k, "reason", end.reason, "requests", out.All.Offered, "failed", out.All.Failed,
		"startLate", time.Duration(out.StartLate))
	return end
}

// load waits at the barrier and makes the load.
func (c *client) load(ctx context.Context, k int, offer load.Options, clock load.Clock) (*load.Result, *ending) {
	c.status.must(func(st *rundir.Status) {
		st.Repeat, st.Ready, st.T0, st.Phase, st.Live = k, true, 0, rundir.PhaseReady, nil
	})
	s, end := c.barrier.wait(ctx, k)
	if end != nil {
		return nil, end
	}
	run, err := c.prepare(k, offer, s, clock)
	if err != nil {
		return nil, asEnding(err)
	}
	c.run.Store(run)
	defer c.run.Store(nil)
	first := rundir.PhaseMeasuring
	if c.spec.Warmup > 0 {
		first = rundir.PhaseWarmup
	}
	c.status.must(func(st *rundir.Status) { st.Ready, st.T0, st.Phase = false, s.t0.UnixNano(), first })
	c.log("LoadStarts", "repeat", k, "t0", s.t0.UTC())
	return c.drive(ctx, k, run)
}

// drive runs the load beside everything that may end it early.
func (c *client) drive(ctx context.Context, k int, run *load.Run) (*load.Result, *ending) {
	ctx, cancel := context.WithCancelCause(ctx)
	beside, stopBeside := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { c.watchService(beside, k, cancel) })
	all.Go(func() { c.watchFirst(beside, k, run, cancel) })
	all.Go(func() { c.obey(beside, k, run) })
	all.Go(func() { c.sample(beside, k, run) })
	all.Go(func() { c.share(beside) })

	out, err := run.Run(ctx)
	early := context.Cause(ctx)
	stopBeside()
	all.Wait()
	cancel(nil)
	return out, c.verdict(out, err, early)
}

// verdict says how a load ended.
func (c *client) verdict(out *load.Result, err, early error) *ending {
	var end *ending
	switch {
	case early != nil && !c.whole(out):
		e := *asEnding(early)
		end = &e
	case err != nil:
		return asEnding(err)
	case out.Aborted:
		end = endf(rundir.ExitReasonAborted, "%s", out.Reason)
	case out.Truncated:
		end = endf(rundir.ExitReasonStopped, "%s", out.Reason)
	default:
		return &ending{reason: rundir.ExitReasonEnded}
	}
	end.truncated = true
	if out != nil {
		out.Truncated, out.Reason = true, end.message
	}
	return end
}

// whole says that a load was not ended early: every phase has its length, and every request its end.
func (c *client) whole(out *load.Result) bool {
	return out != nil && !out.Truncated && out.All.Offered == out.All.Succeeded+out.All.Failed &&
		out.Warmup == int64(c.spec.Warmup) && out.Window == int64(c.spec.Duration) && out.Cooldown == int64(c.spec.Cooldown)
}

// watchService ends the load when a server of its target ends or is lost.
func (c *client) watchService(ctx context.Context, k int, end context.CancelCauseFunc) {
	for now := range ticks(ctx, 4*c.job.poll()) {
		for _, s := range c.barrier.targets {
			if lost := c.notServed(s, now, k); lost != nil {
				end(lost)
				return
			}
		}
	}
}

// notServed says that a server serves a repeat no more, or nil.
func (c *client) notServed(s *peer, now time.Time, k int) *ending {
	s.look(now)
	if lost := serviceLost(s, now, c.lostAfter); lost != nil || stands(s, k) {
		return lost
	}
	return endf(s.fate(rundir.ExitReasonServiceLost), "service %s/%d does not serve repeat %d any more: %s: %s",
		s.name, s.rank, k, s.status.Reason, s.status.Message)
}

// obey drains when control.json asks for it, and writes what there is when the time limit is near.
func (c *client) obey(ctx context.Context, k int, run *load.Run) {
	drain := c.drain
	for {
		select {
		case <-ctx.Done():
			return
		case <-drain:
			drain = nil
			run.Drain("control.json asked to drain")
		case <-c.flush:
			c.check(c.keep(k, run))
			c.check(c.spool.share())
		}
	}
}

// live puts what the load does into the status.
func (c *client) live(st *rundir.Status) {
	run := c.run.Load()
	if run == nil {
		if s := c.stage.Load(); s != nil && st.Phase == rundir.PhasePreparing {
			done, all := s.objects.Stored()
			st.Message = fmt.Sprintf("has stored %d of its %d objects", done, all)
		}
		return
	}
	l := run.Live()
	if phase, ok := phaseOf(l.Phase); ok {
		st.Phase = phase
	}
	if l.T0 != 0 {
		st.T0 = l.T0
	}
	st.Live = &rundir.Live{Rate: l.Rate, P99: l.P99.Seconds(), Requests: l.Requests, Errors: l.Failed,
		Elapsed: l.Elapsed.Seconds(), Total: l.Total.Seconds()}
}

// phaseOf maps the words of a load to those of a status; before T0 and after the end the status has better ones.
func phaseOf(s string) (string, bool) {
	switch s {
	case rundir.PhaseWarmup, rundir.PhaseMeasuring, rundir.PhaseCooldown, rundir.PhaseDraining:
		return s, true
	}
	return "", false
}

// finish writes result.json of a repeat that is over; what was kept of it is not needed any more.
func (c *client) finish(k int, out *load.Result) error {
	b, err := results.Seal(c.result(k, out))
	if err != nil {
		return err
	}
	if err := writeRepeat(rundir.Repeat(c.dir, k), rundir.ResultFile, b); err != nil {
		return err
	}
	return c.spool.drop(k)
}

// keepWhole writes result.json of a load that is over where a lost rank leaves it.
func (c *client) keepWhole(k int, out *load.Result) error {
	b, err := results.SealCompact(c.soFar(k, out))
	if err != nil {
		return err
	}
	return errors.Join(c.spool.keep(k, rundir.ResultFile, b), c.spool.share())
}

// keep writes result.json of a repeat under way to the node's disk: what is left of it when the rank is killed.
func (c *client) keep(k int, run *load.Run) error {
	reason := "it was killed or lost; these are the last numbers that it had saved"
	if c.timeLimit.Load() {
		reason = "the time limit of the job is near"
	}
	out, err := run.Snapshot(reason)
	if errors.Is(err, load.ErrNotBegun) {
		return nil
	}
	if err != nil {
		return err
	}
	out.Truncated, out.Reason = true, cmp.Or(out.Reason, reason)
	b, err := results.SealCompact(c.soFar(k, out))
	if err != nil {
		return err
	}
	return c.spool.keep(k, rundir.ResultFile, b)
}

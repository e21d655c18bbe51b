package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// How long a clean-up may take once its rank has been told to end, and one after a load that ended early; and how long
// the first rank waits then for the others, beside what they still have in flight.
const (
	cleanUpGrace = 10 * time.Second
	othersGrace  = 3 * time.Second
)

// cleanUp removes what was stored. The first rank does it for all, once none of them loads any more, and the others tell it
// what they have stored; end is how its own load ended. When that was early, it says so before it begins, for the others
// must not be left to load what is being removed. What cannot be removed is a warning, for the measurement is whole without
// it.
func (c *client) cleanUp(ctx context.Context, k int, end *ending) {
	st := c.stage.Load()
	if st == nil || !c.job.plan.DeleteObjects {
		return
	}
	if c.number != 0 {
		c.check(c.tellNow(k, st.objects.Manifest(false)))
		return
	}
	early := end.code != rundir.ExitOK
	c.status.must(func(st *rundir.Status) {
		if st.Phase = rundir.PhaseCleaning; early {
			st.Reason, st.Message = end.reason, end.message
		}
	})
	if open := c.awaitOthers(ctx, k, early); len(open) > 0 {
		st.warnings = append(st.warnings, fmt.Sprintf("%s had not ended when the clean-up began: what was stored after it is left below its prefix",
			strings.Join(open, ", ")))
		c.log("OthersNotEnded", "repeat", k, "ranks", open)
	}
	ctx, cancel := c.graceful(ctx, early)
	defer cancel()
	begin := time.Now()
	calls, err := st.objects.Remove(ctx, c.told(k)...)
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
// any more: its measurement is not to be disturbed. It returns the ranks of this client that it gave up.
func (c *client) awaitOthers(ctx context.Context, k int, early bool) []string {
	ctx, cancel := c.patient(ctx, early)
	defer cancel()
	begun := time.Now()
	tick := time.NewTicker(c.job.poll())
	defer tick.Stop()
	for {
		own, others := c.loading(k)
		if len(own) == 0 && (others == 0 || early && time.Since(begun) > othersGrace) {
			return nil
		}
		select {
		case <-ctx.Done():
			return own
		case <-tick.C:
		}
	}
}

// loading are the other ranks of this client that have not closed a repeat and still may, and how many ranks of other
// clients measure.
func (c *client) loading(k int) (own []string, others int) {
	now := time.Now()
	for _, p := range c.barrier.clients {
		if p.name == c.name && p.rank == c.number {
			continue
		}
		p.look(now)
		switch {
		case p.over() || p.lost(now, c.lostAfter):
		case p.name != c.name:
			if p.measures() {
				others++
			}
		case p.closed(k) == nil:
			own = append(own, fmt.Sprintf("%s/%d", p.name, p.rank))
		}
	}
	return own, others
}

// patient is a context that ends some time after ctx does; after a load that ended early also when what the others had in
// flight has timed out.
func (c *client) patient(ctx context.Context, early bool) (context.Context, context.CancelFunc) {
	own, cancel := outlive(ctx, othersGrace, nil)
	if !early {
		return own, cancel
	}
	limit := time.AfterFunc(c.spec.TimeoutTotal.D()+othersGrace, cancel)
	return own, func() {
		limit.Stop()
		cancel()
	}
}

// graceful is a context that ends some time after ctx does, or after control.json asks to drain; atOnce begins to count.
func (c *client) graceful(ctx context.Context, atOnce bool) (context.Context, context.CancelFunc) {
	var begin <-chan struct{} = c.drain
	if atOnce {
		now := make(chan struct{})
		close(now)
		begin = now
	}
	return outlive(ctx, cleanUpGrace, begin)
}

// outlive is a context that ends some time after ctx does, or after also is closed, which may be nil.
func outlive(ctx context.Context, grace time.Duration, also <-chan struct{}) (context.Context, context.CancelFunc) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-also:
		case <-own.Done():
			return
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-own.Done():
		}
	}()
	return own, cancel
}

// watchFirst ends the load when the first rank of this client ends early, for that removes what is loaded here. Where it
// was asked to end, what is in flight may come to its end, as there.
func (c *client) watchFirst(ctx context.Context, k int, run *load.Run, end context.CancelCauseFunc) {
	first := c.first()
	if c.stage.Load() == nil || first == nil {
		return
	}
	for now := range ticks(ctx, 4*c.job.poll()) {
		if first.look(now); !first.leaving(k) {
			continue
		}
		e := endf(first.fate(rundir.ExitReasonPeerLost), "client %s/0 ended repeat %d: %s: %s", c.name, k, first.status.Reason, first.status.Message)
		if e.reason == rundir.ExitReasonStopped {
			run.Drain(e.message)
		} else {
			end(e)
		}
		return
	}
}

// first is the first rank of this client; nil for itself.
func (c *client) first() *peer {
	for _, p := range c.barrier.clients {
		if p.name == c.name && p.rank == 0 && c.number != 0 {
			return p
		}
	}
	return nil
}

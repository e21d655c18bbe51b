package sim

import (
	"fmt"
	"slices"
	"time"

	"assay.bench/internal/rundir"
)

// How long a client takes beside its phases, before Options.Speed.
const (
	clientStarts = 200 * time.Millisecond
	clientDrains = 200 * time.Millisecond
	// leadRemote is the least time to T0 when ranks are on several hosts.
	leadRemote = 2 * time.Second
)

// startClient begins a repeat: the rank gets ready whether or not its service is.
func (c *Cluster) startClient(r *rank) {
	r.ready, r.t0 = false, time.Time{}
	r.turn(rundir.PhaseWaiting)
	c.planned(r, c.scaled(clientStarts), func() {
		if reason := c.fail[r.name]; reason != "" {
			c.endRank(r, rundir.Exit{Reason: reason, Code: rundir.ExitFailed, Message: "the simulation was told to fail here"})
			return
		}
		r.ready = true
		r.turn(rundir.PhaseReady)
	})
}

func (c *Cluster) lookAsClient(r *rank) bool {
	if why, gone := c.serviceGone(r); gone {
		c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonServiceLost, Code: rundir.ExitFailed, Message: why, Truncated: r.loads()})
		return true
	}
	if why, gone := c.peerGone(r); gone {
		c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonPeerLost, Code: rundir.ExitFailed, Message: why, Truncated: r.loads()})
		return true
	}
	if r.drain && (r.phase == rundir.PhaseWaiting || r.phase == rundir.PhaseReady) {
		c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonStopped, Code: rundir.ExitFailed, Message: "control.json asked to drain"})
		return true
	}
	if r.drain && r.phase != rundir.PhaseDraining {
		c.drainClient(r, rundir.Exit{Reason: rundir.ExitReasonStopped, Code: rundir.ExitFailed, Message: "control.json asked to drain", Truncated: true})
		return true
	}
	if r.phase == rundir.PhaseReady && r.t0.IsZero() && c.allStand(r) {
		c.openBarrier(r)
		return true
	}
	return false
}

// openBarrier is the leader's: every rank of every client starts at one T0.
func (c *Cluster) openBarrier(leader *rank) {
	lead, all := leader.client.Lead.D(), c.allClients(leader.job)
	if len(all) > 1 {
		lead = max(lead, leadRemote)
	}
	t0 := c.now.Add(c.scaled(lead))
	for _, r := range all {
		r.t0 = t0
		r.writes++
		c.planned(r, c.scaled(lead), func() { c.load(r) })
	}
}

// load makes the phases of a load.
func (c *Cluster) load(r *rank) {
	r.ready = false
	r.turn(rundir.PhaseWarmup)
	c.planned(r, c.scaled(r.client.Warmup.D()), func() {
		r.turn(rundir.PhaseMeasuring)
		c.planned(r, c.scaled(r.client.Duration.D()), func() {
			r.turn(rundir.PhaseCooldown)
			c.planned(r, c.scaled(r.client.Cooldown.D()), func() {
				c.drainClient(r, rundir.Exit{Reason: rundir.ExitReasonEnded})
			})
		})
	})
}

// drainClient waits for what is in flight and closes the repeat.
func (c *Cluster) drainClient(r *rank, e rundir.Exit) {
	r.turn(rundir.PhaseDraining)
	c.planned(r, c.scaled(clientDrains), func() {
		if r.repeat == r.job.lastRepeat() || e.Reason != rundir.ExitReasonEnded {
			c.endRank(r, e)
			return
		}
		c.closeRepeat(r, e)
		r.repeat++
		c.startClient(r)
	})
}

// allClients are the ranks of all clients of a job's run that have begun, nil for one that has not.
func (c *Cluster) allClients(j *job) []*rank { return c.ranksOf(j, j.clients()) }

func (c *Cluster) ranksOf(j *job, comps []rundir.Component) []*rank {
	var out []*rank
	for _, comp := range comps {
		for n := range comp.Ranks {
			out = append(out, c.ranks[c.dirOf(j, comp, n)])
		}
	}
	return out
}

// stands says that a rank is ready for a repeat.
func stands(r *rank, repeat int) bool {
	return r != nil && r.ready && r.repeat == repeat && !r.over() && r.frozen.IsZero()
}

// allStand says that everybody is at the barrier of the rank's repeat: all servers and all ranks of all clients.
func (c *Cluster) allStand(r *rank) bool {
	for _, p := range slices.Concat(c.ranksOf(r.job, r.job.services()), c.allClients(r.job)) {
		if !stands(p, r.repeat) {
			return false
		}
	}
	return true
}

// peerGone says that another rank of the clients will never come to the barrier.
func (c *Cluster) peerGone(r *rank) (why string, gone bool) {
	if r.loads() {
		return "", false
	}
	for _, p := range c.allClients(r.job) {
		switch {
		case p == nil || p == r:
		case p.over():
			return fmt.Sprintf("client %s/%d ended before repeat %d: %s", p.name, p.n, r.repeat, p.exit.Reason), true
		case c.lost(p):
			return fmt.Sprintf("client %s/%d gave no sign of life", p.name, p.n), true
		}
	}
	return "", false
}

// serviceGone says that a service ended, or that its heartbeat stands still: any service before the load, a server
// of its target under load.
func (c *Cluster) serviceGone(r *rank) (why string, gone bool) {
	services := r.job.services()
	if r.loads() {
		services = slices.DeleteFunc(services, func(comp rundir.Component) bool { return comp.Name != r.client.Target.Service })
	}
	all := c.ranksOf(r.job, services)
	if r.loads() {
		all = slices.DeleteFunc(all, func(s *rank) bool { return s != nil && !s.service.Leads(s.n) })
	}
	for _, s := range all {
		switch {
		case s == nil:
		case s.over():
			return fmt.Sprintf("service %s/%d ended: %s: %s", s.name, s.n, s.exit.Reason, s.exit.Message), true
		case c.lost(s):
			return fmt.Sprintf("service %s/%d gave no sign of life", s.name, s.n), true
		}
	}
	return "", false
}

package sim

import (
	"fmt"
	"path"
	"time"

	"assay.bench/internal/rundir"
)

// How long nodes take, before Options.Speed.
const (
	serverStartsLeast, serverStartsMost = time.Second, 3 * time.Second
	serverStops                         = 500 * time.Millisecond
)

// startServer starts the server of the present repeat.
func (c *Cluster) startServer(r *rank) {
	r.ready = false
	r.turn(rundir.PhaseStarting)
	takes := between(c.o.Seed, serverStartsLeast, serverStartsMost, r.dir, r.repeat)
	c.planned(r, c.scaled(takes), func() {
		if reason := c.fail[r.name]; reason != "" {
			c.endRank(r, rundir.Exit{Reason: reason, Code: rundir.ExitFailed, Message: "the simulation was told to fail here"})
			return
		}
		r.serverPID = 40000 + int(draw(c.o.Seed, r.dir, "server", r.repeat, c.now.UnixNano())%20000)
		r.writes++
	})
}

// group are the ranks that are one server with this one, in their order: the first leads.
func (c *Cluster) group(r *rank) []*rank {
	size := max(1, r.service.Group)
	out := make([]*rank, size)
	for i := range out {
		out[i] = c.ranks[rundir.Rank(path.Dir(path.Dir(r.dir)), r.name, r.n-r.n%size+i)]
	}
	return out
}

// lookAtGroup lets a rank of a server act on what the others of the same server did: it ends with one that failed, and
// serves when all have started and, if it does not lead, when the first of them serves.
func (c *Cluster) lookAtGroup(r *rank) bool {
	group := c.group(r)
	up := r.phase == rundir.PhaseStarting && r.serverPID != 0
	for _, p := range group {
		if p != r && (p.over() && p.exit.Code != rundir.ExitOK || c.lost(p)) {
			c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonPeerLost, Code: rundir.ExitFailed, Message: fmt.Sprintf("rank %d on %s ended", p.n, p.host())})
			return true
		}
		up = up && p.serverPID != 0 && p.repeat == r.repeat
	}
	if !up || group[0] != r && !stands(group[0], r.repeat) {
		return false
	}
	c.serve(r)
	return true
}

// serve opens the present repeat to the clients.
func (c *Cluster) serve(r *rank) {
	r.ready, r.busy = true, c.now
	r.turn(rundir.PhaseReady)
	c.checkIdle(r)
}

func (c *Cluster) lookAsService(r *rank) bool {
	if c.lookAtGroup(r) {
		return true
	}
	if r.phase != rundir.PhaseReady {
		return false
	}
	clients := r.job.clients()
	if r.kept || len(clients) == 0 {
		if r.drain {
			c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonStopped, Message: "control.json asked to drain"})
			return true
		}
		return false
	}
	open, bad := 0, ""
	for _, comp := range clients {
		for n := range comp.Ranks {
			p := c.ranks[c.dirOf(r.job, comp, n)]
			switch who := fmt.Sprintf("client %s/%d", comp.Name, n); {
			case p == nil:
				open++
			case p.isClosed(r.repeat):
				if e := p.closed[r.repeat]; e.Code != rundir.ExitOK {
					bad = who + ": " + e.Reason
				}
			case p.over():
				bad = who + " ended before: " + p.exit.Reason
			case c.lost(p):
				c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonClientLost, Code: rundir.ExitFailed, Message: who + " gave no sign of life"})
				return true
			default:
				open++
				if p.loads() {
					r.busy = c.now
				}
			}
		}
	}
	if open > 0 {
		return false
	}
	c.clientsDone(r, bad)
	return true
}

func (r *rank) isClosed(repeat int) bool {
	_, ok := r.closed[repeat]
	return ok
}

// lost says that a rank's heartbeat stands still for too long.
func (c *Cluster) lost(r *rank) bool {
	return !r.over() && !r.frozen.IsZero() && c.now.Sub(r.frozen) >= lostAfter
}

// loads says that a client is between its T0 and its end.
func (r *rank) loads() bool {
	switch r.phase {
	case rundir.PhaseWarmup, rundir.PhaseMeasuring, rundir.PhaseCooldown, rundir.PhaseDraining:
		return true
	}
	return false
}

// clientsDone ends a repeat that every client has closed. One that went badly for a client, or a drain, is the last.
func (c *Cluster) clientsDone(r *rank, bad string) {
	last := r.repeat == r.job.lastRepeat()
	if !last && (bad != "" || r.drain) {
		c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonStopped, Message: "no further repeat " + bad})
		return
	}
	ended := rundir.Exit{Reason: rundir.ExitReasonEnded, Message: fmt.Sprintf("every client has ended repeat %d", r.repeat)}
	switch {
	case last && r.job.plan.KeepServices:
		r.kept, r.busy = true, c.now
		c.checkIdle(r)
	case last:
		c.stopServer(r, func() { c.endRank(r, ended) })
	case r.job.plan.Repeats.Restart == rundir.RestartNone:
		c.closeRepeat(r, ended)
		r.repeat++
		c.serve(r)
	default:
		c.stopServer(r, func() {
			c.closeRepeat(r, ended)
			r.repeat++
			c.startServer(r)
		})
	}
}

func (c *Cluster) stopServer(r *rank, then func()) {
	r.ready = false
	r.turn(rundir.PhaseStopping)
	c.planned(r, c.scaled(serverStops), func() {
		r.serverPID = 0
		then()
	})
}

// checkIdle ends a service that nobody used and nobody asked for. It runs beside what else is planned.
func (c *Cluster) checkIdle(r *rank) {
	limit := r.job.plan.IdleTimeout.D()
	if limit <= 0 || r.checking {
		return
	}
	r.checking = true
	last := r.busy
	if r.advanced.After(last) {
		last = r.advanced
	}
	c.later(r.job, max(limit-c.now.Sub(last), time.Millisecond), func() {
		r.checking = false
		if r.over() || !r.frozen.IsZero() {
			return
		}
		c.lookAsService(r) // a client may be at work
		if r.over() || r.phase != rundir.PhaseReady || c.now.Sub(r.busy) < limit || c.now.Sub(r.advanced) < limit {
			c.checkIdle(r)
			return
		}
		e := rundir.Exit{Reason: rundir.ExitReasonIdle, Code: r.stopCode(), Message: fmt.Sprintf("no client ran for %s and %s did not advance", limit, rundir.ControlFile)}
		c.endRank(r, e)
		c.settle(r.job)
	})
}

// stopCode is the exit code of a rank that is ended from outside: fine for a service that only stood there for whoever
// wanted it, or that has made all of its repeats.
func (r *rank) stopCode() int {
	if r.service != nil && (r.kept || len(r.job.clients()) == 0) {
		return rundir.ExitOK
	}
	return rundir.ExitFailed
}

package node

import (
	"context"
	"time"

	"assay.bench/internal/rundir"
)

// How long before T0 the last rank learns of it, when nothing asks for more: a network file system shows files late.
const (
	leadOneHost   = 500 * time.Millisecond
	leadManyHosts = 2 * time.Second
)

// start is what the barrier of a repeat gives a rank.
type start struct {
	// t0 is the common start by rank 0's wall clock.
	t0 time.Time
	// alone says that there is one rank in all: it starts at once.
	alone bool
	// endpoints are those of every server of the target; none for a URL.
	endpoints []*rundir.Endpoint
}

// barrier is where the ranks of all clients of a run meet before a repeat. Rank 0 of the first client is its leader: it
// says when the load begins.
type barrier struct {
	job       *job
	lostAfter time.Duration
	control   *control
	// targets are the servers that this rank loads, in their order, by the ranks that lead them; none for a URL. service is
	// the first of them.
	targets []*peer
	service *peer
	// services are all servers, clients all ranks of all clients.
	services, clients []*peer
	// leader is one of clients; leads says that it is this rank.
	leader *peer
	leads  bool
	lead   time.Duration
	host   string
	// announce writes T0 into this rank's status.
	announce func(t0 time.Time)
	now      func() time.Time
	drain    <-chan struct{}
}

// wait returns when T0 is known and the service is there. It ends early, with an ending, when one that it waits for is
// lost or has ended, when the job ends, and when nobody comes and no controller asks for the job any more.
func (b *barrier) wait(ctx context.Context, repeat int) (s start, end *ending) {
	end = b.until(ctx, repeat, func() (met bool) {
		s, met = b.meet(repeat)
		return met
	})
	return s, end
}

// until waits until done says so, or for what ends the wait early.
func (b *barrier) until(ctx context.Context, repeat int, done func() bool) *ending {
	since := time.Now()
	tick := time.NewTicker(b.job.poll())
	defer tick.Stop()
	for now := since; ; {
		if end := b.look(now, repeat); end != nil {
			return end
		}
		if done() {
			return nil
		}
		if limit := b.job.plan.IdleTimeout.D(); limit > 0 && now.Sub(since) >= limit && b.control.idle(now) >= limit &&
			(b.service == nil || b.service.status == nil) {
			return endf(rundir.ExitReasonIdle, "nobody came to the barrier for %s and %s did not advance", limit,
				rundir.ControlFile)
		}
		select {
		case <-ctx.Done():
			return cause(ctx)
		case <-b.drain:
			return endf(rundir.ExitReasonStopped, "control.json asked to drain")
		case now = <-tick.C:
		}
	}
}

// arrive returns when the service stands for a repeat, for a rank that has something to do there before it is ready itself.
// It ends early as wait does. There is no endpoint without a service.
func (b *barrier) arrive(ctx context.Context, repeat int) (*rundir.Endpoint, *ending) {
	if b.service == nil {
		return nil, nil
	}
	var endpoint *rundir.Endpoint
	end := b.until(ctx, repeat, func() bool {
		if !stands(b.service, repeat) {
			return false
		}
		endpoint = b.service.status.Endpoint
		return endpoint != nil
	})
	return endpoint, end
}

// look reads everybody's status and finds who is missing for good.
func (b *barrier) look(now time.Time, repeat int) *ending {
	for _, s := range b.services {
		s.look(now)
		if end := serviceLost(s, now, b.lostAfter); end != nil {
			return end
		}
	}
	for _, c := range b.clients {
		c.look(now)
		if c.over() || c.leaving(repeat) {
			return endf(c.fate(rundir.ExitReasonPeerLost), "client %s/%d ended before repeat %d: %s: %s", c.name, c.rank, repeat,
				c.status.Reason, c.status.Message)
		}
		if c.lost(now, b.lostAfter) {
			return endf(rundir.ExitReasonPeerLost, "client %s/%d gave no sign of life for %s", c.name, c.rank, b.lostAfter)
		}
	}
	return nil
}

// serviceLost says why a service will not serve any more, or nil.
func serviceLost(s *peer, now time.Time, after time.Duration) *ending {
	switch {
	case s.over():
		return endf(s.fate(rundir.ExitReasonServiceLost), "service %s/%d ended: %s: %s", s.name, s.rank, s.status.Reason, s.status.Message)
	case s.lost(now, after):
		return endf(rundir.ExitReasonServiceLost, "service %s/%d gave no sign of life for %s", s.name, s.rank, after)
	}
	return nil
}

// meet says whether the load of a repeat may begin, and when.
func (b *barrier) meet(repeat int) (start, bool) {
	s := start{alone: len(b.clients) == 1}
	for _, p := range b.targets {
		if !stands(p, repeat) || p.status.Endpoint == nil {
			return start{}, false
		}
		s.endpoints = append(s.endpoints, p.status.Endpoint)
	}
	if !b.leads {
		st := b.leader.status
		if st == nil || st.Repeat != repeat || st.T0 == 0 {
			return start{}, false
		}
		s.t0 = time.Unix(0, st.T0)
		return s, true
	}
	for _, p := range b.services {
		if !stands(p, repeat) {
			return start{}, false
		}
	}
	var lead time.Duration
	if !s.alone {
		lead = leadOneHost
	}
	for _, p := range b.clients {
		if !stands(p, repeat) {
			return start{}, false
		}
		if p.status.Host != b.host {
			lead = leadManyHosts
		}
	}
	s.t0 = b.now().Add(max(lead, b.lead))
	s.alone = s.alone && b.lead == 0
	b.announce(s.t0)
	return s, true
}

// stands says that a rank is ready for a repeat.
func stands(p *peer, repeat int) bool {
	return p.status != nil && p.status.Ready && p.status.Repeat == repeat
}

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.bench/internal/rundir"
)

// group is the ranks that are one server together. They find each other by their files: nothing is asked of a controller.
//
//	repeat k, try t:  each holds its ports and says which  ->  the leader lists all  ->  all start  ->  the leader's probes
//	pass: it is ready  ->  the others are
//	a port was taken after all:  who finds it goes on to try t+1  ->  so does the leader  ->  so do all
type group struct {
	// place of this rank; 0 leads.
	place int
	// ranks are all of them, in their order.
	ranks []*peer
	// replicas are the ranks that lead the other servers of the service.
	replicas []*peer
}

func newGroup(j *job, svc *rundir.Service, number int) *group {
	size := max(1, svc.Group)
	g := &group{place: number % size}
	for n := range svc.Ranks {
		p := &peer{name: svc.Name, rank: n, dir: rundir.Rank(j.dir, svc.Name, n)}
		switch {
		case n/size == number/size:
			g.ranks = append(g.ranks, p)
		case svc.Leads(n):
			g.replicas = append(g.replicas, p)
		}
	}
	return g
}

func (g *group) alone() bool { return len(g.ranks) == 1 }

func (g *group) leads() bool { return g.place == 0 }

func (g *group) leader() *peer { return g.ranks[0] }

// others are all ranks but this one.
func (g *group) others() []*peer {
	return append(slices.Clone(g.ranks[:g.place]), g.ranks[g.place+1:]...)
}

// told are the ranks of whose tries this one has to know: the leader of all, the others of the leader's.
func (g *group) told() []*peer {
	if g.leads() {
		return g.others()
	}
	return g.ranks[:1]
}

// watched are the ranks with which this one ends. The leader looks at all of them and at the leaders of the replicas, the
// others at the leader, which tells them of the rest.
func (g *group) watched() []*peer {
	if g.leads() {
		return append(g.others(), g.replicas...)
	}
	return g.ranks[:1]
}

// errOtherTry says that the ranks start once more with other ports.
var errOtherTry = errors.New("another try with other ports")

// meet tells the other ranks of the ports of a try, and returns when all are there. The number that it returns is that of
// another try when the leader has called one.
func (s *service) meet(ctx context.Context, k, try int, ports map[string]int) (int, error) {
	self := rundir.Member{Node: s.world.Hostname, Host: s.reach, Ports: ports}
	s.launch.members = []rundir.Member{self}
	if s.group.alone() {
		return try, nil
	}
	timeout := or(s.svc.ReadyTimeout, defaultReadyTimeout)
	over, cancel := context.WithTimeoutCause(ctx, timeout, errNotReady)
	defer cancel()
	meeting := rundir.Meeting{Repeat: k, Try: try, Self: self}
	s.say(meeting, "")
	tick := time.NewTicker(s.job.poll())
	defer tick.Stop()
	for said := ""; ; {
		if end := s.othersGone(time.Now(), s.group.watched()); end != nil {
			return try, end
		}
		next, missing := s.gather(ctx, k, try)
		switch {
		case next != try:
			return next, nil
		case missing == "" && s.group.leads():
			meeting.All = s.launch.members
			s.say(meeting, "")
			return try, nil
		case missing == "":
			return try, nil
		case missing != said:
			s.say(meeting, missing)
			said = missing
		}
		select {
		case <-over.Done():
			if ctx.Err() != nil {
				return try, s.stopped(ctx)
			}
			return try, endf(rundir.ExitReasonReadinessTimeout, "not ready within %s: %s: raise readiness.timeout if it only needs longer", timeout, missing)
		case <-tick.C:
		}
	}
}

// say writes this rank's part of a meeting, and what it waits for.
func (s *service) say(m rundir.Meeting, words string) {
	s.status.must(func(st *rundir.Status) { st.Meeting, st.Message = &m, words })
}

// gather takes over the members of a try once all have come; missing says in words who or what has not, and next is the
// number of another try that has been called.
func (s *service) gather(ctx context.Context, k, try int) (next int, missing string) {
	if next := s.calledTry(k, try); next != try {
		return next, ""
	}
	if !s.group.leads() {
		m := meetingOf(s.group.leader(), k, try)
		if m == nil || len(m.All) < len(s.group.ranks) {
			return try, "waits for the rank that leads"
		}
		s.launch.members = m.All
		return try, s.notYetAfter(ctx, m.All[0])
	}
	all := []rundir.Member{s.launch.members[0]}
	var absent []string
	for _, p := range s.group.others() {
		m := meetingOf(p, k, try)
		if m == nil {
			absent = append(absent, rankWords(p))
			continue
		}
		all = append(all, m.Self)
	}
	if len(absent) > 0 {
		return try, "waits for " + strings.Join(absent[:min(len(absent), maxAbsent)], ", ")
	}
	s.launch.members = all
	return try, ""
}

// maxAbsent ranks are named in a message.
const maxAbsent = 8

// notYetAfter says that the port of the leader does not answer that this rank's program waits for. The leader holds the
// port until it starts its own, so that this is looked at first.
func (s *service) notYetAfter(ctx context.Context, leader rundir.Member) string {
	if s.svc.Worker == nil || s.svc.Worker.After == "" {
		return ""
	}
	port := leader.Ports[s.svc.Worker.After]
	if s.group.leader().status.ServerPID != 0 {
		c, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, "tcp", net.JoinHostPort(leader.Host, strconv.Itoa(port)))
		if err == nil {
			_ = c.Close() // it was only a question
			return ""
		}
	}
	return fmt.Sprintf("waits for port %d (%s) of %s", port, s.svc.Worker.After, rankWords(s.group.leader()))
}

// meetingOf is what a rank said of a try; nil while it has not.
func meetingOf(p *peer, k, try int) *rundir.Meeting {
	if p.status == nil || p.status.Meeting == nil || p.status.Meeting.Repeat != k || p.status.Meeting.Try != try {
		return nil
	}
	return p.status.Meeting
}

// calledTry is the try that the ranks are to make: that of the leader, and for the leader that of a rank which found one of
// its ports taken.
func (s *service) calledTry(k, try int) int {
	for _, p := range s.group.told() {
		if p.status != nil && p.status.Meeting != nil && p.status.Meeting.Repeat == k {
			try = max(try, p.status.Meeting.Try)
		}
	}
	return try
}

// rankWords names a rank and, once it is known, its node.
func rankWords(p *peer) string {
	if p.status == nil {
		return fmt.Sprintf("rank %d, which has not begun", p.rank)
	}
	return fmt.Sprintf("rank %d on %s", p.rank, p.status.Host)
}

// othersGone finds one of some ranks that will not serve any more, and how this rank ends with it.
func (s *service) othersGone(now time.Time, ranks []*peer) *ending {
	for _, p := range ranks {
		p.look(now)
		switch {
		case p.status == nil:
		case p.status.Phase == rundir.PhaseFailed, !p.over() && p.status.Reason != "":
			return s.endWith(p, "%s ended: %s: %s", rankWords(p), p.status.Reason, p.status.Message)
		case p.over() && p.status.Reason != rundir.ExitReasonEnded:
			return &ending{p.status.Reason, rundir.ExitOK, p.status.Message, false}
		case p.lost(now, s.lostAfter):
			return endf(rundir.ExitReasonPeerLost, "%s gave no sign of life for %s", rankWords(p), s.lostAfter)
		}
	}
	return nil
}

// endWith ends this rank because another one of its server did.
func (s *service) endWith(p *peer, format string, args ...any) *ending {
	end := endf(p.fate(rundir.ExitReasonPeerLost), format, args...)
	if p.status.Reason == rundir.ExitReasonIdle {
		end.reason = rundir.ExitReasonIdle
	}
	if end.reason == rundir.ExitReasonStopped || end.reason == rundir.ExitReasonIdle {
		end.code = s.planned()
	}
	return end
}

// follow waits until the leader is ready.
func (s *service) follow(ctx context.Context, k, try int) error {
	timeout := or(s.svc.ReadyTimeout, defaultReadyTimeout)
	over, cancel := context.WithTimeoutCause(ctx, timeout, errNotReady)
	defer cancel()
	tick := time.NewTicker(s.job.poll())
	defer tick.Stop()
	for {
		if end := s.othersGone(time.Now(), s.group.watched()); end != nil {
			return end
		}
		if s.calledTry(k, try) != try {
			return errOtherTry
		}
		if leader := s.group.leader(); stands(leader, k) && meetingOf(leader, k, try) != nil {
			return nil
		}
		select {
		case <-over.Done():
			if ctx.Err() != nil {
				return s.stopped(ctx)
			}
			return endf(rundir.ExitReasonReadinessTimeout, "%s was not ready within %s: raise readiness.timeout if it only needs longer",
				rankWords(s.group.leader()), timeout)
		case <-s.server.done:
			return errServerEnded
		case <-tick.C:
		}
	}
}

// watchGroup ends a context when another rank is gone, or another try is called. What it returns stops it.
func (s *service) watchGroup(ctx context.Context, k, try int) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if len(s.group.watched()) == 0 {
		return ctx, func() { cancel(nil) }
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for now := range ticks(ctx, s.job.poll()) {
			if end := s.othersGone(now, s.group.watched()); end != nil {
				cancel(end)
			} else if s.calledTry(k, try) != try {
				cancel(errOtherTry)
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
	}
}

// fellGrace is how long a rank whose server has ended waits to learn that this was planned, or that another rank's server
// was the first to end. The one that ends first is the cause.
const fellGrace = 2 * time.Second

// fell says why the server has ended by itself. planned, which may be nil, says how a repeat ended that was over anyhow:
// the servers of a group end with the first of them.
func (s *service) fell(ctx context.Context, planned func(now time.Time) *ending) *ending {
	if s.group.alone() {
		return s.died()
	}
	grace := time.Now().Add(fellGrace)
	tick := time.NewTicker(s.job.poll())
	defer tick.Stop()
	for first := true; ; first = false {
		now := time.Now()
		if planned != nil {
			if end := planned(now); end != nil {
				return end
			}
		}
		if end := s.othersGone(now, s.group.others()); end != nil {
			return end
		}
		if first {
			if s.anotherFell() {
				grace = grace.Add(2 * fellGrace) // for its word
			}
			s.status.must(func(st *rundir.Status) { st.ServerPID = 0 })
		}
		if now.After(grace) {
			return s.died()
		}
		select {
		case <-ctx.Done():
			return s.stopped(ctx)
		case <-tick.C:
		}
	}
}

// anotherFell says that the server of another rank, as last seen, has ended before this one's.
func (s *service) anotherFell() bool {
	return slices.ContainsFunc(s.group.others(), func(p *peer) bool {
		return p.status != nil && p.status.Ready && p.status.ServerPID == 0
	})
}

// named puts the rank and its node before how it ended, where there are several and it is the cause.
func (s *service) named(end *ending) *ending {
	if s.svc.Ranks == 1 || end.code == rundir.ExitOK || rundir.EndedByOthers(end.reason) || end.reason == rundir.ExitReasonTimeLimit {
		return end
	}
	out := *end
	out.message = fmt.Sprintf("rank %d on %s: %s", s.number, s.world.Hostname, end.message)
	return &out
}

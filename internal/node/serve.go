package node

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"assay.bench/internal/monitor"
	"assay.bench/internal/rundir"
)

// What a plan's zero lengths mean.
const (
	defaultReadyTimeout = 15 * time.Minute
	defaultProbeEvery   = time.Second
	defaultScrapeEvery  = time.Second
)

// service is a rank that runs a server.
type service struct {
	*rank
	svc     *rundir.Service
	launch  launch
	reach   string // the host by which others reach the server
	server  *server
	group   *group
	monitor atomic.Pointer[monitor.Monitor]
	clients []*peer
	// busy is when a client was last seen to load.
	busy time.Time
	// made are the folders of the plan that this rank has made.
	made []string
}

// serveRank is `assay-node serve`.
func serveRank(r *rank, s secrets) int {
	svc, err := newService(r, s)
	if err == nil {
		err = checkImage(svc.svc.Image)
	}
	if err != nil {
		return r.refuse(err)
	}
	if err := becomeReaper(); err != nil {
		r.sayf("become a reaper of orphans: %v", err)
	}
	return r.run(rundir.PhaseStarting, svc.svc.Image, svc.run)
}

// newService finds the service in the plan.
func newService(r *rank, s secrets) (*service, error) {
	for i := range r.job.plan.Services {
		svc := &r.job.plan.Services[i]
		if svc.Name != r.name {
			continue
		}
		if r.number < 0 || r.number >= svc.Ranks {
			return nil, fmt.Errorf("service %s has the ranks 0 to %d, not %d", svc.Name, svc.Ranks-1, r.number)
		}
		needs := svc.Credential != rundir.CredentialEnv{}
		if needs && s.Credential == nil {
			return nil, fmt.Errorf("service %s needs a credential: the batch step reads it from %s/%s", svc.Name,
				rundir.SecretsDir, svc.Name)
		}
		bind, err := bindHost(svc.Bind, r.world.Hostname)
		if err != nil {
			return nil, err
		}
		out := &service{rank: r, svc: svc, clients: peersOf(r.job, r.job.clients()), group: newGroup(r.job, svc, r.number),
			reach: reachHost(bind, r.job.plan.Launcher, r.world.Hostname)}
		out.launch = launch{world: r.world, job: r.job, svc: svc, rank: r.number, dir: r.dir, bind: bind, cred: s.Credential}
		out.refresh = out.scrapeCounts
		if out.launch.wantsGPUs() {
			r.gpuCheck = make(chan rundir.GPUCheck, 1)
		}
		return out, nil
	}
	return nil, fmt.Errorf("the plan has no service %q", r.name)
}

func (s *service) scrapeCounts(st *rundir.Status) {
	if m := s.monitor.Load(); m != nil {
		counts := m.Counts()
		st.Scrapes = &counts
	}
}

// run makes every repeat of the job.
func (s *service) run(ctx context.Context) *ending {
	last := s.job.lastRepeat()
	for k := s.job.plan.Repeats.First; ; k++ {
		end := s.repeat(ctx, k)
		if err := writeExit(rundir.Repeat(s.dir, k), end, s.world.Now()); err != nil {
			return s.finish(asEnding(err))
		}
		if end.code != rundir.ExitOK || end.reason != rundir.ExitReasonEnded || k == last {
			return s.finish(end)
		}
	}
}

// finish stops what still runs. A service that was told to end, or that idled, after all of its repeats ended as planned.
func (s *service) finish(end *ending) *ending {
	s.halt()
	s.removeFolders()
	if m := s.monitor.Load(); m != nil {
		if err := m.Close(); err != nil {
			s.log("SamplesNotClosed", "error", err)
			s.warnf("its samples may lack the last scrapes: %v", err)
		}
	}
	return end
}

// repeat serves one repeat from the start of the server to the last scrape.
func (s *service) repeat(ctx context.Context, k int) *ending {
	s.status.must(func(st *rundir.Status) {
		st.Repeat, st.Ready, st.Phase, st.Endpoint = k, false, rundir.PhaseStarting, nil
	})
	if s.server == nil {
		if err := s.start(ctx, k); err != nil {
			return s.named(asEnding(err))
		}
		if s.probesCount() {
			s.settle(ctx)
		}
	}
	m, err := s.watch()
	if err != nil {
		return asEnding(err)
	}
	m.Begin(ctx)
	s.status.must(func(st *rundir.Status) {
		st.Phase, st.Ready, st.Endpoint, st.Message = rundir.PhaseReady, true, s.endpoint(), ""
		s.scrapeCounts(st)
	})
	s.log("Ready", "repeat", k, "server", s.server.pid(), "endpoint", s.endpoint())

	end := s.named(s.serve(ctx, k))
	if end.code != rundir.ExitOK { // the clients must not wait for the last scrape to learn it
		s.status.must(func(st *rundir.Status) {
			st.Phase, st.Ready, st.Reason, st.Message = rundir.PhaseStopping, false, end.reason, end.message
		})
	} else if end.reason == rundir.ExitReasonEnded {
		s.settle(ctx)
	}
	if end.reason == rundir.ExitReasonEnded && s.job.plan.KeepServices && k == s.job.lastRepeat() {
		s.counters(k, m) // they are of the repeat, not of what comes after it
		m.Begin(ctx)
		return s.idle(ctx, m)
	}
	s.counters(k, m)
	if s.job.plan.Repeats.Restart != rundir.RestartNone || end.code != rundir.ExitOK || k == s.job.lastRepeat() {
		s.halt()
	}
	return end
}

// counters takes the last scrape of a repeat and writes what the counters did.
func (s *service) counters(k int, m *monitor.Monitor) {
	// The server may be gone and the context over: the last scrape has a deadline of its own.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := rundir.Counters{Version: rundir.Version, Service: s.name, Rank: s.number, Repeat: k, Targets: m.End(ctx)}
	if err := writeJSON(filepath.Join(rundir.Repeat(s.dir, k), rundir.CountersFile), c); err != nil {
		s.stop(asEnding(err))
	}
}

// watch returns the monitor for the server's present ports.
func (s *service) watch() (*monitor.Monitor, error) {
	var targets []monitor.Target
	for _, sc := range s.svc.Scrapes {
		if sc.Leader && !s.group.leads() {
			continue
		}
		t := monitor.Target{Name: sc.Name}
		port := sc.Port
		if p, own := s.server.ports[sc.PortName]; own {
			port = p
			if t.Token = s.token(); sc.Auth == rundir.ScrapeAuthJWT {
				t.Token = minioJWT(s.launch.cred, s.world.Now())
			}
		}
		t.URL = "http://" + net.JoinHostPort(s.reach, strconv.Itoa(port)) + sc.Path
		targets = append(targets, t)
	}
	if m := s.monitor.Load(); m != nil {
		m.Move(targets)
		return m, nil
	}
	m, err := monitor.New(monitor.Config{
		Targets: targets, Interval: or(s.svc.ScrapeEvery, defaultScrapeEvery),
		Directory: filepath.Join(s.dir, rundir.SamplesDir), Now: s.world.Now, Event: s.log,
		WriteFailed: func(err error) { s.stop(asEnding(err)) },
	})
	if err == nil {
		s.monitor.Store(m)
	}
	return m, err
}

// token is what probes and scrapes show a server that got it.
func (s *service) token() string {
	if s.launch.cred == nil || s.svc.Credential.Token == "" {
		return ""
	}
	return s.launch.cred.Token
}

// endpoint is where the clients reach the server; nil for a rank that does not lead.
func (s *service) endpoint() *rundir.Endpoint {
	if !s.group.leads() {
		return nil
	}
	e := &rundir.Endpoint{Host: s.reach, Ports: s.server.ports, Protocol: s.svc.Protocol, Model: s.svc.Model,
		Authenticated: s.svc.Authenticated}
	if len(s.svc.Ports) > 0 {
		e.Port = s.server.ports[s.svc.Ports[0].Name]
	}
	return e
}

// serve waits until every client rank has closed the repeat, or for what ends a service earlier.
func (s *service) serve(ctx context.Context, k int) *ending {
	s.busy = time.Now()
	tick := time.NewTicker(s.job.poll())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.stopped(ctx)
		case <-s.server.done:
			return s.fell(ctx, func(now time.Time) *ending { return s.clientsSay(now, k) })
		case now := <-tick.C:
			if end := s.clientsSay(now, k); end != nil {
				return end
			}
			if end := s.othersGone(now, s.group.watched()); end != nil {
				return end
			}
			if s.idling(now) {
				e := endf(rundir.ExitReasonIdle, "no client ran for %s and %s did not advance", s.job.plan.IdleTimeout.D(),
					rundir.ControlFile)
				e.code = s.planned()
				return e
			}
		}
	}
}

// planned is the exit code of a service that is ended from outside: fine if it only stood there for whoever wanted it.
func (s *service) planned() int {
	if len(s.clients) == 0 {
		return rundir.ExitOK
	}
	return rundir.ExitFailed
}

func (s *service) stopped(ctx context.Context) *ending {
	e := *cause(ctx)
	if e.reason == rundir.ExitReasonStopped {
		e.code = s.planned()
	}
	return &e
}

// died explains a server that ended by itself. It is never started again within a measurement.
func (s *service) died() *ending {
	how := "the server " + s.server.how()
	if oomKills() > s.server.oomBefore {
		return outOfMemory(how, s.svc.Resources)
	}
	return explain(how, s.server.words(), s.server.tail())
}

// clientsSay looks at every client rank. It returns how the repeat ended, or nil while it goes on.
func (s *service) clientsSay(now time.Time, k int) *ending {
	if len(s.clients) == 0 {
		if s.draining() {
			return &ending{rundir.ExitReasonStopped, rundir.ExitOK, "control.json asked to drain", false}
		}
		return nil
	}
	open := 0
	var bad string
	for _, c := range s.clients {
		c.look(now)
		exit := c.closed(k)
		switch {
		case exit != nil && exit.Code != rundir.ExitOK:
			bad = fmt.Sprintf("client %s/%d: %s", c.name, c.rank, exit.Reason)
		case exit != nil:
		case c.over():
			bad = fmt.Sprintf("client %s/%d ended before: %s", c.name, c.rank, c.status.Reason)
		case c.lost(now, s.lostAfter):
			return endf(rundir.ExitReasonClientLost, "client %s/%d gave no sign of life for %s", c.name, c.rank, s.lostAfter)
		default:
			open++
			if c.loads() { // its heart beats, else it would be lost
				s.busy = now
			}
		}
	}
	if open > 0 {
		return nil
	}
	return s.closed(k, bad)
}

// closed ends a repeat that every client has closed. One that went badly for a client, or a drain, is the last.
func (s *service) closed(k int, bad string) *ending {
	s.log("RepeatClosed", "repeat", k, "bad", bad)
	end := &ending{reason: rundir.ExitReasonEnded, message: fmt.Sprintf("every client has ended repeat %d", k)}
	if k < s.job.lastRepeat() && (bad != "" || s.draining()) {
		end.reason, end.message = rundir.ExitReasonStopped, "no further repeat"
		if bad != "" {
			end.message += ": " + bad
		}
	}
	return end
}

// idling says that nobody used the service for too long and no controller asks for it.
func (s *service) idling(now time.Time) bool {
	limit := s.job.plan.IdleTimeout.D()
	return limit > 0 && now.Sub(s.busy) >= limit && s.control.idle(now) >= limit
}

// idle keeps the service after the last repeat. However it is ended from outside, it has done what was planned.
func (s *service) idle(ctx context.Context, m *monitor.Monitor) *ending {
	s.log("Kept")
	s.busy = time.Now()
	defer m.End(context.WithoutCancel(ctx))
	tick := time.NewTicker(s.job.poll())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			e := *cause(ctx)
			if e.reason == rundir.ExitReasonStopped {
				e.code = rundir.ExitOK
			}
			return &e
		case <-s.server.done:
			return s.named(s.fell(ctx, nil))
		case <-s.drain:
			return &ending{rundir.ExitReasonStopped, rundir.ExitOK, "control.json asked to drain", false}
		case now := <-tick.C:
			if end := s.othersGone(now, s.group.watched()); end != nil {
				return end
			}
			if s.idling(now) {
				return &ending{rundir.ExitReasonIdle, rundir.ExitOK, "kept until the idle timeout", false}
			}
		}
	}
}

// halt stops the server and everything that it left behind.
func (s *service) halt() {
	if s.server == nil {
		return
	}
	s.status.must(func(st *rundir.Status) { st.Phase, st.Ready = rundir.PhaseStopping, false })
	<-s.provenance // its programs are children too
	if err := s.server.stop(or(s.svc.StopTimeout, rundir.DefaultStopTimeout)); err != nil {
		s.log("StopFailed", "error", err)
		s.warnf("%v", err)
	}
	left := restOfRank(s.world.PID, true, s.job.plan.Key, s.name, s.number).kill()
	s.log("ServerStopped", "server", s.server.pid(), "how", s.server.how(), "left", left)
	s.server = nil
	s.status.must(func(st *rundir.Status) { st.ServerPID = 0 })
}

// or returns a length of the plan, or the default for zero.
func or(d rundir.Duration, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d.D()
}

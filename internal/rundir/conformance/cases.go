package conformance

import (
	"bytes"
	"path"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// claim: the first job owns the attempt; a second one does no work and changes nothing.
func claim(r *run) {
	p := r.plan(1)
	first := r.start(p)
	if code := first.wait(); code != rundir.ExitOK {
		r.t.Fatalf("exit code %d", code)
	}
	r.wantLink(path.Join(first.dir, rundir.ClaimLink), first.id)
	r.wantLink(path.Join(path.Dir(first.dir), rundir.CurrentLink), "1")
	ended := r.read(path.Join(first.dir, rundir.ExitFile))
	second := r.start(p)
	if code := second.wait(); code != rundir.ExitClaimed {
		r.t.Errorf("the second job in the folder: exit code %d, want %d", code, rundir.ExitClaimed)
	}
	r.wantLink(path.Join(first.dir, rundir.ClaimLink), first.id)
	if now := r.read(path.Join(first.dir, rundir.ExitFile)); !bytes.Equal(ended, now) {
		r.t.Errorf("the second job changed exit.json from %s to %s", ended, now)
	}
}

// current: only ever to a higher attempt, by number.
func current(r *run) {
	link := path.Join(r.root, "main", rundir.CurrentLink)
	for _, step := range []struct {
		attempt int
		want    string
	}{{2, "2"}, {1, "2"}, {10, "10"}} {
		p := r.plan(1)
		p.Services, p.Clients = nil, nil
		p.Attempt, p.Directory = step.attempt, rundir.Attempt(r.root, "main", step.attempt)
		r.start(p).wait()
		r.wantLink(link, step.want)
	}
}

// wholeRun: three repeats with a new server each; every file is there, and every rank ended as planned.
func wholeRun(r *run) {
	const repeats = 3
	j := r.start(r.plan(repeats))
	servers, clients := map[int]bool{}, map[int]bool{}
	r.eventually("the job ends", func() bool {
		if s := r.status(j.dir, "server", 0); s != nil && s.Ready {
			servers[s.ServerPID] = true
		}
		if s := r.status(j.dir, "loadgen", 0); s != nil {
			clients[s.PID] = true
		}
		return r.exit(j.dir) != nil
	})
	if code := j.wait(); code != rundir.ExitOK {
		r.t.Errorf("exit code %d, want 0", code)
	}
	if len(servers) != repeats || servers[0] || len(clients) != 1 {
		r.t.Errorf("server pids %v, client pids %v; want a new server for each of %d repeats, and one client", servers, clients, repeats)
	}
	r.wantExit(j.dir, rundir.ExitReasonEnded, rundir.ExitOK)
	for k := 1; k <= repeats; k++ {
		server := rundir.Rank(j.dir, "server", 0)
		r.wantExit(rundir.Repeat(server, k), rundir.ExitReasonEnded, rundir.ExitOK)
		if c := r.counters(j.dir, "server", 0, k); c.Service != "server" || c.Repeat != k {
			r.t.Errorf("counters of repeat %d: %+v", k, c)
		}
		t0 := map[int64]bool{}
		for n := range 2 {
			r.wantExit(rundir.Repeat(rundir.Rank(j.dir, "loadgen", n), k), rundir.ExitReasonEnded, rundir.ExitOK)
			h := r.result(j.dir, n, k)
			t0[h.T0] = true
			if h.Truncated || h.Measured.Succeeded == 0 || h.Measured.Failed != 0 || h.Window != int64(800*time.Millisecond) {
				r.t.Errorf("repeat %d rank %d: %+v, want a whole window with requests that succeeded", k, n, h)
			}
		}
		if len(t0) != 1 {
			r.t.Errorf("repeat %d: the ranks began at %v, want one T0", k, t0)
		}
	}
	r.endedAsPlanned(j.dir, "server", 0, repeats)
	r.endedAsPlanned(j.dir, "loadgen", 0, repeats)
	r.endedAsPlanned(j.dir, "loadgen", 1, repeats)
}

// endedAsPlanned checks the last word of a rank.
func (r *run) endedAsPlanned(attempt, component string, rank, repeat int) {
	r.t.Helper()
	dir := rundir.Rank(attempt, component, rank)
	r.wantExit(dir, rundir.ExitReasonEnded, rundir.ExitOK)
	s := r.status(attempt, component, rank)
	if s == nil || s.Phase != rundir.PhaseEnded || s.Reason != rundir.ExitReasonEnded || s.Ready || s.ServerPID != 0 || s.Live != nil || s.Repeat != repeat {
		r.t.Errorf("last status of %s/%d: %+v, want Ended in repeat %d, not ready", component, rank, s, repeat)
	}
	for _, file := range []string{rundir.ProvenanceFile, rundir.LogFile} {
		if component == "loadgen" && file == rundir.LogFile {
			continue // only a server has output of its own
		}
		if r.read(path.Join(dir, file)) == nil {
			r.t.Errorf("%s/%s is missing", dir, file)
		}
	}
}

// status: heartbeats advance, repeats never go back, a ready service has an endpoint, a client a T0 once it loads.
func status(r *run) {
	j := r.start(r.plan(2))
	last := map[string]*rundir.Status{}
	beats := map[string]int{}
	seen := map[string]bool{}
	r.eventually("the job ends", func() bool {
		for _, name := range []string{"server", "loadgen"} {
			s, before := r.status(j.dir, name, 0), last[name]
			if s == nil {
				continue
			}
			if before != nil && (s.Heartbeat < before.Heartbeat || s.Repeat < before.Repeat || s.PID != before.PID) {
				r.t.Errorf("%s went back from %+v to %+v", name, before, s)
			}
			if before != nil && s.Heartbeat > before.Heartbeat {
				beats[name]++
			}
			seen[name+" "+s.Phase], last[name] = true, s
			r.checkStatus(name, s)
			if name == "loadgen" && loads(s) {
				r.checkServed(j.dir, s)
			}
		}
		return r.exit(j.dir) != nil
	})
	j.wait()
	for _, want := range []string{"server Starting", "server Ready", "loadgen Ready", "loadgen Measuring"} {
		if !seen[want] {
			r.t.Errorf("no status said %s; seen %v", want, seen)
		}
	}
	if beats["server"] < 4 || beats["loadgen"] < 4 {
		r.t.Errorf("heartbeats advanced %v times", beats)
	}
}

func (r *run) checkStatus(name string, s *rundir.Status) {
	r.t.Helper()
	switch {
	case s.Version != rundir.Version || s.Host == "" || s.PID == 0 || s.Time.IsZero():
		r.t.Errorf("%s: %+v lacks version, host, pid or time", name, s)
	case name == "server" && s.Ready && (s.Endpoint == nil || s.Endpoint.Port == 0 || s.Endpoint.Ports["http"] != s.Endpoint.Port || s.ServerPID == 0):
		r.t.Errorf("a ready server without its endpoint or its pid: %+v", s)
	case name == "loadgen" && loads(s) && (s.T0 == 0 || s.Ready):
		r.t.Errorf("a client under load without T0, or still at the barrier: %+v", s)
	}
}

func loads(s *rundir.Status) bool {
	return s.Phase == rundir.PhaseWarmup || s.Phase == rundir.PhaseMeasuring || s.Phase == rundir.PhaseCooldown
}

// checkServed: a client loads a repeat only once the service has opened it.
func (r *run) checkServed(attempt string, client *rundir.Status) {
	r.t.Helper()
	s := r.status(attempt, "server", 0)
	if s == nil || s.Repeat < client.Repeat || s.Repeat == client.Repeat && s.Phase == rundir.PhaseStarting {
		r.t.Errorf("the client loads repeat %d while the service says %+v", client.Repeat, s)
	}
}

// restartNone keeps the server over the repeats.
func restartNone(r *run) {
	p := r.plan(2)
	p.Repeats.Restart = rundir.RestartNone
	j := r.start(p)
	servers := map[int]bool{}
	r.eventually("the job ends", func() bool {
		if s := r.status(j.dir, "server", 0); s != nil && s.Ready {
			servers[s.ServerPID] = true
		}
		return r.exit(j.dir) != nil
	})
	if code := j.wait(); code != rundir.ExitOK || len(servers) != 1 {
		r.t.Errorf("exit code %d, server pids %v; want one server for both repeats", code, servers)
	}
	r.result(j.dir, 1, 2)
}

// separateJobs: a client finds its service in the other job, through current, whichever comes first.
func separateJobs(r *run) {
	whole := r.plan(2)
	server, client := whole, whole
	server.Job, server.Clients = "server", nil
	client.Job, client.Services = "loadgen", nil
	for _, p := range []*rundir.Plan{&server, &client} {
		p.Directory = rundir.Attempt(r.root, p.Job, 1)
		p.AllServices = []rundir.Component{{Name: "server", Ranks: 1}}
		p.AllClients = []rundir.Component{{Name: "loadgen", Ranks: 2}}
	}
	// A component of the same job has no Job.
	server.AllClients[0].Job, client.AllServices[0].Job = path.Join(r.root, "loadgen"), path.Join(r.root, "server")
	c := r.start(client)
	r.awaitPhase(c.dir, "loadgen", 1, rundir.PhaseReady)
	s := r.start(server)
	if a, b := c.wait(), s.wait(); a != rundir.ExitOK || b != rundir.ExitOK {
		r.t.Errorf("exit codes %d and %d, want 0", a, b)
	}
	r.result(c.dir, 0, 2)
	r.endedAsPlanned(s.dir, "server", 0, 2)
	r.wantExit(s.dir, rundir.ExitReasonEnded, rundir.ExitOK)
}

// controlStop: what was measured is written, marked truncated, and everything ends.
func controlStop(r *run) {
	j := r.start(long(r.plan(2)))
	r.awaitPhase(j.dir, "loadgen", 0, rundir.PhaseMeasuring)
	r.awaitPhase(j.dir, "loadgen", 1, rundir.PhaseMeasuring)
	r.control(j.dir, rundir.WantStop, 7)
	if code := j.wait(); code != rundir.ExitFailed {
		r.t.Errorf("exit code %d, want %d", code, rundir.ExitFailed)
	}
	r.truncatedClients(j.dir)
}

// truncatedClients checks what clients leave that were ended under load in repeat 1.
func (r *run) truncatedClients(attempt string) {
	r.t.Helper()
	for n := range 2 {
		dir := rundir.Rank(attempt, "loadgen", n)
		e := r.exit(rundir.Repeat(dir, 1))
		if e == nil || !e.Truncated || e.Code == rundir.ExitOK {
			r.t.Errorf("repeat 1 of rank %d ended with %+v, want truncated and failed", n, e)
		}
		if h := r.result(attempt, n, 1); !h.Truncated || h.Window >= int64(10*time.Minute) {
			r.t.Errorf("result of rank %d: %+v, want it truncated", n, h)
		}
		if s := r.status(attempt, "loadgen", n); s.Phase != rundir.PhaseFailed || s.Reason == "" {
			r.t.Errorf("last status of rank %d: %+v, want Failed with a reason", n, s)
		}
	}
}

// controlDrain: the repeat under way is the last, and the service goes in peace.
func controlDrain(r *run) {
	j := r.start(long(r.plan(2)))
	r.awaitPhase(j.dir, "loadgen", 0, rundir.PhaseMeasuring)
	r.awaitPhase(j.dir, "loadgen", 1, rundir.PhaseMeasuring)
	r.control(j.dir, rundir.WantDrain, 7)
	j.wait()
	r.truncatedClients(j.dir)
	r.wantExit(rundir.Rank(j.dir, "loadgen", 0), rundir.ExitReasonStopped, rundir.ExitFailed)
	if e := r.exit(rundir.Rank(j.dir, "server", 0)); e == nil || e.Code != rundir.ExitOK {
		r.t.Errorf("the service ended with %+v, want code 0", e)
	}
	for _, name := range []string{"loadgen", "server"} {
		if e := r.exit(rundir.Repeat(rundir.Rank(j.dir, name, 0), 2)); e != nil {
			r.t.Errorf("%s began a second repeat: %+v", name, e)
		}
	}
}

// terminated: TERM to the job's script ends every component, and each writes what it has.
func terminated(r *run) {
	j := r.start(long(r.plan(1)))
	r.awaitPhase(j.dir, "loadgen", 0, rundir.PhaseMeasuring)
	r.awaitPhase(j.dir, "loadgen", 1, rundir.PhaseMeasuring)
	r.must(r.Jobs.Cancel(r.t.Context(), j.id))
	j.wait()
	if e := r.exit(j.dir); e == nil || e.Reason != rundir.ExitReasonStopped || e.Code == rundir.ExitOK {
		r.t.Errorf("exit.json of the job: %+v, want Stopped", e)
	}
	r.truncatedClients(j.dir)
	r.wantExit(rundir.Rank(j.dir, "server", 0), rundir.ExitReasonStopped, rundir.ExitFailed)
}

// requeue: a measurement is never resumed.
func requeue(r *run) {
	j := r.start(long(r.plan(1)))
	before := r.awaitPhase(j.dir, "loadgen", 0, rundir.PhaseMeasuring)
	if code := r.Requeue(r.t, j.id, j.dir); code != rundir.ExitRequeued {
		r.t.Errorf("the second start: exit code %d, want %d", code, rundir.ExitRequeued)
	}
	r.wantExit(j.dir, rundir.ExitReasonRequeued, rundir.ExitRequeued)
	r.wantLink(path.Join(j.dir, rundir.ClaimLink), j.id)
	if s := r.status(j.dir, "loadgen", 0); s == nil || s.PID != before.PID {
		r.t.Errorf("a second client wrote its status: %+v after %+v", s, before)
	}
}

// unknownPlan: never a guess.
func unknownPlan(r *run) {
	dir := rundir.Attempt(r.root, "main", 1)
	key := slurmbridge.NewKey(r.Origin, "00000000000000ff", 1)
	j := r.submitBytes(key, dir, []byte(`{"version": 999, "services": "who knows"}`)).release()
	if code := j.wait(); code != rundir.ExitUnknownPlan {
		r.t.Errorf("exit code %d, want %d", code, rundir.ExitUnknownPlan)
	}
	r.wantExit(dir, rundir.ExitReasonUnknownPlan, rundir.ExitUnknownPlan)
}

// idle: a service that nobody uses and no controller asks for ends itself.
func idle(r *run) {
	p := r.plan(1)
	p.Clients = nil
	p.IdleTimeout = rundir.Duration(3 * time.Second)
	j := r.start(p)
	r.awaitPhase(j.dir, "server", 0, rundir.PhaseReady)
	if code := j.wait(); code != rundir.ExitOK {
		r.t.Errorf("exit code %d, want 0: it only stood there for whoever wanted it", code)
	}
	r.wantExit(rundir.Rank(j.dir, "server", 0), rundir.ExitReasonIdle, rundir.ExitOK)
}

// kept: a service stays after the last repeat until the idle timeout.
func kept(r *run) {
	p := r.plan(1)
	p.KeepServices, p.IdleTimeout = true, rundir.Duration(3*time.Second)
	j := r.start(p)
	r.awaitPhase(j.dir, "loadgen", 0, rundir.PhaseEnded)
	if s := r.status(j.dir, "server", 0); s == nil || !s.Ready {
		r.t.Errorf("the service after the last client: %+v, want it ready", s)
	}
	if code := j.wait(); code != rundir.ExitOK {
		r.t.Errorf("exit code %d, want 0", code)
	}
	r.wantExit(rundir.Rank(j.dir, "server", 0), rundir.ExitReasonIdle, rundir.ExitOK)
	r.counters(j.dir, "server", 0, 1)
}

// serviceFails: the clients end too, and say whose fault it was.
func serviceFails(r *run) {
	if r.Break == nil {
		return
	}
	p := r.plan(2)
	r.Break(&p, "server")
	j := r.start(p)
	if code := j.wait(); code != rundir.ExitFailed {
		r.t.Errorf("exit code %d, want %d", code, rundir.ExitFailed)
	}
	for n := range 2 {
		r.wantExit(rundir.Rank(j.dir, "loadgen", n), rundir.ExitReasonServiceLost, rundir.ExitFailed)
	}
	if s := r.status(j.dir, "server", 0); s == nil || s.Phase != rundir.PhaseFailed || s.Reason == "" || s.Message == "" {
		r.t.Errorf("the service: %+v, want Failed with a reason and words", s)
	}
	if e := r.exit(j.dir); e == nil || e.Code != rundir.ExitFailed || e.Message == "" {
		r.t.Errorf("exit.json of the job: %+v", e)
	}
}

// secrets: they are gone before anything runs.
func secrets(r *run) {
	p := r.plan(1)
	file := path.Join(p.Directory, rundir.SecretsDir, "server")
	r.must(r.Files.Write(r.t.Context(), map[string][]byte{file: []byte(`{"token":"t0k3n","username":"u","password":"p"}`)}))
	j := r.start(p)
	r.awaitPhase(j.dir, "loadgen", 0, rundir.PhaseMeasuring)
	if b := r.read(file); b != nil {
		r.t.Errorf("the secret is still there: %s", b)
	}
	if code := j.wait(); code != rundir.ExitOK {
		r.t.Errorf("exit code %d, want 0", code)
	}
}

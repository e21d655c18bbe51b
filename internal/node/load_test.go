package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/internal/series"
)

func (f *fixture) signalJob(sig syscall.Signal, pid int) {
	f.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		f.t.Fatal(err)
	}
}

// long makes the measurement longer than the test.
func (f *fixture) long() {
	f.sim()
	f.plan.Clients[0].Duration = rundir.Duration(time.Minute)
}

func (f *fixture) measuring() {
	f.t.Helper()
	f.until("the measurement", func() bool {
		s := f.status("load")
		return s.Phase == rundir.PhaseMeasuring && s.Live != nil && s.Live.Elapsed > 0.8
	})
}

// What ends a measurement early leaves the result so far, marked, and a reason.
func TestMeasurementThatEndsEarly(t *testing.T) {
	t.Parallel()
	control := func(f *fixture, want string) {
		b, err := json.Marshal(rundir.Control{Version: rundir.Version, Sequence: 5, Want: want})
		if err != nil {
			f.t.Fatal(err)
		}
		f.write(rundir.ControlFile, b)
	}
	cases := map[string]struct {
		end    func(f *fixture, pid int)
		reason string
	}{
		"TERM": {func(f *fixture, pid int) { f.signalJob(syscall.SIGTERM, pid) }, rundir.ExitReasonStopped},
		"INT":  {func(f *fixture, pid int) { f.signalJob(syscall.SIGINT, pid) }, rundir.ExitReasonStopped},
		"USR1 and TERM": {func(f *fixture, pid int) {
			f.signalJob(syscall.SIGUSR1, pid)
			f.until("the partial result", func() bool {
				_, err := os.Stat(filepath.Join(rundir.Repeat(f.rankDir("load", 0), 1), rundir.ResultFile))
				return err == nil
			})
			if r := f.result("load", 1); !r.Truncated || !strings.Contains(r.Reason, "time limit") {
				f.t.Errorf("after USR1: truncated %v, %q", r.Truncated, r.Reason)
			}
			if s := f.status("load"); s.Phase != rundir.PhaseMeasuring {
				f.t.Errorf("USR1 ended the load: %s", s.Phase)
			}
			f.signalJob(syscall.SIGTERM, pid)
		}, rundir.ExitReasonTimeLimit},
		"Drain": {func(f *fixture, _ int) { control(f, rundir.WantDrain) }, rundir.ExitReasonStopped},
		"Stop":  {func(f *fixture, _ int) { control(f, rundir.WantStop) }, rundir.ExitReasonStopped},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.long()
			f.plan.Repeats.Count = 2
			cmd := f.start()
			f.measuring()
			c.end(f, cmd.Process.Pid)
			if code := f.wait(cmd); code != rundir.ExitFailed {
				t.Errorf("exit code %d", code)
			}
			if e := f.exit("load", 1); e.Reason != c.reason || !e.Truncated {
				t.Errorf("%+v, want %s, truncated", e, c.reason)
			}
			r := f.result("load", 1)
			if !r.Truncated || r.Measured.Succeeded == 0 || r.Reason == "" {
				t.Errorf("truncated %v, %+v, reason %q", r.Truncated, r.Measured, r.Reason)
			}
			if _, err := os.Stat(rundir.Repeat(f.rankDir("load", 0), 2)); !os.IsNotExist(err) {
				t.Errorf("repeat 2 was begun: %v", err)
			}
			f.nothingLeft()
		})
	}
}

// What a killed rank had measured comes through, up to the last second: samples, counts and histograms.
func TestKilledSupervisor(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ victim, reason string }{
		"serve": {"sim", rundir.ExitReasonServiceDied},
		"load":  {"load", rundir.ExitReasonError},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.long()
			cmd := f.start()
			f.measuring()
			// Two seconds of samples: the last of them are only on the node's own disk when it is killed.
			f.until("samples", func() bool { return f.status("load").Live.Elapsed > 2.5 })
			var kept results.Rank
			f.until("a result on the node's disk", func() bool {
				kept = f.kept(1)
				return kept.Measured.Succeeded > 0
			})
			f.signalJob(syscall.SIGKILL, f.status(c.victim).PID)
			if code := f.wait(cmd); code != rundir.ExitFailed {
				t.Errorf("exit code %d", code)
			}
			if e := f.exit(c.victim, 1); e.Reason != c.reason || !strings.Contains(e.Message, "ended without a word") {
				t.Errorf("%+v", e)
			}
			if s := f.status(c.victim); s.Phase != rundir.PhaseFailed {
				t.Errorf("%+v", s)
			}
			samples := f.samples()
			if len(samples) < 2 {
				t.Fatalf("%d seconds of samples came through, want at least 2", len(samples))
			}
			r := f.result("load", 1)
			if said := strings.Contains(r.Reason, "last numbers that it had saved"); !r.Truncated || said != (c.victim == "load") {
				t.Errorf("truncated %t because %q", r.Truncated, r.Reason)
			}
			// The result is kept after the samples of its second.
			if least := max(kept.All.Offered, samples[len(samples)-2]); r.All.Offered < least {
				t.Errorf("%d requests came through, %d were saved before", r.All.Offered, least)
			}
			f.partial(r)
			f.nothingLeft()
		})
	}
}

// kept is the result so far on the node's own disk, if there is one.
func (f *fixture) kept(repeat int) results.Rank {
	f.t.Helper()
	paths, err := filepath.Glob(filepath.Join(rundir.Repeat(filepath.Join(f.temp, "assay-*-load-0"), repeat), rundir.ResultFile))
	if err != nil || len(paths) != 1 {
		return results.Rank{}
	}
	b, err := os.ReadFile(paths[0])
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := results.ParseRank(b)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// partial fails unless the numbers of a part are shown, with their histograms, and no SLO is judged from them.
func (f *fixture) partial(r results.Rank) {
	f.t.Helper()
	limit := 60.0
	out, err := results.Build(results.Input{
		Head:    results.Result{RepeatsPlanned: 1},
		Clients: []results.ClientInput{{Name: "load", Ranks: 1, Results: []results.Rank{r}}},
		SLOs:    []results.SLO{{Client: "load", Metric: "e2e", Statistic: "p50", AtMost: &limit}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if out.Outcome != results.Partial || out.SLOs[0].Verdict != results.NotJudged {
		f.t.Errorf("the run is %s, its SLO %s", out.Outcome, out.SLOs[0].Verdict)
	}
	for _, metric := range []string{"ttft", "e2e", "itl_token", "send_lag"} {
		if v := results.Find(out.Clients[0].Values, metric, "p50"); v == nil || v.Value == nil || v.Requests == 0 {
			f.t.Errorf("there is no median of %s: %+v", metric, v)
		}
	}
}

// samples are the requests that each of the client's blocks of samples in the run directory says.
func (f *fixture) samples() []int64 {
	f.t.Helper()
	file, err := os.Open(filepath.Join(f.rankDir("load", 0), rundir.SamplesDir, spoolFile))
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	var requests []int64
	for r := series.NewReader(file); ; {
		block, err := r.Next()
		if err != nil {
			return requests
		}
		for _, s := range block.Samples {
			if s.Labels.Get(series.NameLabel) == "assay_load_requests_total" {
				requests = append(requests, int64(s.Value))
			}
		}
	}
}

func TestBarrierOverRanksAndClients(t *testing.T) {
	f := newFixture(t)
	f.sim()
	second := f.plan.Clients[0]
	second.Name, second.Ranks, second.Seed = "second", 2, 12
	f.plan.Clients = append(f.plan.Clients, second)
	f.plan.Repeats.Count = 2
	if code := f.wait(f.start()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for k := 1; k <= 2; k++ {
		t0 := f.result("load", k).T0
		if got := f.result("second", k); got.T0 != t0 || got.Ranks != 2 || got.Concurrency != 1 {
			t.Errorf("repeat %d: second has T0 %d, ranks %d, concurrency %d; want %d, 2, 1", k, got.T0, got.Ranks, got.Concurrency, t0)
		}
		if late := f.result("second", k).StartLate; late > int64(200*time.Millisecond) {
			t.Errorf("repeat %d: started %s late in spite of the lead", k, time.Duration(late))
		}
	}
}

// The same contract over two jobs: each finds the other through the link current.
func TestSeparateJobs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.Repeats.Count = 2
	other := newFixture(t)
	other.dir = rundir.Attempt(f.plan.RunDirectory, "clients", 3)
	if err := os.MkdirAll(other.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := other.plan.Key
	other.plan = f.plan
	other.plan.Key = key
	service := rundir.Component{Name: "sim", Ranks: 1}
	client := rundir.Component{Name: "load", Ranks: 1}
	serviceThere, clientThere := service, client
	serviceThere.Job = filepath.Join(f.plan.RunDirectory, "all")
	clientThere.Job = filepath.Join(f.plan.RunDirectory, "clients")
	f.plan.Clients, f.plan.AllServices, f.plan.AllClients = nil, []rundir.Component{service}, []rundir.Component{clientThere}
	other.plan.Services, other.plan.AllServices, other.plan.AllClients = nil, []rundir.Component{serviceThere}, []rundir.Component{client}
	other.secret("sim", rundir.Credential{Token: "s3cret-t0ken"})

	for link, to := range map[string]string{"all": "1", "clients": "3"} {
		if err := os.Symlink(to, filepath.Join(f.plan.RunDirectory, link, rundir.CurrentLink)); err != nil {
			t.Fatal(err)
		}
	}
	clients := other.start()
	services := f.start()
	if code := other.wait(clients); code != 0 {
		t.Errorf("clients: exit code %d", code)
	}
	if code := f.wait(services); code != 0 {
		t.Errorf("services: exit code %d", code)
	}
	for k := 1; k <= 2; k++ {
		if r := other.result("load", k); r.Measured.Succeeded == 0 {
			t.Errorf("repeat %d: %+v", k, r.Measured)
		}
	}
	f.nothingLeft()
	other.nothingLeft()
}

func TestAbort(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.long()
	f.plan.Services[0].Argv = append(f.plan.Services[0].Argv, "--fault", "ServerError=1")
	f.plan.Services[0].Probes = f.plan.Services[0].Probes[:3] // a token would fail too
	f.plan.Clients[0].Abort = &rundir.Abort{ErrorRatio: 0.5, Window: rundir.Duration(500 * time.Millisecond)}
	if code := f.wait(f.start()); code != rundir.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	if e := f.exit("load", 1); e.Reason != rundir.ExitReasonAborted || !strings.Contains(e.Message, "failed, at least the ratio") {
		t.Errorf("%+v", e)
	}
}

func TestTargetURL(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	cmd := f.start()
	f.until("the server", func() bool { return f.status("sim").Ready })
	e := f.status("sim").Endpoint
	outside := newFixture(t)
	outside.plan.Clients = f.plan.Clients
	outside.plan.Clients[0].Target = rundir.Target{URL: "http://" + e.Host + ":" + jsonNumber(e.Port) + "/v1", Credential: "sim"}
	outside.plan.Clients[0].Inference.Model = "m"
	outside.secret("sim", rundir.Credential{Token: "s3cret-t0ken"})
	outside.plan.Clients[0].Duration = rundir.Duration(200 * time.Millisecond)
	if code := outside.wait(outside.start()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r := outside.result("load", 1); r.Measured.Succeeded == 0 {
		t.Errorf("%+v", r.Errors)
	}
	f.wait(cmd)
}

func jsonNumber(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		return ""
	}
	return string(b)
}

// The disk fills while the client writes: no half-written result, a clear word, and the job ends.
func TestDiskThatFills(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.env = []string{"ASSAY_NODE_TEST_FSIZE=6000"} // status and provenance fit, a result does not
	if code := f.wait(f.start()); code != rundir.ExitWorkDirUnusable {
		t.Errorf("exit code %d", code)
	}
	e := f.exit("load", 1)
	if e.Reason != rundir.ExitReasonDiskFull || !strings.Contains(e.Message, "no space left") || !strings.Contains(e.Message, "free some space") {
		t.Errorf("%+v", e)
	}
	dir := rundir.Repeat(f.rankDir("load", 0), 1)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%s holds %v, %v; want only exit.json", dir, entries, err)
	}
	f.nothingLeft()
}

package node

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/rundir"
)

func TestThreeRepeatsWithANewServerEach(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.Repeats = rundir.Repeats{First: 1, Count: 3, Restart: rundir.RestartProcess}
	cmd := f.start()
	if code := f.wait(cmd); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	servers := map[any]bool{}
	for _, e := range f.events("sim", "Ready") {
		servers[e.Fields["server"]] = true
	}
	if len(servers) != 3 {
		t.Errorf("%d servers in three repeats, want 3", len(servers))
	}
	if started := f.events("load", "Started"); len(started) != 1 {
		t.Errorf("the client started %d times, want once", len(started))
	}
	for k := 1; k <= 3; k++ {
		r := f.result("load", k)
		if r.Measured.Succeeded == 0 || r.Measured.Failed != 0 || r.Truncated || r.Repeat != k {
			t.Errorf("repeat %d: %+v truncated %v", k, r.Measured, r.Truncated)
		}
		for _, name := range []string{"load", "sim"} {
			if e := f.exit(name, k); e.Reason != rundir.ExitReasonEnded || e.Code != 0 {
				t.Errorf("%s repeat %d: %+v", name, k, e)
			}
		}
		counters := f.counters("sim", k)
		got, known := counters.Increase(rundir.CrossCheck{Target: "engine", Metric: "vllm:generation_tokens_total"})
		if !known || int64(got) != r.Total("output_tokens").All {
			t.Errorf("repeat %d: the server counted %v tokens (known %v), the client %d", k, got, known, r.Total("output_tokens").All)
		}
	}
	for _, name := range []string{"load", "sim"} {
		if s := f.status(name); s.Phase != rundir.PhaseEnded || s.Ready || s.ServerPID != 0 {
			t.Errorf("%s: %+v", name, s)
		}
		for _, file := range []string{rundir.ProvenanceFile, rundir.EventsFile} {
			if _, err := os.Stat(filepath.Join(f.rankDir(name, 0), file)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(f.dir, rundir.SecretsDir)); !os.IsNotExist(err) {
		t.Errorf("the secrets are still there: %v", err)
	}
	f.noSecret()
	f.nothingLeft()
}

// What a job cannot even begin with ends it with clear words, and takes the secrets away all the same.
func TestJobThatCannotBegin(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		arrange func(t *testing.T, f *fixture)
		want    string
	}{
		"no credential": {func(t *testing.T, f *fixture) {
			if err := os.Remove(filepath.Join(f.dir, rundir.SecretsDir, "sim")); err != nil {
				t.Fatal(err)
			}
			f.secret("other", rundir.Credential{Token: "s3cret-t0ken"})
		}, "secrets/sim is missing"},
		"broken credential": {func(_ *testing.T, f *fixture) {
			f.write(filepath.Join(rundir.SecretsDir, "sim"), []byte(`{"token": "s3cret-t0ken`))
		}, "secrets/sim is no credential in JSON"},
		"launcher":   {func(_ *testing.T, f *fixture) { f.plan.Launcher = rundir.LaunchSrun }, `the program "srun" is not in the PATH`},
		"unwritable": {func(_ *testing.T, f *fixture) { f.write("sim", nil) }, "not a directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.sim()
			c.arrange(t, f)
			cmd := f.start()
			if code := f.wait(cmd); code != rundir.ExitFailed {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(f.log.String(), c.want) || strings.Contains(f.log.String(), "s3cret") {
				t.Errorf("the log is %q, want %q and no secret in it", f.log, c.want)
			}
			if _, err := os.Stat(filepath.Join(f.dir, rundir.SecretsDir)); !os.IsNotExist(err) {
				t.Errorf("the secrets are still there: %v", err)
			}
			f.noSecret()
			f.nothingLeft()
		})
	}
}

// The batch system waits for the job as long as the batch step waits for any of its components, and longer.
func TestBatchSystemWaitsForTheBatchStep(t *testing.T) {
	p := &rundir.Plan{
		Services: []rundir.Service{{Name: "a", StopTimeout: rundir.Duration(time.Minute)}, {Name: "b"}},
		Clients:  []rundir.Client{{Name: "c"}},
	}
	all, err := (&batch{job: &job{plan: p}}).components(nil)
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	for i, stop := range []time.Duration{time.Minute, rundir.DefaultStopTimeout, 0} {
		if within := all[i].stopWithin; within <= stop || within+2*restTimeout >= p.StopWithin() {
			t.Errorf("%s may take %s to end, its server %s, the job %s", all[i].name, within, stop, p.StopWithin())
		}
	}
}

// A process of assay that is killed while it writes the secrets leaves the beginning of one; the next one submits.
func TestHalfWrittenSecrets(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.write(filepath.Join(rundir.SecretsDir, ".write-1"), nil)
	f.write(filepath.Join(rundir.SecretsDir, ".write-2"), []byte(`{"token": "s3cret-t0ken`))
	cmd := f.start()
	if code := f.wait(cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(f.dir, rundir.SecretsDir)); !os.IsNotExist(err) {
		t.Errorf("the secrets are still there: %v", err)
	}
	f.noSecret()
	f.nothingLeft()
}

// The batch step is killed: its components go on and finish alone.
func TestKilledBatchStep(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.Clients[0].Duration = rundir.Duration(2 * time.Second)
	cmd := f.start()
	f.until("the load", func() bool { return f.status("load").T0 != 0 })
	f.signalJob(syscall.SIGKILL, cmd.Process.Pid)
	f.wait(cmd)
	f.until("the service's end", func() bool { return f.status("sim").Phase == rundir.PhaseEnded })
	if e := f.exit("load", 1); e.Reason != rundir.ExitReasonEnded || e.Code != 0 {
		t.Errorf("%+v", e)
	}
	f.until("the processes' end", func() bool {
		return len(restOfJob(os.Getpid(), f.plan.Key).onlyMarked().list()) == 0
	})
}

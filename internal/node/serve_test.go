package node

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
)

// A service that does not get ready, each in its own way, ends with one clear reason; its client ends too, and nothing
// stays.
func TestServiceThatNeverGetsReady(t *testing.T) {
	t.Parallel()
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Close() }) // after the parallel cases
	heldPort := held.Addr().(*net.TCPAddr).Port
	cases := map[string]struct {
		arrange func(*testing.T, *fixture)
		reason  string
		message []string
	}{
		"ends at once": {
			func(_ *testing.T, f *fixture) { f.server("exit") },
			"GPUOutOfMemory", []string{"exit code 3", "its log says: CUDA error: out of memory", "lower gpuMemoryUtilization"},
		},
		"never listens": {
			func(_ *testing.T, f *fixture) {
				f.server("silent").ReadyTimeout = rundir.Duration(3 * time.Second)
			},
			rundir.ExitReasonReadinessTimeout, []string{"not ready within 3s", "nothing listens on port", "loading weights"},
		},
		"falls silent": {
			func(_ *testing.T, f *fixture) {
				f.server("silent").LogTimeout = rundir.Duration(time.Second)
			},
			rundir.ExitReasonLogStalled, []string{"its log has stood still for 1s", "raise readiness.logTimeout", "loading weights"},
		},
		"goes on talking": {
			func(_ *testing.T, f *fixture) {
				s := f.server("silent")
				s.Argv = []string{"bash", "-c", "while :; do echo loading more weights; sleep 0.05; done"}
				s.LogTimeout, s.ReadyTimeout = rundir.Duration(2*time.Second), rundir.Duration(4*time.Second)
			},
			rundir.ExitReasonReadinessTimeout, []string{"not ready within 4s", "loading more weights"},
		},
		"answers HTML": {
			func(_ *testing.T, f *fixture) {
				s := f.server("html")
				s.ReadyTimeout = rundir.Duration(3 * time.Second)
				s.Probes = []rundir.Probe{{Type: rundir.ProbeModel, Model: "m"}}
			},
			rundir.ExitReasonReadinessTimeout, []string{"an HTML page instead of JSON", "Welcome to nginx"},
		},
		"another model": {
			func(_ *testing.T, f *fixture) {
				f.sim()
				f.plan.Services[0].ReadyTimeout = rundir.Duration(3 * time.Second)
				f.plan.Services[0].Probes = []rundir.Probe{{Type: rundir.ProbeModel, Model: "other"}}
			},
			rundir.ExitReasonReadinessTimeout, []string{`it lists ["m"], not "other"`},
		},
		"port in use": {
			func(_ *testing.T, f *fixture) { f.server("ok").Ports[0].Number = heldPort },
			rundir.ExitReasonPortInUse, []string{fmt.Sprintf("port %d (http) is in use by", heldPort), strconv.Itoa(os.Getpid()), "choose another port"},
		},
		"no program": {
			func(_ *testing.T, f *fixture) {
				f.sim()
				f.plan.Services[0].Argv = []string{"no-such-server"}
			},
			rundir.ExitReasonProgramMissing, []string{`"no-such-server" is not in the PATH`, "give the service an image"},
		},
		"no apptainer": {
			func(_ *testing.T, f *fixture) {
				f.sim()
				f.env = []string{"PATH=/nowhere"}
				f.write("x.sif", []byte("x"))
				f.plan.Services[0].Image = &rundir.Image{URI: filepath.Join(f.dir, "x.sif")}
			},
			rundir.ExitReasonProgramMissing, []string{"x.sif needs apptainer", "name its module"},
		},
		"no image": {
			func(t *testing.T, f *fixture) {
				f.sim()
				f.env = []string{"PATH=" + fakeApptainer(t)}
				f.plan.Services[0].Image = &rundir.Image{URI: "/images/missing.sif"}
			},
			rundir.ExitReasonImageMissing, []string{"/images/missing.sif does not exist", "build or copy it there"},
		},
		"no interface": {
			func(_ *testing.T, f *fixture) {
				f.sim()
				f.plan.Services[0].Bind = "ib9"
			},
			rundir.ExitReasonError, []string{`bind "ib9" is neither an address nor an interface`},
		},
		"failing command": {
			func(_ *testing.T, f *fixture) {
				s := f.server("ok")
				s.ReadyTimeout = rundir.Duration(3 * time.Second)
				s.Probes = []rundir.Probe{{Type: rundir.ProbeExec, Argv: []string{"sh", "-c", "echo port $(PORT) is shy; exit 4"}}}
			},
			rundir.ExitReasonReadinessTimeout, []string{"exit status 4", "is shy"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			c.arrange(t, f)
			if code := f.wait(f.start()); code != rundir.ExitFailed {
				t.Errorf("exit code %d, want %d", code, rundir.ExitFailed)
			}
			got := f.exit("sim", 1)
			if got.Reason != c.reason {
				t.Errorf("reason %s: %s; want %s", got.Reason, got.Message, c.reason)
			}
			for _, want := range c.message {
				if !strings.Contains(got.Message, want) {
					t.Errorf("message %q lacks %q", got.Message, want)
				}
			}
			if s := f.status("sim"); s.Phase != rundir.PhaseFailed || s.Reason != c.reason || s.Message != got.Message {
				t.Errorf("status %+v", s)
			}
			if e := f.exit("load", 1); e.Reason != rundir.ExitReasonServiceLost || !strings.Contains(e.Message, c.reason) {
				t.Errorf("client: %+v, want ServiceLost with the service's reason", e)
			}
			f.nothingLeft()
		})
	}
}

// fakeApptainer returns a PATH with an apptainer that runs the command bare, with the environment that the real one
// would give it, and that answers --version.
func fakeApptainer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
[ "$1" = --version ] && { echo "apptainer version 1.3.6"; exit 0; }
[ "$1" = pull ] && { ` + fakeSIF + `; exit; }
echo "$@" >"$APPTAINER_TEST_ARGS"
while case $1 in *.sif) false ;; esac; do shift; done
shift
for v in $(env | sed -n 's/^APPTAINERENV_\([A-Z_]*\)=.*/\1/p'); do eval "export $v=\"\$APPTAINERENV_$v\""; done
exec "$@"
`
	if err := os.WriteFile(filepath.Join(dir, "apptainer"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir + ":" + os.Getenv("PATH")
}

func TestServiceInAnImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	args := filepath.Join(t.TempDir(), "args")
	f.env = []string{"PATH=" + fakeApptainer(t), "APPTAINER_TEST_ARGS=" + args, "CUDA_VISIBLE_DEVICES=0"}
	s := &f.plan.Services[0]
	// The folder above all is mounted first, read-only; else it would hide the rank's, where the server writes.
	digest := "sha256:" + strings.Repeat("0a", 32)
	sif := rundir.StoredImage(t.TempDir(), digest)
	f.plan.Images = []rundir.ImagePull{{URI: "docker://x/y:v1", Digest: digest, SIF: sif}} // the job pulls it before
	s.Image = &rundir.Image{URI: "docker://x/y:v1", Digest: digest, SIF: sif, Binds: []rundir.Bind{{Path: f.dir}}}
	s.Argv = append([]string{os.Args[0]}, s.Argv[1:]...)
	s.Resources.GPUsPerNode = 1
	if code := f.wait(f.start()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	got, err := os.ReadFile(args)
	if err != nil {
		t.Fatal(err)
	}
	dir := f.rankDir("sim", 0)
	want := "exec --cleanenv --home " + dir + " --bind " + f.dir + ":" + f.dir + ":ro --bind " + dir + " --nv " + sif + " " + os.Args[0] + " llmsim"
	if !strings.HasPrefix(string(got), want) || strings.Contains(string(got), "s3cret") {
		t.Errorf("apptainer got %q, want it to begin with %q and to hold no secret", got, want)
	}
	if r := f.result("load", 1); r.Measured.Succeeded == 0 {
		t.Errorf("nothing succeeded: %+v", r.Errors)
	}
	b, err := os.ReadFile(filepath.Join(dir, rundir.ProvenanceFile))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := fileSHA256(sif)
	if used, parseErr := rundir.ParseUsedImage(b); err != nil || parseErr != nil || used.Digest != digest || used.SHA256 != sum {
		t.Errorf("provenance says %+v, %v, %v; want the digest, and %s of the file", used, err, parseErr, sum)
	}
	f.noSecret()
}

// A job whose image cannot be pulled starts nothing, and nobody waits for what would have run in it.
func TestJobWithoutItsImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	s := newStore(t, "echo 'FATAL:   reading manifest: manifest unknown' >&2; exit 255")
	f.env = []string{"PATH=" + s.bin + ":" + os.Getenv("PATH")}
	f.plan.Images = []rundir.ImagePull{s.pull}
	if code := f.wait(f.start()); code != rundir.ExitFailed {
		t.Errorf("exit code %d, want %d", code, rundir.ExitFailed)
	}
	for _, dir := range []string{f.dir, f.rankDir("sim", 0), f.rankDir("load", 0), rundir.Repeat(f.rankDir("sim", 0), 1)} {
		b, err := os.ReadFile(filepath.Join(dir, rundir.ExitFile))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := rundir.ParseExit(b); err != nil || e.Reason != rundir.ExitReasonImageUnknown || !strings.Contains(e.Message, "manifest unknown") {
			t.Errorf("%s: %+v, %v; want ImageUnknown with Apptainer's words", dir, e, err)
		}
	}
	if st := f.status("sim"); st.Phase != rundir.PhaseFailed || st.Reason != rundir.ExitReasonImageUnknown {
		t.Errorf("status %+v", st)
	}
	f.noSecret()
	f.nothingLeft()
}

func TestPortTakenBetweenChoiceAndStart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("taken", filepath.Join(t.TempDir(), "tries"))
	cmd := f.start()
	f.until("the third start", func() bool { return f.status("sim").Ready })
	if got := len(f.events("sim", "PortTaken")); got != 2 {
		t.Errorf("%d ports were found taken, want 2", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.wait(cmd)
	f.nothingLeft()
}

// A server that ignores TERM, and one of its children that left its process group, do not outlive it.
func TestStubbornServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("stubborn").StopTimeout = rundir.Duration(200 * time.Millisecond)
	f.plan.Clients = nil
	cmd := f.start()
	f.until("the server", func() bool { return f.status("sim").Ready })
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := f.wait(cmd); code != 0 {
		t.Errorf("exit code %d: a service that stood for itself was ended as asked", code)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(f.events("sim", "StopFailed")) != 1 {
		t.Error("that KILL was needed is not in the log")
	}
	want := []string{"the server did not end within 200ms of TERM and was killed"}
	if diff := cmp.Diff(want, f.exit("sim", 0).Warnings); diff != "" {
		t.Errorf("what the result is told of it (-want +got):\n%s", diff)
	}
	f.nothingLeft()
}

// countsLate makes a server that counts a token only after its answer has left.
func countsLate(mux *http.ServeMux) {
	var prompts atomic.Int64
	mux.HandleFunc("/v1/completions", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"choices": [{"text": "a"}], "usage": {"completion_tokens": 1}}`)
		time.AfterFunc(50*time.Millisecond, func() { prompts.Add(1) })
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE prompts_total counter\nprompts_total %d\n", prompts.Load())
	})
}

// The token that a probe asked for is counted before the first scrape, or it would be the clients'.
func TestFirstScrapeWaitsForTheProbe(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("late")
	s.Probes = []rundir.Probe{{Type: rundir.ProbeToken, Model: "m"}}
	s.Scrapes = []rundir.Scrape{{Name: "server", PortName: s.Ports[0].Name, Path: "/metrics", Settle: rundir.Duration(500 * time.Millisecond)}}
	f.plan.Clients = nil
	cmd := f.start()
	f.until("the server, and what it counts", func() bool {
		st := f.status("sim")
		if !st.Ready {
			return false
		}
		answer, err := http.Get(fmt.Sprintf("http://%s/metrics", net.JoinHostPort(st.Endpoint.Host, strconv.Itoa(st.Endpoint.Port))))
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(b), "prompts_total 1")
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.wait(cmd)
	want := []rundir.CounterSeries{{Name: "prompts_total", First: 1, Last: 1}}
	if diff := cmp.Diff(want, f.counters("sim", 1).Targets[0].Series); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestServerThatDiesUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.Repeats.Count = 3
	f.plan.Clients[0].Duration = rundir.Duration(time.Minute)
	cmd := f.start()
	f.measuring()
	if err := syscall.Kill(f.status("sim").ServerPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := f.wait(cmd); code != rundir.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	if e := f.exit("sim", 1); e.Reason != rundir.ExitReasonServiceDied || !strings.Contains(e.Message, "killed") {
		t.Errorf("service: %+v", e)
	}
	e := f.exit("load", 1)
	if e.Reason != rundir.ExitReasonServiceLost || !e.Truncated || !strings.Contains(e.Message, "ServiceDied") {
		t.Errorf("client: %+v", e)
	}
	if r := f.result("load", 1); !r.Truncated || r.Measured.Succeeded == 0 || r.Window >= int64(time.Minute) {
		t.Errorf("the partial result: truncated %v, %+v, window %d", r.Truncated, r.Measured, r.Window)
	}
	if got := len(f.events("sim", "ServerStarted")); got != 1 {
		t.Errorf("the server was started %d times: never again within a measurement", got)
	}
	if _, err := os.Stat(rundir.Repeat(f.rankDir("sim", 0), 2)); !os.IsNotExist(err) {
		t.Errorf("repeat 2 was begun: %v", err)
	}
	f.nothingLeft()
}

func TestIdleService(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("ok")
	f.plan.Clients = nil
	f.plan.AllClients = []rundir.Component{{Name: "later", Job: filepath.Join(f.plan.RunDirectory, "other"), Ranks: 1}}
	f.plan.IdleTimeout = rundir.Duration(300 * time.Millisecond)
	if code := f.wait(f.start()); code != rundir.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	if e := f.exit("sim", 1); e.Reason != rundir.ExitReasonIdle || !strings.Contains(e.Message, "no client ran for 300ms") {
		t.Errorf("%+v", e)
	}
	f.nothingLeft()
}

func TestKeptService(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.KeepServices = true
	f.plan.IdleTimeout = rundir.Duration(time.Second)
	cmd := f.start()
	f.until("the client's end", func() bool { return f.status("load").Phase == rundir.PhaseEnded })
	if s := f.status("sim"); s.Phase != rundir.PhaseReady || s.ServerPID == 0 {
		t.Errorf("the service was not kept: %+v", s)
	}
	if code := f.wait(cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if e := f.exit("sim", 0); e.Reason != rundir.ExitReasonIdle || e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if c := f.counters("sim", 1); !c.Targets[0].LastGood {
		t.Errorf("the last scrape of the repeat: %+v", c.Targets[0])
	}
	f.nothingLeft()
}

func TestServerIsKeptWithoutRestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.Repeats = rundir.Repeats{First: 4, Count: 2, Restart: rundir.RestartNone}
	if code := f.wait(f.start()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got := len(f.events("sim", "ServerStarted")); got != 1 {
		t.Errorf("%d servers for two repeats without a restart", got)
	}
	for k := 4; k <= 5; k++ {
		c, r := f.counters("sim", k), f.result("load", k)
		if got, known := c.Increase(rundir.CrossCheck{Target: "engine", Metric: "vllm:generation_tokens_total"}); !known || int64(got) != r.Total("output_tokens").All {
			t.Errorf("repeat %d: the server counted %v (known %v), the client %d", k, got, known, r.Total("output_tokens").All)
		}
	}
}

func TestClientThatIsLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.Clients[0].Duration = rundir.Duration(time.Minute)
	cmd := f.start("--lost-after", "3s")
	f.until("the measurement", func() bool { return f.status("load").Phase == rundir.PhaseMeasuring })
	load := f.status("load").PID
	if err := syscall.Kill(load, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f.until("the service's end", func() bool { return f.status("sim").Phase == rundir.PhaseFailed })
	if e := f.exit("sim", 1); e.Reason != rundir.ExitReasonClientLost {
		t.Errorf("%+v", e)
	}
	if err := syscall.Kill(load, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.wait(cmd)
	e := f.exit("load", 1)
	if e.Reason != rundir.ExitReasonError || !e.Truncated || !strings.Contains(e.Message, "killed") {
		t.Errorf("the batch step wrote of the killed client: %+v", e)
	}
	f.nothingLeft()
}

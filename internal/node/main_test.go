package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// asEnv makes this test program another one: assay-node itself, or one of the servers below.
const asEnv = "ASSAY_NODE_TEST_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(asEnv) {
	case "":
		os.Exit(m.Run())
	case "assay-node":
		if limit := os.Getenv("ASSAY_NODE_TEST_FSIZE"); limit != "" && len(os.Args) > 1 && os.Args[1] == "load" {
			limitFiles(limit)
		}
		Main()
	case "server":
		serveForTests()
	}
}

// limitFiles plays a disk that fills: a file that grows beyond the limit cannot be written.
func limitFiles(limit string) {
	n, err := strconv.ParseUint(limit, 10, 64)
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}

// serveForTests is a server that misbehaves as its arguments say: KIND PORT [MORE].
func serveForTests() {
	kind, port := os.Args[1], os.Args[2]
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	switch kind {
	case "silent": // never listens
		fmt.Println("loading weights")
		wait := make(chan os.Signal, 1)
		signal.Notify(wait, syscall.SIGTERM)
		<-wait
		os.Exit(0)
	case "exit": // ends before it is ready
		fmt.Println("CUDA error: out of memory")
		os.Exit(3)
	case "taken": // finds its port in use, until it has been started often enough
		b, _ := os.ReadFile(os.Args[3])
		if err := os.WriteFile(os.Args[3], append(b, 'x'), 0o600); err != nil {
			os.Exit(98)
		}
		if len(b) < 2 {
			fmt.Println("OSError: [Errno 98] Address already in use")
			os.Exit(1)
		}
	case "html":
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<!doctype html><title>Welcome to nginx</title>")
		})
	case "tied": // ends, with exit code 3, soon after the server at an address, which comes up some time
		go func() {
			for seen := false; ; <-time.After(20 * time.Millisecond) {
				c, err := net.Dial("tcp", os.Args[3])
				if err == nil {
					seen = true
					_ = c.Close() // it was only a question
				} else if seen {
					fmt.Println("lost the connection to", os.Args[3])
					os.Exit(3)
				}
			}
		}()
	case "late": // counts the prompt of a completion a moment after it has answered
		countsLate(mux)
	case "stubborn": // ignores TERM, and leaves a child that left its group
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command("sleep", "300")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			os.Exit(98)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(http.Serve(l, mux))
}

// fixture is an attempt on disk and how to run it.
type fixture struct {
	t    *testing.T
	dir  string
	temp string
	plan rundir.Plan
	env  []string
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	run := t.TempDir()
	f := &fixture{t: t, dir: rundir.Attempt(run, "all", 1), temp: t.TempDir(), log: &syncBuffer{}}
	// The key is a mark in the environment of processes: no two tests may share one.
	key := fmt.Sprintf("assay-0123abcd-%016x-1", time.Now().UnixNano())
	f.plan = rundir.Plan{Version: rundir.Version, Key: key, Run: "g1", Job: "all", Attempt: 1,
		RunDirectory: run, Directory: f.dir, Launcher: rundir.LaunchProcess, Seed: 7,
		Repeats: rundir.Repeats{First: 1, Count: 1, Restart: rundir.RestartProcess}, IdleTimeout: rundir.Duration(time.Minute)}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

// sim adds a simulator and a client with a closed loop.
func (f *fixture) sim(extra ...string) {
	f.plan.Services = []rundir.Service{{
		Name: "sim", Engine: "llmsim", Ranks: 1, Bind: "127.0.0.1", Ports: []rundir.Port{{Name: "http"}},
		Argv: append([]string{"assay-node", "llmsim", "--host", "$(HOST)", "--port", "$(PORT)", "--model", "m",
			"--ttft-mean", "5ms", "--itl-mean", "1ms", "--seed", "3", "--emissions", "$(DIR)/emissions.jsonl"}, extra...),
		Authenticated: true, Credential: rundir.CredentialEnv{Token: simKey},
		Probes: []rundir.Probe{{Type: rundir.ProbeTCP}, {Type: rundir.ProbeHTTP, Path: "/health"},
			{Type: rundir.ProbeModel, Model: "m"}, {Type: rundir.ProbeToken, Model: "m"}},
		ProbeEvery: rundir.Duration(20 * time.Millisecond), ReadyTimeout: rundir.Duration(20 * time.Second),
		StopTimeout: rundir.Duration(5 * time.Second), ScrapeEvery: rundir.Duration(200 * time.Millisecond),
		Scrapes:  []rundir.Scrape{{Name: "engine", PortName: "http", Path: "/metrics"}},
		Protocol: rundir.ProtocolOpenAI, Model: "m", Emissions: "emissions.jsonl",
	}}
	f.plan.Clients = []rundir.Client{{
		Name: "load", Ranks: 1, Target: rundir.Target{Service: "sim", Credential: "sim"}, Seed: 11,
		Inference: &rundir.Inference{API: rundir.APICompletions, InputTokens: rundir.Tokens{Min: 8, Max: 8},
			OutputTokens: rundir.Tokens{Min: 4, Max: 4}},
		ClosedLoop: &rundir.ClosedLoop{Concurrency: 2}, Warmup: rundir.Duration(200 * time.Millisecond),
		Duration: rundir.Duration(600 * time.Millisecond), TimeoutTotal: rundir.Duration(10 * time.Second),
	}}
	f.secret("sim", rundir.Credential{Token: "s3cret-t0ken", Username: "u", Password: "p"})
}

// server makes the service a server of this test program.
func (f *fixture) server(kind string, more ...string) *rundir.Service {
	f.sim()
	s := &f.plan.Services[0]
	s.Argv = append([]string{os.Args[0], kind, "$(PORT)"}, more...)
	s.Env = []rundir.EnvVar{{Name: asEnv, Value: "server"}}
	s.Scrapes = nil
	s.Probes = []rundir.Probe{{Type: rundir.ProbeHTTP, Path: "/health"}}
	return s
}

func (f *fixture) secret(name string, c rundir.Credential) {
	f.t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(filepath.Join(rundir.SecretsDir, name), b)
}

func (f *fixture) write(name string, b []byte) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = rundir.Replace(path, b)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// start writes the plan and starts the batch step.
func (f *fixture) start(args ...string) *exec.Cmd {
	f.t.Helper()
	b, err := json.Marshal(f.plan)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(rundir.PlanFile, b)
	return f.node(append([]string{"job", "--dir", f.dir}, args...)...)
}

// node starts assay-node.
func (f *fixture) node(args ...string) *exec.Cmd {
	f.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), append(f.env, asEnv+"=assay-node", "TMPDIR="+f.temp)...)
	cmd.Stdout, cmd.Stderr = f.log, f.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		restOfJob(os.Getpid(), f.plan.Key).onlyMarked().kill()
		if f.t.Failed() {
			f.t.Logf("job log:\n%s", f.log)
		}
	})
	return cmd
}

// onlyMarked leaves out descendants: those of a test program are its own business.
func (r rest) onlyMarked() rest {
	r.heirs = false
	return r
}

// wait waits for the end and returns the exit code.
func (f *fixture) wait(cmd *exec.Cmd) int {
	f.t.Helper()
	timer := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return 0
}

// until waits for a condition, at most 30 s.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			f.t.Fatalf("waited too long for %s", what)
		case <-tick.C:
		}
	}
}

func (f *fixture) rankDir(name string, rank int) string { return rundir.Rank(f.dir, name, rank) }

// dirOf is the folder of a rank, such as sim/1; without a number that of rank 0.
func (f *fixture) dirOf(name string) string {
	if strings.Contains(name, "/") {
		return filepath.Join(f.dir, name)
	}
	return f.rankDir(name, 0)
}

// status returns a rank's status, or an empty one.
func (f *fixture) status(name string) rundir.Status {
	b, err := os.ReadFile(filepath.Join(f.dirOf(name), rundir.StatusFile))
	if err != nil {
		return rundir.Status{}
	}
	s, err := rundir.ParseStatus(b)
	if err != nil {
		f.t.Errorf("status of %s: %v", name, err)
		return rundir.Status{}
	}
	return *s
}

// exit returns the exit of a rank's repeat, or of the rank itself for repeat 0.
func (f *fixture) exit(name string, repeat int) rundir.Exit {
	f.t.Helper()
	dir := f.dirOf(name)
	if repeat > 0 {
		dir = rundir.Repeat(dir, repeat)
	}
	b, err := os.ReadFile(filepath.Join(dir, rundir.ExitFile))
	if err != nil {
		f.t.Errorf("%s has no exit: %v", name, err)
		return rundir.Exit{}
	}
	e, err := rundir.ParseExit(b)
	if err != nil {
		f.t.Fatal(err)
	}
	return *e
}

func (f *fixture) result(name string, repeat int) results.Rank {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(rundir.Repeat(f.dirOf(name), repeat), rundir.ResultFile))
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := results.ParseRank(b)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) counters(name string, repeat int) rundir.Counters {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(rundir.Repeat(f.dirOf(name), repeat), rundir.CountersFile))
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := rundir.ParseCounters(b)
	if err != nil {
		f.t.Fatal(err)
	}
	return *c
}

// events returns the events of a rank with a name.
func (f *fixture) events(name, event string) []rundir.Event {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dirOf(name), rundir.EventsFile))
	if err != nil {
		f.t.Fatal(err)
	}
	all, broken := rundir.ParseEvents(b)
	if broken > 0 {
		f.t.Errorf("%s: %d broken events", name, broken)
	}
	var out []rundir.Event
	for _, e := range all {
		if e.Event == event {
			out = append(out, e)
		}
	}
	return out
}

// nothingLeft fails when a process of the job lives.
func (f *fixture) nothingLeft() {
	f.t.Helper()
	if pids := restOfJob(os.Getpid(), f.plan.Key).onlyMarked().list(); len(pids) > 0 {
		f.t.Errorf("processes of the job are left: %v", pids)
	}
	if entries, err := os.ReadDir(f.temp); err != nil || len(entries) > 0 {
		f.t.Errorf("the node's disk holds %v, %v", entries, err)
	}
}

// noSecret fails when a file of the run holds the credential.
func (f *fixture) noSecret() {
	f.t.Helper()
	err := filepath.WalkDir(f.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "s3cret-t0ken") {
			f.t.Errorf("%s holds the credential", path)
		}
		return err
	})
	if err != nil {
		f.t.Error(err)
	}
}

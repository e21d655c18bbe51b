package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

const testOrigin = "0123abcd"

// bench is a host with one folder for scripts.
type bench struct {
	t   *testing.T
	dir string
	o   Options
	*Host
	n int
	// uid is in the keys: processes are found by them, so no two tests on this machine may share one.
	uid uint32
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), o: o, uid: rand.Uint32()}
	b.o.Origin = testOrigin
	if b.o.KillWait == 0 {
		b.o.KillWait = 300 * time.Millisecond
	}
	b.o.StateDir = filepath.Join(b.dir, "state")
	b.open()
	t.Cleanup(b.endAll)
	return b
}

func (b *bench) open() {
	b.t.Helper()
	h, err := Open(b.o)
	b.must(err)
	b.Host = h
}

func (b *bench) endAll() {
	b.until("every job has ended", func() bool {
		jobs, err := b.List(context.Background()) // the test's own context is over
		over := err == nil
		for _, j := range jobs {
			if !j.Over() {
				over = false
				_ = b.Cancel(context.Background(), j.ID) // tried again until it is over
			}
		}
		return over
	})
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within 20 s: %s", what)
		}
		<-tick.C
	}
}

// submit hands in a job whose assay-node is a bash script that runs in the attempt's folder.
func (b *bench) submit(node string, change ...func(*slurmbridge.Script)) (id, attempt string) {
	b.t.Helper()
	b.n++
	attempt = filepath.Join(b.dir, fmt.Sprintf("run%d", b.n), "main", "1")
	b.must(os.MkdirAll(attempt, 0o700))
	program := filepath.Join(b.dir, fmt.Sprintf("node%d", b.n))
	b.must(os.WriteFile(program, []byte("#!/bin/bash\n"+node), 0o700))
	s := slurmbridge.Script{Directory: attempt, Node: program, Parts: []slurmbridge.Part{{}}}
	for _, c := range change {
		c(&s)
	}
	key := slurmbridge.NewKey(testOrigin, fmt.Sprintf("%08x%08x", b.uid, b.n), 1)
	b.must(b.Submit(b.t.Context(), key, s))
	jobs, err := b.Find(b.t.Context(), key)
	b.must(err)
	if len(jobs) != 1 {
		b.t.Fatalf("%d jobs under %s", len(jobs), key)
	}
	return jobs[0].ID, attempt
}

// start also releases the job and waits until its program made the file ready.
func (b *bench) start(node string, change ...func(*slurmbridge.Script)) (id, attempt string) {
	b.t.Helper()
	id, attempt = b.submit(node, change...)
	b.must(b.Release(b.t.Context(), id))
	b.until("the program is ready", func() bool {
		if j := b.job(id); j.Over() {
			log, _ := os.ReadFile(filepath.Join(attempt, "job.log"))
			b.t.Fatalf("the job ended before its program was ready: %+v\n%s", j, log)
		}
		return exists(filepath.Join(attempt, "ready"))
	})
	return id, attempt
}

func (b *bench) job(id string) slurmbridge.Job {
	b.t.Helper()
	jobs, err := b.List(b.t.Context())
	b.must(err)
	i := slices.IndexFunc(jobs, func(j slurmbridge.Job) bool { return j.ID == id })
	if i < 0 {
		b.t.Fatalf("job %s is not listed", id)
	}
	return jobs[i]
}

func (b *bench) end(id string) slurmbridge.Job {
	b.t.Helper()
	b.until("the job ends", func() bool { return b.job(id).Over() })
	return b.job(id)
}

// runner is the pid of the job's runner.
func (b *bench) runner(id string) int {
	b.t.Helper()
	owner, err := os.Readlink(b.path(id, "runner"))
	b.must(err)
	p, ok := parseProcess(owner)
	if !ok {
		b.t.Fatalf("runner is %q", owner)
	}
	return p.pid
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func isGone(pid int) bool {
	s, err := readStat(pid)
	return err != nil || s.dead()
}

// stubborn ignores TERM, and so does its child in another session; both say who they are.
const stubborn = `
trap '' TERM
setsid bash -c 'trap "" TERM; echo $$ >stray; while :; do read -t 1 <> <(:); done' &
while [ ! -s stray ]; do read -t 0.01 <> <(:); done
echo $$ >node.pid
: >ready
while :; do read -t 1 <> <(:); done
`

func TestCancelKillsEverySession(t *testing.T) {
	b := newBench(t, Options{KillWait: 700 * time.Millisecond})
	id, attempt := b.start(stubborn)
	node, stray := pidIn(t, filepath.Join(attempt, "node.pid")), pidIn(t, filepath.Join(attempt, "stray"))
	begin := time.Now()
	b.must(b.Cancel(t.Context(), id))
	if took := time.Since(begin); took > 300*time.Millisecond {
		t.Errorf("Cancel took %s, want it to return at once", took)
	}
	if j := b.job(id); j.Phase != slurmbridge.Running {
		t.Errorf("right after Cancel: %+v, want Running as long as processes live", j)
	}
	j := b.end(id)
	if !isGone(node) || !isGone(stray) {
		t.Errorf("the job is over but processes live: node gone %v, stray gone %v", isGone(node), isGone(stray))
	}
	if took := time.Since(begin); took < 600*time.Millisecond {
		t.Errorf("gone after %s, before the kill wait: TERM alone cannot have ended them", took)
	}
	if j.Reason != "Cancelled" || j.Phase != slurmbridge.Failed {
		t.Errorf("ended: %+v, want Cancelled", j)
	}
}

// seeded runs a test with a seed in its name: one of the clock, or that of the environment variable ASSAY_SEED, which
// makes the same choices again.
func seeded(t *testing.T, test func(t *testing.T, random *rand.Rand)) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ASSAY_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ASSAY_SEED: %v", err)
		}
	}
	t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { test(t, rand.New(rand.NewPCG(seed, 0))) })
}

// One Cancel ends a job, however far its start has come, and long before the kill wait.
func TestOneCancelIsEnough(t *testing.T) {
	seeded(t, func(t *testing.T, random *rand.Rand) {
		const jobs = 60
		b := newBench(t, Options{KillWait: 10 * time.Minute})
		for range jobs {
			id, _ := b.submit("exec sleep 600")
			b.must(b.Release(t.Context(), id))
			<-time.After(time.Duration(random.Int64N(int64(50 * time.Millisecond))))
			b.must(b.Cancel(t.Context(), id))
			b.end(id)
		}
	})
}

func TestRunnerKilled(t *testing.T) {
	b := newBench(t, Options{})
	id, attempt := b.start(stubborn)
	stray := pidIn(t, filepath.Join(attempt, "stray"))
	b.must(syscall.Kill(b.runner(id), syscall.SIGKILL))
	b.until("the kill is seen", func() bool { return b.job(id).Reason == "RunnerKilled" })
	if j := b.job(id); j.Phase != slurmbridge.Running {
		t.Errorf("%+v, want Running: its processes live", j)
	}
	b.open() // a restart of assay does not start it again
	b.must(b.Cancel(t.Context(), id))
	if j := b.end(id); j.Reason != "Cancelled" || !isGone(stray) {
		t.Errorf("%+v, stray gone %v; want Cancelled and no process left", j, isGone(stray))
	}
}

func TestRunnerAndJobKilled(t *testing.T) {
	b := newBench(t, Options{})
	id, _ := b.start(": >ready\nwhile :; do read -t 1 <> <(:); done\n")
	b.must(syscall.Kill(b.runner(id), syscall.SIGKILL))
	j := b.job(id)
	left, err := survivors(j.Key, id, b.leader(id))
	b.must(err)
	for _, pid := range left {
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone is fine
	}
	if j := b.end(id); j.Phase != slurmbridge.Failed || j.Reason != "RunnerKilled" || j.Ended.IsZero() {
		t.Errorf("%+v, want Failed with the honest reason that nobody saw the exit code", j)
	}
}

// TestDuplicateWithoutRunner: of two jobs under one key, ending one never touches the other's processes.
func TestDuplicateWithoutRunner(t *testing.T) {
	b := newBench(t, Options{})
	const node = ": >ready\nwhile :; do read -t 1 <> <(:); done\n"
	first, attempt := b.start(node)
	key := b.job(first).Key
	other := filepath.Join(b.dir, "other", "1")
	b.must(os.MkdirAll(other, 0o700))
	b.must(b.Submit(t.Context(), key, slurmbridge.Script{
		Directory: other, Node: filepath.Join(b.dir, "node1"), Parts: []slurmbridge.Part{{}},
	}))
	jobs, err := b.Find(t.Context(), key)
	b.must(err)
	second := jobs[1].ID
	b.must(b.Release(t.Context(), second))
	b.until("the second runs", func() bool { return exists(filepath.Join(other, "ready")) })
	b.must(syscall.Kill(b.runner(second), syscall.SIGKILL))
	b.until("the kill is seen", func() bool { return b.job(second).Reason == "RunnerKilled" })
	b.must(b.Cancel(t.Context(), second))
	b.end(second)
	if j := b.job(first); j.Phase != slurmbridge.Running || exists(filepath.Join(attempt, "exit.json")) {
		t.Errorf("the first job: %+v, want it untouched", j)
	}
}

func TestStaleRunners(t *testing.T) {
	cases := map[string]struct {
		reason, wantReason string
		wantPhase          slurmbridge.Phase
		runner             func(b *bench) string
	}{
		"pid used again": {
			"the pid lives, but it is another process", "RunnerKilled", slurmbridge.Failed,
			func(b *bench) string { return fmt.Sprintf("%d.%d.%s", os.Getpid(), 1, b.boot) },
		},
		"another boot": {
			"pids and starts of another boot mean nothing", "HostRestarted", slurmbridge.Interrupted,
			func(b *bench) string {
				s, err := readStat(os.Getpid())
				b.must(err)
				return fmt.Sprintf("%d.%d.%s", os.Getpid(), s.start, "11111111-2222-3333-4444-555555555555")
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{})
			id, _ := b.submit("exit 0\n")
			b.must(os.Symlink(c.runner(b), b.path(id, "runner")))
			b.age(id)
			if j := b.job(id); j.Reason != c.wantReason || j.Phase != c.wantPhase {
				t.Errorf("%+v, want %s, %s: %s", j, c.wantPhase, c.wantReason, c.reason)
			}
		})
	}
}

// TestForeignSession: a session whose pid was used again is not the job's.
func TestForeignSession(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the context ended it
	leader, err := readStat(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	own := process{pid: cmd.Process.Pid, start: leader.start}
	if left, err := survivors("assay-x", "L1", own); err != nil || !slices.Equal(left, []int{own.pid}) {
		t.Errorf("%v, %v; want the only process of the session", left, err)
	}
	own.start++
	if left, err := survivors("assay-x", "L1", own); err != nil || len(left) > 0 {
		t.Errorf("%v, %v; want none: the pid was used again", left, err)
	}
}

func TestReleaseSurvivesCrash(t *testing.T) {
	b := newBench(t, Options{})
	id, attempt := b.submit("echo ran >>ran\n")
	// Killed between the intent and the start of the runner.
	b.must(writeWhole(b.path(id, "released"), nil))
	b.open()
	if j := b.end(id); j.Phase != slurmbridge.Succeeded {
		t.Errorf("%+v, want Succeeded", j)
	}
	ran, err := os.ReadFile(filepath.Join(attempt, "ran"))
	if err != nil || string(ran) != "ran\n" {
		t.Errorf("ran: %q, %v; want once", ran, err)
	}
}

// TestLookChangesNothing: who only lists jobs starts none, ends none, settles none and forgets none.
func TestLookChangesNothing(t *testing.T) {
	now := time.Now()
	b := newBench(t, Options{Remember: time.Hour, Now: func() time.Time { return now }})
	if jobs, err := Look(t.Context(), Options{StateDir: filepath.Join(b.dir, "none"), Origin: testOrigin}); err != nil || len(jobs) > 0 || exists(filepath.Join(b.dir, "none")) {
		t.Errorf("without a state folder: %v, %v", jobs, err)
	}
	old, _ := b.submit("exit 0\n")
	b.must(b.Cancel(t.Context(), old))
	released, _ := b.submit("exec sleep 600\n")
	lost, _ := b.submit("exit 0\n")
	doomed, attempt := b.start(stubborn)
	// From here on nobody but Look looks.
	b.must(writeWhole(b.path(released, "released"), nil))
	b.must(os.Symlink(fmt.Sprintf("%d.1.%s", os.Getpid(), b.boot), b.path(lost, "runner")))
	b.must(writeWhole(b.path(doomed, "cancel"), nil))
	b.must(syscall.Kill(b.runner(doomed), syscall.SIGKILL))
	now = now.Add(2 * time.Hour)

	var got []string
	b.until("the kill is seen", func() bool {
		jobs, err := Look(t.Context(), b.o)
		b.must(err)
		got = nil
		for _, j := range jobs {
			got = append(got, j.ID+" "+j.Reason)
		}
		return slices.Contains(got, doomed+" RunnerKilled")
	})
	if diff := cmp.Diff([]string{released + " Queued", lost + " RunnerKilled", doomed + " RunnerKilled"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	<-time.After(3 * b.o.KillWait)
	for _, left := range []string{b.path(released, "runner"), b.path(released, "runner.log"), b.path(lost, "end.json"), b.path(doomed, "end.json")} {
		if exists(left) {
			t.Errorf("a look made %s", left)
		}
	}
	if !exists(b.path(old)) {
		t.Error("a look forgot a job")
	}
	if isGone(pidIn(t, filepath.Join(attempt, "stray"))) {
		t.Error("a look ended a process")
	}
}

func TestCleanEnvironment(t *testing.T) {
	t.Setenv("SBATCH_PARTITION", "gpu")
	t.Setenv("ASSAY_TOKEN", "secret")
	t.Setenv("BASH_ENV", "/etc/passwd")
	b := newBench(t, Options{})
	id, attempt := b.submit("tr '\\0' '\\n' </proc/$$/environ >environ; : >ready\n")
	b.must(b.Release(t.Context(), id))
	j := b.end(id)
	text, err := os.ReadFile(filepath.Join(attempt, "environ"))
	b.must(err)
	allowed := map[string]bool{"PATH": true, "HOME": true, "USER": true, "LOGNAME": true, "SHELL": true, "TMPDIR": true, "CUDA_VISIBLE_DEVICES": true}
	got := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case allowed[name]:
		case name == "PWD" || name == "OLDPWD" || name == "SHLVL" || name == "_": // bash's own
		default:
			got[name] = value
		}
	}
	want := map[string]string{"LANG": "C.UTF-8", "SLURM_JOB_ID": id, "SLURM_JOB_NAME": string(j.Key), "ASSAY_JOB": string(j.Key)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment of the job: -want +got\n%s", diff)
	}
}

func TestNoticeBeforeTimeLimit(t *testing.T) {
	b := newBench(t, Options{})
	id, attempt := b.start(`
trap 'date +%s%N >usr1' USR1
trap 'date +%s%N >term; exit 5' TERM
: >ready
while :; do read -t 0.05 <> <(:); done
`, func(s *slurmbridge.Script) { s.TimeLimit, s.Notice = 3*time.Second, 2*time.Second })
	j := b.end(id)
	usr1, term := pidIn(t, filepath.Join(attempt, "usr1")), pidIn(t, filepath.Join(attempt, "term"))
	if before := time.Duration(term - usr1); before < time.Second || before > 4*time.Second {
		t.Errorf("USR1 came %s before TERM, want about 2 s", before)
	}
	if j.Reason != "TimeLimit" || j.ExitCode != 5 {
		t.Errorf("%+v, want TimeLimit with the script's exit code", j)
	}
}

func TestForget(t *testing.T) {
	now := time.Now()
	b := newBench(t, Options{Remember: time.Hour, Now: func() time.Time { return now }})
	old, _ := b.submit("exit 0\n")
	b.must(b.Cancel(t.Context(), old))
	held, _ := b.submit("exit 0\n")
	newest, _ := b.submit("exit 0\n")
	b.must(b.Cancel(t.Context(), newest))
	now = now.Add(2 * time.Hour)
	jobs, err := b.List(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].ID != held {
		t.Errorf("List: %+v, %v; want only the job that did not end", jobs, err)
	}
	if exists(b.path(old)) || exists(b.path(newest)) {
		t.Error("the folders of forgotten jobs are still there")
	}
	if next, _ := b.submit("exit 0\n"); number(next) <= number(newest) {
		t.Errorf("the next job is %s: the id %s was used again", next, newest)
	}
	b.must(b.Cancel(t.Context(), old))
}

func TestModes(t *testing.T) {
	b := newBench(t, Options{})
	p := filepath.Join(b.dir, "w", "deep", "file")
	b.must(b.Write(t.Context(), map[string][]byte{p: []byte("x")}))
	id, _ := b.submit("exit 0\n")
	for path, want := range map[string]os.FileMode{
		p: 0o600, filepath.Dir(p): 0o700 | os.ModeDir, filepath.Join(b.dir, "w"): 0o700 | os.ModeDir,
		b.o.StateDir: 0o700 | os.ModeDir, b.path(id): 0o700 | os.ModeDir, b.path(id, "job.sh"): 0o600,
	} {
		info, err := os.Stat(path)
		b.must(err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

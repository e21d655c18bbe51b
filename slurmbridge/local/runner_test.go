package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"assay.bench/slurmbridge"
)

// edit changes the runner of a job that was not released yet.
func (b *bench) edit(id, old, fresh string) {
	b.t.Helper()
	file := b.path(id, "runner.sh")
	text, err := os.ReadFile(file)
	b.must(err)
	if !strings.Contains(string(text), old) {
		b.t.Fatalf("the runner has no %q", old)
	}
	b.must(os.WriteFile(file, []byte(strings.Replace(string(text), old, fresh, 1)), 0o600))
}

// age makes a runner's claim so old that what it started must have begun.
func (b *bench) age(id string) {
	b.t.Helper()
	old := unix.NsecToTimeval(time.Now().Add(-startGrace).UnixNano())
	b.must(unix.Lutimes(b.path(id, "runner"), []unix.Timeval{old, old}))
}

// slow takes 1.5 s to end after TERM, as a server may that was given the time.
const slow = `
trap 'read -t 1.5 <> <(:); echo bye >last; exit 3' TERM
echo $$ >node.pid
: >ready
while :; do read -t 0.1 <> <(:); done
`

// The time to stop is the job's own, not the host's: what a job writes in its last seconds is there.
func TestKillWaitOfTheJob(t *testing.T) {
	cases := map[string]struct {
		reason string
		before func(b *bench, id string)
	}{
		"runner":    {"it was told when it was started", func(*bench, string) {}},
		"no runner": {"assay ends the job itself, and reads the record", func(b *bench, id string) { b.must(syscall.Kill(b.runner(id), syscall.SIGKILL)) }},
		"another assay": {"it reads the record too", func(b *bench, id string) {
			b.must(syscall.Kill(b.runner(id), syscall.SIGKILL))
			b.open()
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{KillWait: 100 * time.Millisecond})
			id, attempt := b.start(slow, func(s *slurmbridge.Script) { s.KillWait = 15 * time.Second })
			c.before(b, id)
			b.must(b.Cancel(t.Context(), id))
			if j := b.end(id); j.Reason != "Cancelled" {
				t.Errorf("%+v, want Cancelled", j)
			}
			for _, file := range []string{"last", "exit.json"} {
				if !exists(filepath.Join(attempt, file)) {
					t.Errorf("%s is not there: %s", file, c.reason)
				}
			}
		})
	}
}

// spooling is a job whose process keeps something on the host's disk, as assay-node's clients do.
const spooling = `
mkdir "$TMPDIR/assay-$UID-$ASSAY_JOB-load-0" || exit 1
: >"$TMPDIR/assay-$UID-$ASSAY_JOB-load-0/load.series"
echo $$ >node.pid
: >ready
while :; do read -t 1 <> <(:); done
`

// What killed processes left on the host's disk goes with the job, and nothing else does.
func TestDiskOfTheHost(t *testing.T) {
	cases := map[string]struct {
		reason string
		runner bool
	}{
		"killed node":            {"the runner removes it", true},
		"killed node and runner": {"who settles the job removes it, whatever its own TMPDIR is", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{})
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			id, attempt := b.start(spooling)
			key := b.job(id).Key
			own := fmt.Sprintf("assay-%d-%s", os.Getuid(), key)
			others := []string{own + "0-load-0", own, fmt.Sprintf("assay-%d-%s-load-0", os.Getuid()+1, key)}
			for _, other := range others {
				b.must(os.Mkdir(filepath.Join(temp, other), 0o700))
			}
			b.must(os.Symlink(b.dir, filepath.Join(temp, own+"-link")))
			// A second job under the key never worked: its end is none of the first one's business.
			b.must(b.Submit(t.Context(), key, slurmbridge.Script{Directory: attempt, Node: filepath.Join(b.dir, "node1"), Parts: []slurmbridge.Part{{}}}))
			jobs, err := b.Find(t.Context(), key)
			b.must(err)
			b.must(b.Release(t.Context(), jobs[1].ID))
			t.Setenv("TMPDIR", t.TempDir()) // assay was started anew, elsewhere
			if j := b.end(jobs[1].ID); j.ExitCode != 75 {
				t.Errorf("%+v, want exit code 75: the folder is another's", j)
			}
			b.tidy(jobs[1].ID, record{Key: key, Directory: attempt})
			if !exists(filepath.Join(temp, own+"-load-0", "load.series")) {
				t.Fatal("the end of another job took the files of a job that runs")
			}
			if !c.runner {
				b.must(syscall.Kill(b.runner(id), syscall.SIGKILL))
			}
			b.must(syscall.Kill(pidIn(t, filepath.Join(attempt, "node.pid")), syscall.SIGKILL))
			b.end(id)
			entries, err := os.ReadDir(temp)
			b.must(err)
			var got []string
			for _, e := range entries {
				got = append(got, e.Name())
			}
			want := slices.Sorted(slices.Values(append(others, own+"-link")))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.reason, diff)
			}
		})
	}
}

// One Cancel is enough even when its signal is lost, as bash loses one that comes just before it waits, and nobody looks
// again.
func TestCancelThatNobodyFollows(t *testing.T) {
	b := newBench(t, Options{})
	id, _ := b.submit("exec sleep 600")
	b.edit(id, "    wait \"$job\"\n", "    [ -e cancel ] || { : >cancel; kill -s TERM $$; }\n    wait \"$job\"\n")
	b.must(b.Release(t.Context(), id))
	b.until("the job has ended, without a look", func() bool { return exists(b.path(id, "end.json")) })
	if j := b.job(id); j.Reason != "Cancelled" {
		t.Errorf("%+v, want Cancelled", j)
	}
}

// In the middle of an exec a process carries no marks: it is looked for again before the job is over.
func TestProcessInAnExec(t *testing.T) {
	b := newBench(t, Options{})
	id, attempt := b.submit("setsid sleep 600 &\necho $! >stray\nexit 0\n")
	tools := t.TempDir()
	grep, err := exec.LookPath("grep")
	b.must(err)
	fake := fmt.Sprintf("#!/bin/bash\n[ \"$1\" != -lzxF ] || ! mkdir %s/looked 2>/dev/null || exit 1\nexec %s \"$@\"\n", tools, grep)
	b.must(os.WriteFile(filepath.Join(tools, "grep"), []byte(fake), 0o700))
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	b.must(b.Release(t.Context(), id))
	if j := b.end(id); j.Phase != slurmbridge.Succeeded {
		t.Errorf("%+v, want Succeeded", j)
	}
	if stray := pidIn(t, filepath.Join(attempt, "stray")); !isGone(stray) {
		t.Errorf("the job is over and its process %d lives", stray)
		_ = syscall.Kill(stray, syscall.SIGKILL)
	}

	looks := 0
	left, err := twice(func() ([]int, error) {
		looks++
		return [][]int{nil, {7}}[looks-1], nil
	})
	if diff := cmp.Diff([]int{7}, left); diff != "" || err != nil {
		t.Errorf("assay looks once: %v %s", err, diff)
	}
}

// What begins while the rest of a job ends is told to end as well, long before the kill wait.
func TestProcessThatBeginsLate(t *testing.T) {
	b := newBench(t, Options{KillWait: time.Minute})
	id, _ := b.submit(`
setsid bash -c 'trap "setsid sleep 600 & exit" TERM; : >stray; while :; do read -t 0.1 <> <(:); done' &
while [ ! -e stray ]; do read -t 0.01 <> <(:); done
exit 0
`)
	b.must(b.Release(t.Context(), id))
	if j := b.end(id); j.Phase != slurmbridge.Succeeded {
		t.Errorf("%+v, want Succeeded", j)
	}
}

// A session whose leader's pid was used again is not the job's, for the runner either.
func TestForeignSessionOfTheRunner(t *testing.T) {
	foreign := exec.CommandContext(t.Context(), "sleep", "60")
	foreign.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := foreign.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = foreign.Wait() }) // the context ended it
	b := newBench(t, Options{})
	id, _ := b.submit("exit 0\n")
	b.edit(id, "\nend_all\n", fmt.Sprintf("\njob=%d job_start=1\nend_all\n", foreign.Process.Pid))
	b.must(b.Release(t.Context(), id))
	b.end(id)
	if isGone(foreign.Process.Pid) {
		t.Error("the runner ended a process that was never the job's")
	}
}

// A runner that is killed just after its claim may have started the job: until its first process must have its marks,
// nothing found does not mean that nothing runs.
func TestRunnerKilledAtItsStart(t *testing.T) {
	b := newBench(t, Options{})
	id, _ := b.submit("exit 0\n")
	b.must(os.Symlink(fmt.Sprintf("%d.1.%s", os.Getpid(), b.boot), b.path(id, "runner"))) // its pid was used again
	if j := b.job(id); j.Phase != slurmbridge.Running || j.Reason != "RunnerKilled" {
		t.Errorf("just after the claim: %+v, want Running", j)
	}
	b.age(id)
	if j := b.job(id); j.Phase != slurmbridge.Failed {
		t.Errorf("later: %+v, want Failed", j)
	}

	// The first process is the job's before it has marks and a session.
	first, err := readStat(os.Getpid())
	b.must(err)
	left, err := survivors("assay-x", "L1", process{pid: os.Getpid(), start: first.start})
	if diff := cmp.Diff([]int{os.Getpid()}, left); diff != "" || err != nil {
		t.Errorf("the first process: %v %s", err, diff)
	}
}

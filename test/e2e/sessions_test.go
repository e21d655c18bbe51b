//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// measured is a benchmark whose load goes on for a while.
const measured = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: measured}
spec:
  site: local
  placement: %s
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 2}
    duration: %s
  idleTimeout: %s
  cleanup: {services: %s}
`

// A run whose terminal goes away, or that is killed, goes on by itself, and assay attach finishes it.
func TestALostRunIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	for reason, lost := range map[string]struct {
		signal syscall.Signal
		code   int
	}{
		"the terminal goes away": {syscall.SIGHUP, 129},
		"the process is killed":  {syscall.SIGKILL, -1},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			run := u.Start("assay", "run", u.Write("measured.yaml", fmt.Sprintf(measured, "SharedJob", "5s", "1m", "Stop")), "--output", u.Path("out"))
			client := u.Await("measured", "load", user.Loads).PID
			run.Signal(lost.signal)
			a := run.Wait()
			if a.Code != lost.code {
				t.Errorf("exit code %d, want %d\n%s", a.Code, lost.code, a.Stderr)
			}
			hint := regexp.MustCompile(`assay attach ([0-9a-f]{8})`).FindStringSubmatch(a.Stderr)
			if hint == nil {
				t.Fatalf("no word of assay attach:\n%s", a.Stderr)
			}
			contains(t, "the list of runs", u.Must("assay", "attach").Stdout, hint[1], "default/measured", "detached", u.Path("out"))

			attached := u.Do("assay", "attach", hint[1])
			if attached.Code != 0 && attached.Code != 4 {
				t.Errorf("assay attach: exit code %d, want 0 or 4\n%s", attached.Code, attached.Stderr)
			}
			contains(t, "assay attach", attached.Stdout, "measured", "results: "+u.Path("out"))
			u.Whole(u.Result(u.Path("out")), 1)
			if s := u.Status(u.Rank(u.Path("out", "run"), "load")); s.PID != client {
				t.Errorf("the client was process %d and is %d", client, s.PID)
			}
			gone(t, u)
		})
	}
}

// Ctrl-C cancels, says what it ended, and keeps what was written until then.
func TestInterruptCancels(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	run := u.Start("assay", "run", u.Write("measured.yaml", fmt.Sprintf(measured, "SharedJob", "5m", "1m", "Stop")), "--output", u.Path("out"))
	u.Await("measured", "load", user.Loads)
	run.Signal(syscall.SIGINT)
	a := run.Wait()
	if a.Code != 130 {
		t.Errorf("exit code %d, want 130\n%s", a.Code, a.Stderr)
	}
	contains(t, "the last words", a.Stderr, "cancelling", "ended job L1 (measured-g1)", u.Path("out"))
	if e := u.Exit(u.Rank(u.Path("out", "run"), "load")); e.Reason != rundir.ExitReasonStopped {
		t.Errorf("the client ended with %s: %s", e.Reason, e.Message)
	}
	gone(t, u)
}

// Ctrl-C at once, before anything was applied, cancels too.
func TestInterruptAtTheStartCancels(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	run := u.Start("assay", "run", recipe(t, "quickstart.yaml"), "--output", u.Path("out"))
	user.Until(t, "the state folder of the run", func() bool {
		found, _ := filepath.Glob(u.Path("state", "assay", "*", "assay.json"))
		return len(found) > 0
	})
	run.Signal(syscall.SIGINT)
	if a := run.Wait(); a.Code != 130 {
		t.Errorf("exit code %d, want 130\n%s", a.Code, a.Stderr)
	}
	gone(t, u)
}

// gone checks that a run left neither state nor processes.
func gone(t *testing.T, u *user.User) {
	t.Helper()
	if left, _ := filepath.Glob(u.Path("state", "assay", "*")); len(left) != 0 {
		t.Errorf("state is left behind: %v", left)
	}
	for _, p := range u.Processes() {
		t.Errorf("a process is left behind: %d %s", p.PID, p.Command)
	}
	if mark, _ := filepath.Glob(u.Path("out", ".*")); len(mark) != 0 {
		t.Errorf("the output folder is still marked: %s", strings.Join(mark, ", "))
	}
}

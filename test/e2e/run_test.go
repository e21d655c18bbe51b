//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/test/user"
)

func TestQuickstartEndsWithAVerdict(t *testing.T) {
	u := user.New(t)
	r := quickstart(t, u)
	if len(r.CrossChecks) != 12 {
		t.Errorf("%d counters were compared, want 12", len(r.CrossChecks))
	}
	u.Whole(r, 6)
	if left, _ := filepath.Glob(u.Path("state", "assay", "*")); len(left) != 0 {
		t.Errorf("state is left behind: %v", left)
	}
	asksLittle(t, u, r)
}

// quickstart runs the quickstart to its end. It passes or, on a busy machine, which limits the client, exits with 4
// and says why. Nothing else is accepted.
func quickstart(t *testing.T, u *user.User, flags ...string) results.Result {
	t.Helper()
	a := u.Do("assay", append([]string{"run", recipe(t, "quickstart.yaml"), "--output", u.Path("out")}, flags...)...)
	t.Logf("exit code %d\n%s", a.Code, a.Stdout)
	if a.Code != 0 && a.Code != 4 {
		t.Fatalf("exit code %d, want 0 or 4\n%s", a.Code, a.Stderr)
	}
	r := u.Result(u.Path("out"))
	if results.ExitCode(r.Outcome) != a.Code {
		t.Errorf("exit code %d for outcome %s", a.Code, r.Outcome)
	}
	if a.Code == 4 {
		contains(t, "an invalid run", a.Stdout, "the client limited the result", "above")
	}
	contains(t, "the summary", a.Stdout, r.Outcome, "p95(ttft)", "results: "+u.Path("out"))
	return r
}

// A new process of the server in each repeat, the same one of the client in all, wherever they are placed.
func TestPlacementsAndTheirProcesses(t *testing.T) {
	t.Parallel()
	for placement, jobs := range map[string]int{"SharedJob": 1, "SeparateJobs": 2} {
		t.Run(placement, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			path := u.Write("placed.yaml", edited(t, "quickstart.yaml",
				"  services:\n", "  placement: "+placement+"\n  services:\n", "count: 6 ", "count: 3 "))
			a := u.Do("assay", "run", path, "--output", u.Path("out"), "--time-scale", "0.2")
			if a.Code != 0 && a.Code != 4 && a.Code != 7 {
				t.Fatalf("exit code %d, want 0, 4 or 7\n%s%s", a.Code, a.Stdout, a.Stderr)
			}
			r := u.Result(u.Path("out"))
			u.Whole(r, 3)
			if len(r.Jobs) != jobs {
				t.Errorf("%d jobs, want %d: %+v", len(r.Jobs), jobs, r.Jobs)
			}
			if r.Baseline {
				t.Error("a scaled run passes as a baseline")
			}

			servers := map[any]bool{}
			for _, e := range u.Events(u.Rank(u.Path("out", "run"), "sim")) {
				if e.Event == "Ready" {
					servers[e.Fields["server"]] = true
				}
			}
			if len(servers) != 3 {
				t.Errorf("the processes of the server are %v, want one for each of 3 repeats", servers)
			}
			clients := map[int]int{}
			for _, e := range u.Events(u.Rank(u.Path("out", "run"), "loadgen")) {
				if e.Event == "LoadStarts" {
					clients[e.PID]++
				}
			}
			if len(clients) != 1 {
				t.Errorf("the loads by process of the client are %v, want 3 loads of one", clients)
			}
			for pid, loads := range clients {
				if loads != 3 {
					t.Errorf("process %d made %d loads, want 3", pid, loads)
				}
			}
		})
	}
}

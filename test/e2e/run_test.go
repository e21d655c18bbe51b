//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/internal/results"
)

func TestQuickstartEndsWithAVerdict(t *testing.T) {
	u := newUser(t)
	a := u.do("assay", "run", recipe(t, "quickstart.yaml"), "--output", filepath.Join(u.home, "out"))
	t.Logf("exit code %d\n%s", a.code, a.stdout)
	// A busy machine may limit the client: then the run says so and is invalid. Nothing else is accepted.
	if a.code != 0 && a.code != 4 {
		t.Fatalf("exit code %d, want 0 or 4\n%s", a.code, a.stderr)
	}
	r := readResult(t, filepath.Join(u.home, "out", "result.json"))
	if results.ExitCode(r.Outcome) != a.code {
		t.Errorf("exit code %d for outcome %s", a.code, r.Outcome)
	}
	if a.code == 4 {
		contains(t, "an invalid run", a.stdout, "the client limited the result", "above")
	}
	if r.RepeatsWhole != 6 || len(r.CrossChecks) != 12 {
		t.Errorf("%d repeats are whole and %d counters were compared, want 6 and 12", r.RepeatsWhole, len(r.CrossChecks))
	}
	for _, c := range r.CrossChecks {
		if !c.Agrees || c.Server == nil || *c.Server != float64(c.Clients) {
			t.Errorf("repeat %d: the server's %s and the client's %s differ: %+v", c.Repeat, c.Metric, c.Total, c)
		}
	}
	contains(t, "the summary", a.stdout, r.Outcome, "p95(ttft)", "results: "+filepath.Join(u.home, "out"))
	if left, _ := filepath.Glob(filepath.Join(u.home, "state", "assay", "*")); len(left) != 0 {
		t.Errorf("state is left behind: %v", left)
	}
}

func readResult(t *testing.T, path string) results.Result {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := results.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSeparateJobsRunToo(t *testing.T) {
	u := newUser(t)
	text, err := os.ReadFile(recipe(t, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(u.home, "separate.yaml")
	separate := strings.Replace(string(text), "  services:\n", "  placement: SeparateJobs\n  services:\n", 1)
	separate = strings.Replace(separate, "count: 6 ", "count: 3 ", 1)
	if err := os.WriteFile(path, []byte(separate), 0o600); err != nil {
		t.Fatal(err)
	}
	a := u.do("assay", "run", path, "--output", filepath.Join(u.home, "out"), "--time-scale", "0.3")
	if a.code != 0 && a.code != 4 && a.code != 7 {
		t.Fatalf("exit code %d, want 0, 4 or 7\n%s%s", a.code, a.stdout, a.stderr)
	}
	r := readResult(t, filepath.Join(u.home, "out", "result.json"))
	if r.RepeatsWhole != 3 || len(r.Jobs) != 2 {
		t.Errorf("%d repeats are whole in %d jobs, want 3 in 2", r.RepeatsWhole, len(r.Jobs))
	}
	if r.Baseline {
		t.Error("a scaled run passes as a baseline")
	}
}

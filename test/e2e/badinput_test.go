//go:build e2e

package e2e

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/test/user"
)

// badInput is a mistake, or a machine that does not play along.
type badInput struct {
	reason string
	// recipe is run as it is; try is for what needs more than a recipe.
	recipe string
	try    func(t *testing.T, u *user.User) user.Answer

	wantCode  int
	wantWords []string // in what the user reads
	// wantOutput is what the folder out holds at the end.
	wantOutput string
	// wantState is how many control planes are kept, as the documentation says.
	wantState int
	// wantKubectl is what kubectl apply answers to the recipe; "" or onlyRun for a recipe that it does not refuse.
	wantKubectl string
}

// What an output folder may hold at the end. Nothing is half-written.
const (
	nothing = ""                         // there is no folder
	part    = "what the run had written" // without a result
	whole   = "a result"
)

// TestBadInput: each gets one clear message, the right exit code, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	t.Parallel()
	all := map[string]badInput{}
	for _, group := range []map[string]badInput{badRecipes(), badServers(t), badFolders(), fullDisks(), seconds()} {
		maps.Copy(all, group)
	}
	for name, in := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			in.check(t, u, in.meet(t, u))
		})
	}
	t.Run("kubectl apply", func(t *testing.T) {
		t.Parallel()
		u := user.New(t)
		up(t, u)
		for name, in := range all {
			if in.wantKubectl == "" || in.wantKubectl == onlyRun {
				continue
			}
			a := u.Do("assay", "kubectl", "apply", "-f", u.Write("recipe.yaml", in.recipe))
			if a.Code != 1 {
				t.Errorf("%s: exit code %d, want 1", name, a.Code)
			}
			contains(t, name, a.Stderr, in.wantKubectl)
		}
		waitsForAPerson(t, u)
		u.Must("assay", "down", "--drain")
	})
}

// meet makes the mistake. A recipe that assay run refuses, assay validate refuses in the same words.
func (in badInput) meet(t *testing.T, u *user.User) user.Answer {
	t.Helper()
	if in.try != nil {
		return in.try(t, u)
	}
	u.Write("recipe.yaml", in.recipe)
	a := u.Do("assay", "run", "recipe.yaml", "--output", "out")
	if in.wantCode != 2 {
		return a
	}
	if strings.Count(a.Stderr, "\n") != 1 || a.Stdout != "" {
		t.Errorf("assay run says more than one thing:\n%s%s", a.Stdout, a.Stderr)
	}
	v := u.Do("assay", "validate", "recipe.yaml")
	if v != a && in.wantKubectl != onlyRun {
		t.Errorf("assay validate: exit code %d, and says\n%s%sbut assay run\n%s", v.Code, v.Stdout, v.Stderr, a.Stderr)
	}
	return a
}

// onlyRun stands for a recipe that may be right elsewhere: only the control plane that runs it can tell.
const onlyRun = "nobody but the run can tell"

func (in badInput) check(t *testing.T, u *user.User, a user.Answer) {
	t.Helper()
	if a.Code != in.wantCode {
		t.Errorf("%s: exit code %d, want %d\n%s%s", in.reason, a.Code, in.wantCode, a.Stdout, a.Stderr)
	}
	contains(t, in.reason, a.Stdout+a.Stderr, in.wantWords...)
	for _, p := range u.Processes() {
		t.Errorf("a process is left behind: %d %s", p.PID, p.Command)
	}
	if left, _ := filepath.Glob(u.Path("state", "assay", "*")); len(left) != in.wantState {
		t.Errorf("state folders %v, want %d of them", left, in.wantState)
	}
	for _, half := range []string{".assay-run", "*.new", "*/.assay-run"} {
		if left, _ := filepath.Glob(u.Path("out", half)); len(left) != 0 {
			t.Errorf("half-written: %v", left)
		}
	}
	in.checkOutput(t, u)
}

func (in badInput) checkOutput(t *testing.T, u *user.User) {
	t.Helper()
	entries, err := os.ReadDir(u.Path("out"))
	if in.wantOutput == nothing {
		if !os.IsNotExist(err) {
			t.Errorf("the folder out holds %v, want no such folder", entries)
		}
		return
	}
	want := []string{"run"}
	if in.wantOutput == whole {
		want = []string{"result.json", "run", "summary.txt"}
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the folder out holds %v, want %v", got, want)
	}
	if in.wantOutput != whole {
		return
	}
	r := u.Result(u.Path("out"))
	if code := results.ExitCode(r.Outcome); code != in.wantCode {
		t.Errorf("outcome %s stands for exit code %d, want %d", r.Outcome, code, in.wantCode)
	}
	for _, s := range r.Services {
		if c, err := net.DialTimeout("tcp", s.Endpoint, time.Second); s.Endpoint != "" && err == nil {
			c.Close()
			t.Errorf("something still listens on %s", s.Endpoint)
		}
	}
}

// waitsForAPerson: on a standing control plane a Benchmark may come before its Site, and says that it waits for it.
func waitsForAPerson(t *testing.T, u *user.User) {
	t.Helper()
	u.Must("assay", "kubectl", "apply", "-f", u.Write("recipe.yaml", changed("site: local", "site: meluxina")))
	u.Must("assay", "kubectl", "wait", "--for=condition=Stalled", "bm/short", "--timeout=60s")
	contains(t, "describe", u.Must("assay", "kubectl", "describe", "bm", "short").Stdout,
		"SiteMissing", `there is no Site "meluxina" in namespace default: create it, or name another in spec.site`)
}

// changed is the benchmark short with texts replaced: old, new, old, new.
func changed(texts ...string) string {
	out := short
	for i := 0; i < len(texts); i += 2 {
		if strings.Count(out, texts[i]) != 1 {
			panic("short does not have exactly one " + texts[i])
		}
		out = strings.Replace(out, texts[i], texts[i+1], 1)
	}
	return out
}

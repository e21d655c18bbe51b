//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// alone is a server and a load that no benchmark makes.
const alone = `---
apiVersion: assay.bench/v1alpha1
kind: Service
metadata: {name: web}
spec: {site: local, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
---
apiVersion: assay.bench/v1alpha1
kind: LoadClient
metadata: {name: users}
spec:
  site: local
  target: {service: web}
  inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
  closedLoop: {concurrency: 1}
  duration: 10m
`

// On a standing control plane a run takes over nothing that is there, and takes back what it made.
func TestRunOnAStandingControlPlane(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	u.Up()
	first := u.Start("assay", "run", "--context", "default", u.Write("first.yaml", fmt.Sprintf(measured, "SharedJob", "10m", "1m", "Stop")), "--output", u.Path("first"))
	client := u.Await("measured", "load", user.Loads).PID

	second := u.Do("assay", "run", "--context", "default", u.Write("second.yaml", fmt.Sprintf(measured, "SharedJob", "1s", "1m", "Stop")), "--output", u.Path("second"))
	if second.Code != 2 {
		t.Errorf("a second run of the same name: exit code %d, want 2\n%s", second.Code, second.Stderr)
	}
	contains(t, "the refusal", second.Stderr, `second.yaml:3:12: metadata.name: there is a Benchmark "measured" in namespace default already: delete it first, or give yours another name`)

	other := u.Do("assay", "run", "--context", "default", u.Write("short.yaml", short+alone), "--output", u.Path("other"))
	if other.Code != 0 && other.Code != 4 {
		t.Errorf("a run beside it: exit code %d, want 0 or 4\n%s", other.Code, other.Stderr)
	}
	u.Whole(u.Result(u.Path("other")), 1)
	left := strings.Fields(u.Must("assay", "kubectl", "get", "bm,bsvc,lc,sj", "-A", "-o", "name").Stdout)
	for _, name := range left {
		if !strings.Contains(name, "/measured") {
			t.Errorf("a run left %s behind", name)
		}
	}
	if s := u.Await("measured", "load", user.Loads); s.PID != client || len(left) != 4 {
		t.Errorf("the first run has %v, and its client was process %d and is %d", left, client, s.PID)
	}

	first.Signal(syscall.SIGINT)
	if a := first.Wait(); a.Code != 130 {
		t.Errorf("exit code %d, want 130\n%s", a.Code, a.Stderr)
	}
	nothingOfOurs(t, u.Must("assay", "kubectl", "get", "bm,bsvc,lc,sj", "-A", "-o", "name").Stdout, u)
	u.Must("assay", "down")
}

// A run ends all that it started, not only its benchmarks.
func TestRunTakesBackWhatStandsForItself(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	a := u.Do("assay", "run", u.Write("short.yaml", short+alone), "--output", u.Path("out"))
	if a.Code != 0 && a.Code != 4 {
		t.Errorf("exit code %d, want 0 or 4\n%s", a.Code, a.Stderr)
	}
	gone(t, u)
}

// In a work folder of its Site's own a run leaves what others may use: the program, under its hash.
func TestRunLeavesOnlyTheProgramInAWorkFolder(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	work := u.Path("work")
	if a := run(u, onSite(work, simulator, command("[no-such-server]", probeHealth))); a.Code != 5 {
		t.Errorf("exit code %d, want 5\n%s", a.Code, a.Stderr)
	}
	for pattern, want := range map[string]int{"bin/*/assay-node": 1, "*": 2, ".origins/*": 0} {
		if found, err := filepath.Glob(filepath.Join(work, pattern)); err != nil || len(found) != want {
			t.Errorf("%s matches %v, %v, want %d", pattern, found, err, want)
		}
	}
	gone(t, u)
}

// Jobs that end while nobody is there leave results that nobody has. They are not thrown away.
func TestPruneWaitsForResultsToBeCollected(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	u.Up()
	u.Must("assay", "kubectl", "apply", "-f", u.Write("measured.yaml", fmt.Sprintf(measured, "SharedJob", "3s", "1m", "Stop")))
	u.Await("measured", "load", user.Loads)
	u.Must("assay", "down", "--leave")
	run := u.Run("measured")

	detached := user.New(t)
	lost := detached.Start("assay", "run", detached.Write("measured.yaml", fmt.Sprintf(measured, "SharedJob", "3s", "1m", "Stop")), "--output", detached.Path("out"))
	detached.Await("measured", "load", user.Loads)
	lost.Signal(syscall.SIGHUP)
	lost.Wait()
	for _, who := range []*user.User{u, detached} {
		user.Until(t, "every process of the run has ended", func() bool { return len(who.Processes()) == 0 })
	}

	a := u.Must("assay", "prune", "--yes")
	contains(t, "assay prune", a.Stdout+a.Stderr, run, "not yet collected: assay up --context default", "nothing to remove")
	a = detached.Must("assay", "prune", "--yes")
	contains(t, "assay prune", a.Stdout+a.Stderr, "of default/measured, not yet collected: assay attach ", "nothing to remove")

	u.Up()
	u.Must("assay", "kubectl", "wait", "--for=condition=Complete", "bm/measured", "--timeout", user.Within.String())
	u.Whole(u.Result(run), 1)
	u.Must("assay", "down")
	u.Must("assay", "prune", "--yes")
	if left, _ := filepath.Glob(filepath.Join(run, rundir.ResultFile)); len(left) > 0 {
		t.Errorf("what was collected stays: %v", left)
	}
	_, hint, _ := strings.Cut(a.Stdout, "assay attach ")
	attached := detached.Do("assay", "attach", hint[:8])
	if attached.Code != 0 && attached.Code != 4 {
		t.Errorf("assay attach: exit code %d, want 0 or 4\n%s", attached.Code, attached.Stderr)
	}
	detached.Whole(detached.Result(detached.Path("out")), 1)
	gone(t, detached)
}

// A run whose results were written, and which then could not end what it had started, is ended by assay attach, which
// leaves the results alone.
func TestAttachEndsWhatIsLeft(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	run := u.Start("assay", "run", u.Write("measured.yaml", fmt.Sprintf(measured, "SharedJob", "10m", "1m", "Stop")), "--output", u.Path("out"))
	u.Await("measured", "load", user.Loads)
	run.Signal(syscall.SIGKILL)
	run.Wait()
	infos, err := filepath.Glob(u.Path("state", "assay", "*", "assay.json"))
	if err != nil || len(infos) != 1 {
		t.Fatalf("%v, %v", infos, err)
	}
	text, err := os.ReadFile(infos[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(infos[0], []byte(strings.Replace(string(text), "{", `{"collected": true,`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	results := []string{u.Path("out", "run", "mine"), u.Path("out", rundir.ResultFile)}
	for _, path := range results {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(u.Path("out", ".assay-run")); err != nil {
		t.Fatal(err)
	}
	a := u.Must("assay", "attach", filepath.Base(filepath.Dir(infos[0])))
	contains(t, "assay attach", a.Stderr, "the results are in "+u.Path("out")+" already")
	for _, path := range results {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("what was written is gone: %v", err)
		}
	}
	gone(t, u)
}

// Nothing of ours may keep our definitions from being deleted; the Site of this machine comes back.
func TestDrainTakesTheSites(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	u.Up()
	sites := func() string { return u.Must("assay", "kubectl", "get", "sites", "-A", "-o", "name").Stdout }
	u.Must("assay", "kubectl", "wait", "--for=condition=Ready", "site/local", "--timeout=60s")
	u.Must("assay", "drain", "--yes", "--timeout", "60s")
	if left := sites(); left != "" {
		t.Errorf("left after assay drain: %s", left)
	}
	u.Must("assay", "down")
	u.Up()
	contains(t, "the Sites after the next assay up", sites(), "site.assay.bench/local")
	u.Must("assay", "down", "--drain")
	u.Up()
	contains(t, "the Sites after assay down --drain", sites(), "site.assay.bench/local")
	u.Must("assay", "down")
}

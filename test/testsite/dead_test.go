//go:build e2e

package testsite

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// overLogin is a recipe with one short load on a site that is reached over SSH.
func overLogin(t *testing.T, s *site.Site, duration string) string {
	t.Helper()
	return fmt.Sprintf(`apiVersion: assay.bench/v1alpha1
kind: Site
metadata: {name: slurm}
spec:
  jobs: {ssh: %s}
  workDir: %s
  defaults:
    service: {account: p200000, partition: cpu, qos: default, timeLimit: 30m, memory: 512Mi, cpusPerTask: 1}
    client: {account: p200000, partition: cpu, qos: default, timeLimit: 30m, memory: 512Mi, cpusPerTask: 1}
---
apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: short}
spec:
  site: slurm
  services:
  - name: sim
    llmsim: {ttft: {mean: 30ms}, itl: {mean: 4ms}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1, thinkTime: 100ms}
    duration: %s
`, loginDoor(t, s), s.Get("WORK"), duration)
}

// What the site ends is tried again on other nodes, and what a dead control plane left is ended by another one.
func TestSiteEnds(t *testing.T) {
	t.Parallel()
	built(t)
	each := map[string]func(*testing.T){} // at once, for a parallel subtest would wait for all other tests to begin
	for name, then := range map[string]func(*testing.T, *site.Site){site.Slurm2411: lostNode, site.Slurm2205: deadRun} {
		each[name] = func(t *testing.T) {
			s := site.Up(t, name)
			t.Run("failed prolog", func(t *testing.T) { prologTwice(t, s.For(t)) })
			t.Run("then", func(t *testing.T) { then(t, s.For(t)) })
		}
	}
	user.AtOnce(t, each)
}

// prologTwice lets the prolog of the first attempt fail: Slurm cancels the job, which may not be requeued, in the name of
// root. The second attempt gets other nodes and passes.
func prologTwice(t *testing.T, s *site.Site) {
	if err := os.WriteFile(filepath.Join(s.Get("STATE"), "fail-prolog"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	u := user.New(t)
	passesTheSecondTime(t, s, u, u.Do("assay", "run", u.Write("recipe.yaml", overLogin(t, s, "3s")), "--output", u.Path("out")), "CANCELLED")
	s.Root("bash", "-c", "for n in $(sinfo -h -N -t drain -o %N | sort -u); do scontrol update node=$n state=resume; done")
}

// lostNode kills the slurmd of the node that the first attempt runs on, once all its steps have begun.
func lostNode(t *testing.T, s *site.Site) {
	u := user.New(t)
	run, id := startsAJob(t, s, u, u.Write("recipe.yaml", overLogin(t, s, "45s")))
	user.Until(t, "the client loads", func() bool {
		attempts, err := filepath.Glob(filepath.Join(s.Get("WORK"), "*", "default", "*", "*", "*", "1"))
		return err == nil && slices.ContainsFunc(attempts, func(a string) bool { return user.Loads(u.Status(rundir.Rank(a, "load", 0))) })
	})
	node := slices.Min(slices.Collect(maps.Keys(nodes(t, s.Sh("squeue -h -o %N -j "+id)))))
	s.Daemon("kill", "slurmd@"+node)
	passesTheSecondTime(t, s, u, run.Wait(), "NODE_FAIL")
	s.Daemon("start", "slurmd@"+node)
}

// passesTheSecondTime: the first attempt of a run ended in a state of Slurm's, and the second one passed on another node.
func passesTheSecondTime(t *testing.T, s *site.Site, u *user.User, a user.Answer, state string) {
	t.Helper()
	t.Logf("exit code %d\n%s%s", a.Code, a.Stderr, a.Stdout)
	b, err := os.ReadFile(u.Path("out", "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := results.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if !good(a, r) || len(r.Jobs) != 1 || r.Jobs[0].Attempt != 2 {
		t.Fatalf("exit code %d, jobs %+v; want the second attempt to pass", a.Code, r.Jobs)
	}
	ran := map[string]map[string]bool{}
	key := strings.TrimSuffix(s.Sh("sacct -X -P -n -o JobName -j "+r.Jobs[0].ID), "2")
	for line := range strings.Lines(s.Sh("sacct -X -P -n -o JobName,State,NodeList")) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if attempt, ours := strings.CutPrefix(f[0], key); ours {
			ran[attempt] = nodes(t, f[2])
			if attempt == "1" && !strings.HasPrefix(f[1], state) {
				t.Errorf("Slurm says of the first attempt %s, want %s", f[1], state)
			}
		}
	}
	if len(ran["1"]) == 0 || len(ran["2"]) == 0 {
		t.Fatalf("sacct knows the attempts %v, want two", ran)
	}
	for n := range ran["2"] {
		if ran["1"][n] {
			t.Errorf("the second attempt ran on %s, as the first one did", n)
		}
	}
}

// deadRun kills assay run. A control plane with a state folder of its own sees that at the site, and ends its job and
// nothing of another one that lives.
func deadRun(t *testing.T, s *site.Site) {
	killed, alive, third := user.New(t), user.New(t), user.New(t)
	recipe := third.Write("recipe.yaml", overLogin(t, s, "8m"))
	first, dead := startsAJob(t, s, killed, recipe)
	second, lives := startsAJob(t, s, alive, recipe)
	first.Signal(syscall.SIGKILL)
	first.Wait()
	before := seen(t, third, recipe)
	if len(before) != 2 || before[dead].Life != "dead" || before[lives].Life != "alive" || before[dead].Site != "slurm" {
		t.Fatalf("assay jobs --site says %+v, want that %s is dead and %s alive", before, dead, lives)
	}
	if a := third.Do("assay", "gc", "--site", recipe, "--yes", "--origin", before[lives].Origin); a.Code != 2 || !strings.Contains(a.Stderr, "it is alive") {
		t.Errorf("gc of the living: %+v", a)
	}
	if a := third.Do("assay", "gc", "--site", recipe); a.Code != 2 || !strings.Contains(a.Stderr, "give --yes") {
		t.Errorf("gc without anybody to ask: %+v", a)
	}
	a := third.Must("assay", "gc", "--site", recipe, "--yes")
	t.Logf("%s%s", a.Stdout, a.Stderr)
	if !strings.Contains(a.Stderr, "job "+dead+" at slurm is gone") || strings.Contains(a.Stdout, lives) {
		t.Errorf("gc said\n%s%s", a.Stdout, a.Stderr)
	}
	if got := s.Sh("squeue -h -t running,completing -o %i"); got != lives {
		t.Errorf("%q is left in the queue, want %s", got, lives)
	}
	for id, stays := range map[string]bool{dead: false, lives: true} {
		marks, err := filepath.Glob(filepath.Join(s.Get("WORK"), ".origins", before[id].Origin+"*.json"))
		if err != nil || len(marks) == 1 != stays {
			t.Errorf("the mark of job %s: %v, %v; want that it stays: %t", id, marks, err, stays)
		}
	}
	if after := seen(t, third, recipe); len(after) != 1 || after[lives].Life != "alive" {
		t.Errorf("assay jobs says %+v after gc", after)
	}
	second.Signal(syscall.SIGINT)
	if a := second.Wait(); a.Code != 130 {
		t.Errorf("the living run ended with %+v", a)
	}
	for _, spool := range killed.Spools() { // what KILL left of its process
		if err := os.RemoveAll(spool); err != nil {
			t.Error(err)
		}
	}
}

// startsAJob runs the recipe until its job runs, and returns its id.
func startsAJob(t *testing.T, s *site.Site, u *user.User, recipe string) (run *user.Command, id string) {
	t.Helper()
	const running = "squeue -h -t running -o %i"
	known := strings.Fields(s.Sh(running))
	run = u.Start("assay", "run", recipe, "--output", u.Path("out"))
	user.Until(t, "its job runs", func() bool {
		for now := range strings.FieldsSeq(s.Sh(running)) {
			if !slices.Contains(known, now) {
				id = now
			}
		}
		return id != ""
	})
	return run, id
}

// row is what assay jobs tells of a job.
type row struct{ Job, Life, Site, Origin string }

// seen are the jobs that assay jobs lists, by their id.
func seen(t *testing.T, u *user.User, recipe string) map[string]row {
	t.Helper()
	var list struct{ Jobs []row }
	if err := json.Unmarshal([]byte(u.Must("assay", "jobs", "--site", recipe, "-o", "json").Stdout), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]row{}
	for _, r := range list.Jobs {
		out[r.Job] = r
	}
	return out
}

// nodes takes a list such as mel[2001-2002],mel2004 apart.
func nodes(t *testing.T, list string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(\d+)(?:-(\d+))?`).FindAllStringSubmatch(list, -1) {
		first, err := strconv.Atoi(m[1])
		last, lastErr := strconv.Atoi(cmp.Or(m[2], m[1]))
		if err := errors.Join(err, lastErr); err != nil {
			t.Fatal(err)
		}
		for n := first; n <= last; n++ {
			out[fmt.Sprintf("mel%d", n)] = true
		}
	}
	return out
}

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/test/user"
)

// kubectls are the embedded kubectl and the stock one.
func kubectls(t *testing.T) map[string][]string {
	t.Helper()
	stock := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	if _, err := os.Stat(stock); err != nil {
		t.Fatalf("the stock kubectl: %v: run make e2e", err)
	}
	return map[string][]string{"Embedded": {"assay", "kubectl"}, "Stock": {stock}}
}

// short is a benchmark of a few seconds.
const short = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: short}
spec:
  site: local
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1}
    duration: 1500ms
`

// On the product's own control plane, by both kubectls.
func TestKubectlDrivesABenchmark(t *testing.T) {
	t.Parallel()
	for name, kubectl := range kubectls(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			up(t, u)
			transcript(t, u, kubectl)
			u.Must("assay", "down")
		})
	}
}

// transcript is what a person types to drive a benchmark, from apply to delete.
func transcript(t *testing.T, u *user.User, kubectl []string) {
	t.Helper()
	file := u.Write("short.yaml", short)
	do := func(args ...string) user.Answer {
		t.Helper()
		return u.Do(kubectl[0], append(kubectl[1:len(kubectl):len(kubectl)], args...)...)
	}
	must := func(args ...string) string {
		t.Helper()
		a := do(args...)
		if a.Code != 0 {
			t.Fatalf("kubectl %s: exit code %d\n%s%s", strings.Join(args, " "), a.Code, a.Stdout, a.Stderr)
		}
		return a.Stdout
	}

	contains(t, "apply", must("apply", "-f", file), "benchmark.assay.bench/short created")
	contains(t, "apply --server-side", must("apply", "--server-side", "--force-conflicts", "-f", file), "short serverside-applied")
	contains(t, "explain", must("explain", "benchmark.spec"), "FIELDS:", "services", "clients", "repeats")
	must("wait", "--for=condition=Complete", "bm/short", "--timeout=120s")
	contains(t, "get", must("get", "bm,bsvc,lc,sj", "-A"),
		"benchmark.assay.bench/short", "service.assay.bench/short-sim", "loadclient.assay.bench/short-load", "slurmjob.assay.bench/short-g1")
	contains(t, "describe", must("describe", "bm", "short"), "Events:", "RunStarted", "RunEnded", "Complete", "Succeeded")

	typo := u.Write("typo.yaml", strings.Replace(short, "duration:", "durration:", 1))
	a := do("apply", "-f", typo)
	if a.Code == 0 {
		t.Error("a typo was accepted")
	}
	contains(t, "the refusal", a.Stderr, `unknown field "spec.clients[0].durration"`)

	must("delete", "bm", "short", "--timeout=60s")
	nothingOfOurs(t, must("get", "bm,bsvc,lc,sj,secrets", "-A", "-o", "name"), u)
}

// nothingOfOurs checks that neither objects nor jobs are left.
func nothingOfOurs(t *testing.T, objects string, u *user.User) {
	t.Helper()
	if objects != "" {
		t.Errorf("objects are left behind:\n%s", objects)
	}
	if jobs := u.Must("assay", "jobs").Stdout; strings.Count(jobs, "\n") != 1 {
		t.Errorf("jobs are left behind:\n%s", jobs)
	}
	for _, p := range u.Processes() {
		if strings.Contains(p.Command, "assay-node") {
			t.Errorf("a process of a job is left behind: %d %s", p.PID, p.Command)
		}
	}
}

// up starts a control plane; a second one of this name is refused.
func up(t *testing.T, u *user.User) {
	t.Helper()
	u.Up()
	if again := u.Do("assay", "up"); again.Code != 2 || !strings.Contains(again.Stderr, "is up already") {
		t.Errorf("a second assay up: exit code %d, %s", again.Code, again.Stderr)
	}
}

func TestDrainEndsRunningJobs(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	u.Up()
	running(t, u)
	if refused := u.Do("assay", "down"); refused.Code != 2 || !strings.Contains(refused.Stderr, "--drain") {
		t.Errorf("assay down while a job runs: exit code %d, %s", refused.Code, refused.Stderr)
	}
	drained(t, u)
	u.Must("assay", "down")
}

// running starts a benchmark that lasts.
func running(t *testing.T, u *user.User) {
	t.Helper()
	file := u.Write("long.yaml", strings.Replace(short, "1500ms", "10m", 1))
	u.Must("assay", "kubectl", "apply", "-f", file)
	u.Must("assay", "kubectl", "wait", "--for=condition=ServicesReady", "bm/short", "--timeout=60s")
}

func drained(t *testing.T, u *user.User) {
	t.Helper()
	u.Must("assay", "drain", "--yes", "--timeout", "90s")
	nothingOfOurs(t, u.Must("assay", "kubectl", "get", "bm,bsvc,lc,sj", "-A", "-o", "name").Stdout, u)
}

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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

func TestKubectlDrivesABenchmark(t *testing.T) {
	for name, kubectl := range kubectls(t) {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			up(t, u)
			file := filepath.Join(u.home, "short.yaml")
			if err := os.WriteFile(file, []byte(short), 0o600); err != nil {
				t.Fatal(err)
			}
			k := func(args ...string) answer {
				t.Helper()
				return u.must(kubectl[0], append(kubectl[1:len(kubectl):len(kubectl)], args...)...)
			}

			contains(t, "apply", k("apply", "-f", file).stdout, "benchmark.assay.bench/short created")
			contains(t, "apply --server-side", k("apply", "--server-side", "--force-conflicts", "-f", file).stdout, "short serverside-applied")
			contains(t, "explain", k("explain", "benchmark.spec").stdout, "FIELDS:", "services", "clients", "repeats")
			k("wait", "--for=condition=Complete", "bm/short", "--timeout=120s")
			contains(t, "get", k("get", "bm,bsvc,lc,sj", "-A").stdout,
				"benchmark.assay.bench/short", "service.assay.bench/short-sim", "loadclient.assay.bench/short-load", "slurmjob.assay.bench/short-g1")
			contains(t, "describe", k("describe", "bm", "short").stdout, "Events:", "Complete", "Succeeded")

			typo := filepath.Join(u.home, "typo.yaml")
			if err := os.WriteFile(typo, []byte(strings.Replace(short, "duration:", "durration:", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			a := u.do(kubectl[0], append(kubectl[1:len(kubectl):len(kubectl)], "apply", "-f", typo)...)
			if a.code == 0 {
				t.Error("a typo was accepted")
			}
			contains(t, "the refusal", a.stderr, `unknown field "spec.clients[0].durration"`)

			k("delete", "bm", "short", "--timeout=60s")
			if left := k("get", "bm,bsvc,lc,sj,secrets", "-A", "-o", "name").stdout; left != "" {
				t.Errorf("objects are left behind:\n%s", left)
			}
			u.must("assay", "down")
		})
	}
}

// up starts a control plane and exports its kubeconfig to the user's further commands.
func up(t *testing.T, u *user) {
	t.Helper()
	a := u.must("assay", "up")
	path, found := strings.CutPrefix(strings.TrimSpace(a.stdout), "export KUBECONFIG=")
	if !found {
		t.Fatalf("assay up printed %q", a.stdout)
	}
	u.env = append(u.env, "KUBECONFIG="+path)
	t.Cleanup(func() { u.do("assay", "down", "--drain") })
	if again := u.do("assay", "up"); again.code != 2 || !strings.Contains(again.stderr, "is up already") {
		t.Errorf("a second assay up: exit code %d, %s", again.code, again.stderr)
	}
}

func TestDrainEndsRunningJobs(t *testing.T) {
	u := newUser(t)
	up(t, u)
	file := filepath.Join(u.home, "long.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(short, "1500ms", "10m", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	u.must("assay", "kubectl", "apply", "-f", file)
	u.must("assay", "kubectl", "wait", "--for=condition=ServicesReady", "bm/short", "--timeout=60s")
	if refused := u.do("assay", "down"); refused.code != 2 || !strings.Contains(refused.stderr, "--drain") {
		t.Errorf("assay down while a job runs: exit code %d, %s", refused.code, refused.stderr)
	}
	u.must("assay", "drain", "--timeout", "90s")
	if left := u.must("assay", "kubectl", "get", "bm,bsvc,lc,sj", "-A", "-o", "name").stdout; left != "" {
		t.Errorf("objects are left behind:\n%s", left)
	}
	if jobs := u.must("assay", "jobs").stdout; strings.Count(jobs, "\n") != 1 {
		t.Errorf("jobs are left behind:\n%s", jobs)
	}
	u.must("assay", "down")
}

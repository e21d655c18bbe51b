package controlplane_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestTransitionRules(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	const underWay = `{status: {run: {name: g1, specHash: a, seed: 1, startTime: "2026-01-01T00:00:00Z"}, conditions: [
	  {type: Complete, status: "False", reason: Running, message: "", lastTransitionTime: "2026-01-01T00:00:00Z"}]}}`
	// A refused next run takes the condition back; its spec has to be mended all the same.
	const complete = `{status: {run: {name: g1, specHash: a, seed: 1, startTime: "2026-01-01T00:00:00Z", endTime: "2026-01-01T00:01:00Z"}, conditions: [
	  {type: Complete, status: "False", reason: Progressing, message: "", lastTransitionTime: "2026-01-01T00:00:00Z"}]}}`
	const job = `{site: here, run: {owner: b, name: g1}, components: [{kind: Service, name: s}]}`
	const bare = `{site: here, clients: [{name: c, target: {url: "http://x"}, duration: 1s, closedLoop: {concurrency: 1},
	  inference: {inputTokens: {fixed: 1}, outputTokens: {fixed: 1}}}]}`

	for name, tc := range map[string]struct {
		reason, kind, spec, status, change string
		want                               bool // that the change is refused
	}{
		"job":             {"a job that runs cannot become another", "SlurmJob", job, `{}`, `{spec: {site: there}}`, true},
		"job metadata":    {"labels and finalizers are not the job", "SlurmJob", job, `{}`, `{metadata: {labels: {a: b}}}`, false},
		"not started":     {"nothing depends on the spec yet", "Benchmark", baseBenchmark, `{}`, `{spec: {site: there}}`, false},
		"complete":        {"a change starts the next run", "Benchmark", baseBenchmark, complete, `{spec: {site: there}}`, false},
		"suspend":         {"a run can be held", "Benchmark", baseBenchmark, underWay, `{spec: {suspend: true}}`, false},
		"cleanup":         {"what remains can be decided late", "Benchmark", baseBenchmark, underWay, `{spec: {cleanup: {objects: Keep}}}`, false},
		"metadata":        {"labels are not the experiment", "Benchmark", baseBenchmark, underWay, `{metadata: {labels: {a: b}}}`, false},
		"no services":     {"a benchmark of an endpoint has no services", "Benchmark", bare, underWay, `{spec: {suspend: true}}`, false},
		"remove services": {"services are part of the run", "Benchmark", baseBenchmark, underWay, bareSpec, true},
		"add services":    {"services are part of the run", "Benchmark", bare, underWay, `{spec: {services: [{name: s, llmsim: {}}]}}`, true},
		"site":            {"the run is on a site", "Benchmark", baseBenchmark, underWay, `{spec: {site: there}}`, true},
		"placement":       {"the run has its jobs", "Benchmark", baseBenchmark, underWay, `{spec: {placement: SeparateJobs}}`, true},
		"repeats":         {"the run has its repeats", "Benchmark", baseBenchmark, underWay, `{spec: {repeats: {count: 2}}}`, true},
		"clients":         {"the run has its clients", "Benchmark", bare, underWay, otherClients, true},
		"slos":            {"objectives are not moved while one measures", "Benchmark", bare, underWay, `{spec: {slos: [{client: c, metric: ttft, statistic: p99, atMost: 1s}]}}`, true},
		"run":             {"one run at a time", "Benchmark", baseBenchmark, underWay, `{spec: {run: 1}}`, true},
		"idleTimeout":     {"the plan holds it", "Benchmark", baseBenchmark, underWay, `{spec: {idleTimeout: 1m}}`, true},
		"timeout":         {"the plan holds it", "Benchmark", baseBenchmark, underWay, `{spec: {timeout: 1m}}`, true},
		"barrierLead":     {"the plan holds it", "Benchmark", baseBenchmark, underWay, `{spec: {barrierLead: 3s}}`, true},
		"seed":            {"the plan holds it", "Benchmark", baseBenchmark, underWay, `{spec: {seed: 7}}`, true},
	} {
		t.Run(tc.kind+"/"+name, func(t *testing.T) {
			u := object(tc.kind, map[string]any{"spec": parse(t, tc.spec)})
			u.SetName("")
			u.SetGenerateName("t-")
			if err := c.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Delete(t.Context(), u) })
			setStatus(t, c, u, parse(t, tc.status))
			u.Object = merge(u.Object, parse(t, tc.change))
			err := c.Update(t.Context(), u, client.DryRunAll)
			if !tc.want {
				if err != nil {
					t.Errorf("%s, but the change is refused: %v", tc.reason, err)
				}
				return
			}
			want := map[string]string{"spec": transitionRules[tc.kind]}
			if diff := cmp.Diff(want, refusal(t, err)); diff != "" {
				t.Errorf("%s; refusal (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

const (
	bareSpec = `{spec: {services: null, clients: [{name: c, target: {url: "http://x"}, duration: 1s, closedLoop: {concurrency: 1},
	  inference: {inputTokens: {fixed: 1}, outputTokens: {fixed: 1}}}]}}`
	otherClients = `{spec: {clients: [{name: c, target: {url: "http://x"}, duration: 2s, closedLoop: {concurrency: 1},
	  inference: {inputTokens: {fixed: 1}, outputTokens: {fixed: 1}}}]}}`
)

func setStatus(t *testing.T, c client.Client, u *unstructured.Unstructured, status map[string]any) {
	t.Helper()
	if len(status) == 0 {
		return
	}
	u.Object = merge(u.Object, status)
	if err := c.Status().Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

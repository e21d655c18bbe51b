//go:build e2e

package e2e

import (
	"testing"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// flood keeps 64 requests in flight at a simulator that hardly waits: the client makes as many as it can.
const flood = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: flood}
spec:
  site: local
  services:
  - {name: sim, llmsim: {ttft: {mean: 100us}, itl: {mean: 10us}}}
  clients:
  - name: loadgen
    target: {service: sim}
    inference: {inputTokens: {fixed: 32}, outputTokens: {fixed: 32}}
    closedLoop: {concurrency: 64}
    warmup: 500ms
    duration: 3s
`

// asksLittle checks, in two ways, that the quickstart asks for at most a tenth of what the client can do.
//
// By throughput: a flood of the same requests, on the same cores, which client and server share, so that the client
// could do more. It is too kind, though, in that tokens which come close together are read together.
//
// By processor time: what the client used of the time of its cores in the quickstart itself, where tokens come one by
// one. The time that it takes for a token does not depend on what else the machine does.
func asksLittle(t *testing.T, u *user.User, quickstart results.Result) {
	t.Helper()
	const share = 0.10
	a := u.Do("assay", "run", u.Write("flood.yaml", flood), "--output", u.Path("flood"))
	if a.Code != 0 && a.Code != 4 { // a client at its limit is what we want to see
		t.Fatalf("exit code %d, want 0 or 4\n%s%s", a.Code, a.Stdout, a.Stderr)
	}
	asked, can := tokenRate(t, quickstart), tokenRate(t, u.Result(u.Path("flood")))
	t.Logf("output tokens/s: the quickstart asks for %.0f, the client can do %.0f or more: %.1f %%", asked, can, 100*asked/can)
	if asked > share*can {
		t.Errorf("the quickstart asks for %.0f output tokens/s, more than %.0f %% of the client's %.0f", asked, 100*share, can)
	}
	for _, p := range quickstart.Clients[0].Repeats {
		for _, audit := range p.Audits {
			t.Logf("repeat %d: the client used %.1f %% of %d cores", p.Repeat, 100*audit.CPURatio, audit.GOMAXPROCS)
			if audit.CPURatio <= 0 || audit.CPURatio > share {
				t.Errorf("repeat %d: the client used %.1f %% of its cores, want more than 0 and at most %.0f %%", p.Repeat,
					100*audit.CPURatio, 100*share)
			}
		}
	}
}

func tokenRate(t *testing.T, r results.Result) float64 {
	t.Helper()
	if v := results.Find(r.Clients[0].Values, "output_token_throughput", "value"); v != nil && v.Value != nil {
		return *v.Value
	}
	t.Fatal("the result has no output_token_throughput")
	return 0
}

// With all cores kept busy the quickstart passes, or exits with 4 and says why.
func TestQuickstartOnBusyCores(t *testing.T) {
	u := user.New(t)
	all := user.Cores(t)
	user.KeepBusy(t, len(all), all)
	r := quickstart(t, u, "--time-scale", "0.4")
	u.Whole(r, 6)
}

// A client that has to share its one core with eight busy loops is not sound: the LoadClient says so, and so do the
// summary and the exit code.
func TestABusyCoreLimitsTheClient(t *testing.T) {
	u := user.New(t)
	u.Up()
	all := user.Cores(t)
	user.KeepBusy(t, 8, all[:1])
	path := u.Write("limited.yaml", edited(t, "quickstart.yaml", "name: quickstart", "name: limited", "count: 6 ", "count: 1 ", "duration: 6s", "duration: 3s"))
	run := u.Start("assay", "run", path, "--context", "default", "--output", u.Path("out"))
	user.Pin(t, u.Await("limited", "loadgen", func(s rundir.Status) bool { return s.PID > 0 }).PID, all[:1])
	// assay run deletes the objects at its end, so the condition is awaited while it runs.
	watch := u.Start("assay", "kubectl", "wait", "--for=condition=Sound=False", "lc/limited-loadgen", "--timeout=120s")

	a := run.Wait()
	t.Logf("exit code %d\n%s", a.Code, a.Stdout)
	if a.Code != 4 {
		t.Errorf("exit code %d, want 4\n%s", a.Code, a.Stderr)
	}
	contains(t, "the summary", a.Stdout, "the client limited the result", "threads waited", "above 5.0 %")
	if w := watch.Wait(); w.Code != 0 {
		t.Errorf("the LoadClient's condition Sound did not become False: %s%s", w.Stdout, w.Stderr)
	}
	r := u.Result(u.Path("out"))
	if r.Outcome != results.MeasurementInvalid || r.Clients[0].Sound || len(r.Clients[0].Limits) == 0 {
		t.Errorf("outcome %s, sound %t, limits %q: want MeasurementInvalid with limits", r.Outcome, r.Clients[0].Sound, r.Clients[0].Limits)
	}
	u.Must("assay", "down")
}

package benchmark

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// now is the test's clock: ten minutes after the run started.
var now = time.Date(2026, 11, 23, 12, 10, 0, 0, time.UTC)

const runDirectory = "/work/o/ns/bm/g1"

// benchmark is a Benchmark as the API server would hand it out: a service, a client, an SLO and two repeats.
func benchmark(change ...func(*v1alpha1.Benchmark)) *v1alpha1.Benchmark {
	bm := &v1alpha1.Benchmark{
		ObjectMeta: metav1.ObjectMeta{Name: "bm", Namespace: "ns", UID: "uid-bm", Generation: 1, Finalizers: []string{v1alpha1.FinalizerChildren}},
		Spec: v1alpha1.BenchmarkSpec{
			Site: "here", Placement: v1alpha1.SharedJob, IdleTimeout: "15m",
			Services: []v1alpha1.BenchmarkService{{Name: "sim", ServiceParameters: v1alpha1.ServiceParameters{
				LLMSim: &v1alpha1.LLMSimEngine{
					Model: "m", MaxNumSeqs: 8, MaxModelLen: 4096,
					TTFT: v1alpha1.Latency{Mean: "30ms"}, ITL: v1alpha1.Latency{Mean: "4ms"},
				},
			}}},
			Clients: []v1alpha1.BenchmarkClient{{Name: "load", ClientParameters: v1alpha1.ClientParameters{
				Target:     v1alpha1.Target{Service: "sim"},
				Inference:  &v1alpha1.InferenceWorkload{InputTokens: v1alpha1.Tokens{Fixed: 8}, OutputTokens: v1alpha1.Tokens{Fixed: 8}},
				ClosedLoop: &v1alpha1.ClosedLoop{Concurrency: 2},
				Instances:  1, Warmup: "5s", Duration: "25s",
			}}},
			SLOs:    []v1alpha1.SLO{{Client: "load", Metric: "ttft", Statistic: "p90", AtMost: "100ms"}},
			Repeats: v1alpha1.Repeats{Count: 2, Restart: v1alpha1.RestartProcess},
			Cleanup: v1alpha1.Cleanup{Services: "Stop", Objects: "Delete"},
			Seed:    7,
		},
	}
	for _, c := range change {
		c(bm)
	}
	return bm
}

// underRun is a Benchmark whose run g1 is stored.
func underRun(change ...func(*v1alpha1.Benchmark)) *v1alpha1.Benchmark {
	bm := benchmark(change...)
	bm.Status.Run = &v1alpha1.RunStatus{
		Name: "g1", SpecHash: specHash(bm), Seed: 7, StartTime: metav1.NewTime(now.Add(-10 * time.Minute)), Directory: runDirectory,
	}
	return bm
}

// ended is a Benchmark whose run g1 has ended.
func ended(status metav1.ConditionStatus, outcome string, change ...func(*v1alpha1.Benchmark)) *v1alpha1.Benchmark {
	bm := underRun()
	bm.Status.Run.EndTime = &metav1.Time{Time: now.Add(-time.Minute)}
	c := reconcile.Conditions{List: &bm.Status.Conditions, Generation: 1, Now: now}
	c.Ended(status, outcome, "words")
	for _, f := range change {
		f(bm)
	}
	return bm
}

// openSite is a world in which a run can start.
func openSite(change ...func(*World)) World {
	w := World{
		Site: &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", Namespace: "ns"}}, Version: "v1",
		Start: &Start{Run: "g1", Directory: runDirectory, Seed: 99},
	}
	for _, c := range change {
		c(&w)
	}
	return w
}

// world is a world with every child of the run of bm.
func world(bm *v1alpha1.Benchmark, change ...func(*World)) World {
	w := openSite()
	w.Start = nil
	w.Services, w.Clients, w.Jobs = map[string]*v1alpha1.Service{}, map[string]*v1alpha1.LoadClient{}, map[string]*v1alpha1.SlurmJob{}
	for _, s := range services(bm, bm.Status.Run) {
		w.Services[s.Name] = s
	}
	for _, c := range clients(bm, bm.Status.Run) {
		w.Clients[c.Name] = c
	}
	for _, j := range waves(bm, bm.Status.Run)[0] {
		addJob(bm, &w, j)
	}
	for _, c := range change {
		c(&w)
	}
	return w
}

func addJob(bm *v1alpha1.Benchmark, w *World, j *v1alpha1.SlurmJob) {
	j.UID = types.UID("uid-" + j.Name)
	w.Jobs[j.Name] = j
	if !slices.Contains(bm.Status.Run.Jobs, j.Name) {
		bm.Status.Run.Jobs = append(bm.Status.Run.Jobs, j.Name)
	}
}

// Changes of a job.

type jobChange func(*v1alpha1.SlurmJob)

func job(name string, changes ...jobChange) func(*World) {
	return func(w *World) {
		for _, c := range changes {
			c(w.Jobs[name])
		}
	}
}

func gone(name string) func(*World) { return func(w *World) { delete(w.Jobs, name) } }

func inPhase(phase string) jobChange {
	return func(j *v1alpha1.SlurmJob) { j.Status.Phase = phase }
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) jobChange {
	return func(j *v1alpha1.SlurmJob) {
		reconcile.Conditions{List: &j.Status.Conditions, Generation: 1, Now: now}.Set(kind, status, reason, message)
	}
}

func complete(status metav1.ConditionStatus, reason, message string) jobChange {
	return func(j *v1alpha1.SlurmJob) {
		j.Status.Phase = "Ended"
		reconcile.Conditions{List: &j.Status.Conditions, Generation: 1, Now: now}.Ended(status, reason, message)
	}
}

func beingDeleted(j *v1alpha1.SlurmJob) { j.DeletionTimestamp = &metav1.Time{Time: now} }

func says(kind, name string, change func(*v1alpha1.ComponentStatus)) jobChange {
	return func(j *v1alpha1.SlurmJob) {
		for i := range j.Status.Components {
			if c := &j.Status.Components[i]; c.Kind == kind && c.Name == name {
				change(c)
				return
			}
		}
		c := v1alpha1.ComponentStatus{Kind: kind, Name: name, Ranks: 1}
		change(&c)
		j.Status.Components = append(j.Status.Components, c)
	}
}

func serviceSays(phase string, ready bool) jobChange {
	return says("Service", "bm-sim", func(c *v1alpha1.ComponentStatus) { c.Phase, c.Ready = phase, ready })
}

func clientSays(phase string, done int32) jobChange {
	return says("LoadClient", "bm-load", func(c *v1alpha1.ComponentStatus) { c.Phase, c.RepeatsDone = phase, done })
}

func exits(kind, name, reason, message string) jobChange {
	return says(kind, name, func(c *v1alpha1.ComponentStatus) {
		c.Ready, c.Exit = false, &v1alpha1.ComponentExit{Reason: reason, Message: message}
	})
}

// Evidence.

// measured is what one rank wrote in one repeat: n requests with the same TTFT.
func measured(t testing.TB, repeat, n int, ttft time.Duration) results.Rank {
	t.Helper()
	h := hdrhistogram.New(1, int64(time.Hour), 3)
	for range n {
		if err := h.RecordValue(int64(ttft)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	count := results.Counts{Offered: int64(n), Sent: int64(n), Succeeded: int64(n), Attempts: int64(n), Completed: int64(n)}
	return results.Rank{
		Version: results.RankVersion, Client: "load", Ranks: 1, Repeat: repeat, Workload: "inference", Mode: "closed", Concurrency: 2,
		Warmup: int64(5 * time.Second), Window: int64(25 * time.Second), Measured: count, All: count,
		Operations: []results.Operation{{Succeeded: int64(n)}},
		Totals:     []results.Total{{Name: "output_tokens", All: int64(8 * n), Window: int64(8 * n)}},
		Metrics: []results.Metric{{
			Name: "ttft", Unit: "ns", Count: int64(n), Sum: int64(n) * int64(ttft), Min: int64(ttft), Max: int64(ttft), Histogram: string(b),
		}},
		Audit: results.Audit{Sound: true},
	}
}

// evidence is a whole run of both repeats, changed.
func evidence(t testing.TB, ttft time.Duration, change ...func(*JobEvidence)) *Evidence {
	e := JobEvidence{
		Name: "bm-g1",
		Plan: &rundir.Plan{
			Services: []rundir.Service{{Name: "sim", Engine: "llmsim", Ranks: 1, CrossChecks: []rundir.CrossCheck{
				{Target: "sim", Metric: "vllm:generation_tokens_total", Total: "output_tokens"},
			}}},
			Clients: []rundir.Client{{Name: "load", Ranks: 1, Target: rundir.Target{Service: "sim"}}},
			Repeats: rundir.Repeats{First: 1, Count: 2},
		},
		Exit: &rundir.Exit{Version: 1, Reason: rundir.ExitReasonEnded, Time: now.Add(-time.Minute)},
		Ranks: []RankEvidence{
			{Component: "sim", Status: &rundir.Status{Host: "n1", Endpoint: &rundir.Endpoint{Host: "127.0.0.1", Port: 8000}}, Exit: exit(rundir.ExitReasonEnded, "")},
			{Component: "load", Status: &rundir.Status{Host: "n1"}, Exit: exit(rundir.ExitReasonEnded, "")},
		},
	}
	for k := 1; k <= 2; k++ {
		e.Results = append(e.Results, measured(t, k, 1000, ttft))
		e.Counters = append(e.Counters, rundir.Counters{Service: "sim", Repeat: k, Targets: []rundir.CounterTarget{{
			Name: "sim", Due: 30, Good: 30, FirstGood: true, LastGood: true,
			Series: []rundir.CounterSeries{{Name: "vllm:generation_tokens_total", Last: 8000, Increase: 8000}},
		}}})
	}
	for _, c := range change {
		c(&e)
	}
	return &Evidence{Jobs: []JobEvidence{e}}
}

func exit(reason, message string) *rundir.Exit {
	return &rundir.Exit{Version: 1, Reason: reason, Message: message, Time: now.Add(-2 * time.Minute)}
}

func found(e *Evidence) func(*World) { return func(w *World) { w.Evidence = e } }

// written says that result.json is what this very decision would write.
func written(bm *v1alpha1.Benchmark, w World) World {
	d := (&Kind{}).Decide(bm.DeepCopy(), w, now)
	w.Written = d.Status.Run.ResultHash
	return w
}

// Sights: a decision in few words.

type sight struct {
	Phase, Step, Progress string
	Conditions            []string
	Do                    []string
	After                 time.Duration
	Release               bool
}

func summary(d Decision) sight {
	step, _, _ := strings.Cut(d.Status.Step, "; load") // more words of the result
	out := sight{Phase: d.Status.Phase, Step: step, Progress: d.Status.Progress, After: d.After, Release: d.Release}
	for _, c := range d.Status.Conditions {
		out.Conditions = append(out.Conditions, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	for _, e := range d.Do {
		out.Do = append(out.Do, effect(e))
	}
	return out
}

func effect(e reconcile.Effect) string {
	switch e := e.(type) {
	case Create:
		return fmt.Sprintf("create %s %s", strings.TrimPrefix(fmt.Sprintf("%T", e.Object), "*v1alpha1."), e.Object.GetName())
	case reconcile.Delete:
		return "delete " + e.Kind + " " + e.Name + " " + string(e.UID)
	case reconcile.Abandon:
		return "abandon " + e.Name
	case reconcile.CreateCredential:
		return "credential " + e.Name
	case WriteRecord:
		return "record " + e.Path + " " + e.Record.Run
	case WriteResult:
		return "result " + e.Path
	}
	return fmt.Sprintf("%T", e)
}

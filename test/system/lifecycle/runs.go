package lifecycle

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"assay.bench/api/v1alpha1"
	"assay.bench/test/harness"
)

func passes(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm := harness.Benchmark("bm")
	harness.Repeat(bm, 3, v1alpha1.RestartProcess)
	w.Create(bm)
	w.Whole(bm)
	w.UntilCondition(bm, v1alpha1.ConditionSucceeded, "True Passed")
	w.ExactlyOnce(1)
	if len(bm.Status.Results) == 0 || bm.Status.SLO != "1/1" {
		t.Errorf("results %v, SLOs %s", bm.Status.Results, bm.Status.SLO)
	}
	deleteAndLookAround(w, bm)
}

func violates(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm := harness.Benchmark("bm")
	bm.Spec.SLOs[0].AtMost = "1us"
	w.Create(bm)
	w.UntilCondition(bm, v1alpha1.ConditionComplete, "True")
	w.UntilCondition(bm, v1alpha1.ConditionSucceeded, "False SLOViolated")
	w.UntilCondition(bm, v1alpha1.ConditionStalled, "True SLOViolated")
	w.ExactlyOnce(1)
}

func neverReady(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	w.Cluster.FailComponent("server", "ReadinessTimeout")
	bm := harness.Benchmark("bm")
	w.Create(bm)
	w.UntilCondition(bm, v1alpha1.ConditionComplete, "True")
	w.UntilCondition(bm, v1alpha1.ConditionSucceeded, "False Failed")
	w.ExactlyOnce(1)
	deleteAndLookAround(w, bm)
}

func suspended(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm := harness.Benchmark("bm")
	bm.Spec.Suspend = true
	w.Create(bm)
	w.UntilCondition(bm, v1alpha1.ConditionReady, "False Suspended")
	if c := harness.ConditionOf(bm, v1alpha1.ConditionReconciling); c != nil || bm.Status.Run != nil {
		t.Errorf("a suspended Benchmark has the condition %v and the run %v", c, bm.Status.Run)
	}
	if jobs := w.Jobs(); len(jobs) > 0 {
		t.Errorf("a suspended Benchmark made %v", jobs)
	}
	if err := w.Change(bm, func() { bm.Spec.Suspend = false }); err != nil {
		t.Fatal(err)
	}
	w.Whole(bm)
	w.ExactlyOnce(1)
}

func suspendedUnderWay(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, _ := underLoad(w, "bm")
	if err := w.Change(bm, func() { bm.Spec.Suspend, bm.Spec.Run = true, 0 }); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(overEndless)
	w.Whole(bm)
	w.ExactlyOnce(1)
}

func fixedUnderWay(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, _ := underLoad(w, "bm")
	seven := int32(7)
	for what, edit := range map[string]func(){
		"retries":  func() { bm.Spec.Retries.Site = &seven },
		"clients":  func() { bm.Spec.Clients[0].Duration = "2s" },
		"services": func() { bm.Spec.Services[0].LLMSim.TTFT.Mean = "31ms" },
		"repeats":  func() { bm.Spec.Repeats.Count = 7 },
		"run":      func() { bm.Spec.Run = 1 },
		"seed":     func() { bm.Spec.Seed = 4711 },
	} {
		if err := w.Change(bm, edit); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "a run is under way") {
			t.Errorf("a change of %s was answered with: %v", what, err)
		}
	}
	if err := w.Change(bm, func() { bm.Spec.Cleanup.Objects = "Keep" }); err != nil {
		t.Errorf("a change of cleanup was refused: %v", err)
	}
	w.Clock.Advance(overEndless)
	w.Whole(bm)
	if bm.Status.Run.Name != "g1" {
		t.Errorf("the run is %s: a change of cleanup must not start another", bm.Status.Run.Name)
	}
	if err := w.Change(bm, func() { bm.Spec.Clients[0].Duration = "10s" }); err != nil {
		t.Fatalf("a change after the run was refused: %v", err)
	}
	w.Whole(bm)
	nextRun(t, w, bm)
	deleteAndLookAround(w, bm)
}

func raisedRun(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm := harness.Benchmark("bm")
	w.Create(bm)
	first := w.Whole(bm)
	if err := w.Change(bm, func() { bm.Spec.Run = 1 }); err != nil {
		t.Fatal(err)
	}
	second := w.Whole(bm)
	if first.Run == second.Run || first.Directory == second.Directory || first.Jobs[0].ID == second.Jobs[0].ID {
		t.Errorf("the second run has the name, folder or job of the first: %s %s %v", second.Run, second.Directory, second.Jobs)
	}
	nextRun(t, w, bm)
}

// nextRun checks that a benchmark made two runs, each with a job of its own, and kept only the objects of the second.
func nextRun(t *testing.T, w *harness.World, bm *v1alpha1.Benchmark) {
	w.ExactlyOnce(2)
	if len(bm.Status.Runs) != 2 {
		t.Errorf("runs that ended: %v, want two", bm.Status.Runs)
	}
	if jobs := w.Jobs(); len(jobs) != 1 || jobs[0].Labels[v1alpha1.LabelRun] != bm.Status.Run.Name {
		t.Errorf("%d SlurmJobs exist, want that of run %s alone", len(jobs), bm.Status.Run.Name)
	}
}

func separateJobs(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm := harness.Benchmark("bm")
	bm.Spec.Placement = v1alpha1.SeparateJobs
	harness.Repeat(bm, 2, v1alpha1.RestartJob)
	w.Create(bm)
	w.Whole(bm)
	w.ExactlyOnce(4)
	deleteAndLookAround(w, bm)
}

func jobPerRepeat(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm := harness.Benchmark("bm")
	harness.Repeat(bm, 3, v1alpha1.RestartJob)
	w.Create(bm)
	w.Whole(bm)
	w.ExactlyOnce(3)
	deleteAndLookAround(w, bm)
}

func timesOut(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{Speed: 0.05}) // a server takes half a minute to start
	bm := harness.Benchmark("bm")
	bm.Spec.Clients[0].Warmup, bm.Spec.Clients[0].Duration = "", "1s"
	bm.Spec.Timeout = "2s"
	w.Create(bm)
	w.UntilCondition(bm, v1alpha1.ConditionComplete, "True")
	w.UntilCondition(bm, v1alpha1.ConditionSucceeded, "False TimedOut")
	if left := w.Alive(); len(left) > 0 {
		t.Errorf("the run timed out and jobs are left: %v", left)
	}
	w.NeverTwice()
}

func reachesTimeLimit(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{Speed: 0.05})
	bm := harness.Benchmark("bm")
	bm.Spec.Services[0].Readiness.Timeout, bm.Spec.Services[0].StopTimeout = "1s", "1s"
	bm.Spec.Services[0].Resources.TimeLimit = "5s"
	bm.Spec.Clients[0].Warmup, bm.Spec.Clients[0].Duration = "", "1s"
	bm.Spec.Clients[0].Timeouts.Total = "1s"
	w.Create(bm)
	w.UntilCondition(bm, v1alpha1.ConditionComplete, "True")
	w.UntilCondition(bm, v1alpha1.ConditionSucceeded, "False TimedOut")
	w.ExactlyOnce(1)
}

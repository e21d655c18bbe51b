package lifecycle

import (
	"fmt"
	"testing"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/test/harness"
)

// keyOf is the name of an attempt's job.
func keyOf(a v1alpha1.Attempt) slurmbridge.Key { return slurmbridge.Key(a.Key) }

func unless(ok bool, words string) string {
	if ok {
		return ""
	}
	return "it is " + words
}

func deadDuringRun(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	dead(w, harness.Benchmark("bm"), 1, func() {})
}

func deadDuringSeparateRun(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	bm := harness.Benchmark("bm")
	bm.Spec.Placement = v1alpha1.SeparateJobs
	harness.Repeat(bm, 3, v1alpha1.RestartProcess)
	dead(w, bm, 2, func() {})
}

func deadUntilForgotten(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	dead(w, harness.Benchmark("bm"), 1, w.Cluster.Purge)
}

// dead ends the controllers once every job of a benchmark runs, before any of its components has done anything; lets the
// nodes make the whole run alone; and starts the controllers again after more has happened. They complete the benchmark
// and submit nothing.
func dead(w *harness.World, bm *v1alpha1.Benchmark, jobs int, more func()) {
	w.Clock.Hold()
	w.Site()
	w.Start()
	w.Create(bm)
	w.Until("jobs on their nodes", func() string {
		running := 0
		for _, j := range w.Alive() {
			if j.Phase == slurmbridge.Running {
				running++
			}
		}
		return unless(running == jobs, fmt.Sprintf("%d of %d", running, jobs))
	})
	w.Stop()
	w.Clock.Advance(10 * time.Minute)
	w.Until("the end of the jobs", func() string { return unless(len(w.Alive()) == 0, "too early") })
	w.ExactlyOnce(jobs)
	more()
	w.Start()
	w.Whole(bm)
	w.ExactlyOnce(jobs)
	deleteAndLookAround(w, bm)
}

func keptWithoutController(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm := harness.Benchmark("bm")
	bm.Spec.Cleanup.Services = "Keep"
	bm.Spec.IdleTimeout = "20m"
	w.Create(bm)
	w.Whole(bm)
	w.Clock.Hold()
	if left := w.Alive(); len(left) != 1 {
		t.Fatalf("left in the cluster: %v, want the job that keeps the server", left)
	}
	w.Stop()
	w.Clock.Advance(19 * time.Minute)
	if left := w.Alive(); len(left) != 1 {
		t.Errorf("the server ended before its idleTimeout; left: %v", left)
	}
	w.Clock.Advance(2 * time.Minute)
	if left := w.Alive(); len(left) != 0 {
		t.Errorf("the server outlived its idleTimeout: %v", left)
	}
	w.Start()
	server := &v1alpha1.Service{}
	server.Name = "bm-server"
	w.UntilCondition(server, v1alpha1.ConditionReady, "True Ended")
	w.UntilCondition(bm, v1alpha1.ConditionComplete, "True Passed")
	w.ExactlyOnce(1)
	w.Clock.Go()
	deleteAndLookAround(w, bm)
}

func standalone(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	server := ownService()
	w.Create(server)
	load := ownLoad()
	w.Create(load)
	w.UntilCondition(server, v1alpha1.ConditionReady, "True ProbesPassed")
	w.UntilCondition(load, v1alpha1.ConditionComplete, "True Passed")
	if len(load.Status.Results) == 0 {
		t.Error("the LoadClient has no results")
	}
	w.ExactlyOnce(2)
	w.Delete(load)
	w.UntilGone(load)
	if left := w.Alive(); len(left) != 1 {
		t.Errorf("left in the cluster: %v, want the job of the Service", left)
	}
	w.Delete(server)
	w.UntilEmpty()
	w.ExactlyOnce(2)
}

func targetMissing(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	load := ownLoad()
	w.Create(load)
	w.UntilCondition(load, v1alpha1.ConditionStalled, "True TargetMissing")
	server := ownService()
	w.Create(server)
	w.UntilCondition(load, v1alpha1.ConditionComplete, "True Passed")
	w.ExactlyOnce(2)
	w.Delete(load)
	w.Delete(server)
	w.UntilEmpty()
}

// ownService and ownLoad belong to no Benchmark.
func ownService() *v1alpha1.Service {
	s := &v1alpha1.Service{Spec: v1alpha1.ServiceSpec{ServiceParameters: harness.Server(), Site: harness.SiteName}}
	s.Name = "server"
	return s
}

func ownLoad() *v1alpha1.LoadClient {
	c := &v1alpha1.LoadClient{Spec: v1alpha1.LoadClientSpec{ClientParameters: harness.Load("server"), Site: harness.SiteName}}
	c.Name = "load"
	return c
}

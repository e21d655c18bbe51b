package lifecycle

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/test/harness"
)

// jobLimit: no more than two of five are with the batch system at any time, also over a restart, and all get their turn in
// the order of their creation.
func jobLimit(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	site := w.Site()
	limit(t, w, site, v1alpha1.SiteLimits{Jobs: 2})
	w.Start()
	names := []string{"e", "d", "c", "b", "a"}
	for _, name := range names {
		bm := harness.Benchmark(name)
		bm.Spec.Clients[0].Duration = endless
		w.Create(bm)
		// An object's creation is known to the second, and of one second the names decide.
		w.Until("the SlurmJob of "+name+", and the next second", func() string {
			job := jobOf(w, name)
			return unless(job != nil && time.Since(job.CreationTimestamp.Time) > time.Second, "not there")
		})
	}
	for turn := range names {
		want := slices.Sorted(slices.Values(names[turn:min(turn+2, len(names))]))
		w.Until(fmt.Sprintf("the turn of %v", want), func() string {
			running := namesOf(w)
			if len(running) > 2 {
				t.Fatalf("%v are with the batch system", running)
			}
			return unless(slices.Equal(running, want), fmt.Sprint(running))
		})
		if turn == 1 {
			w.Stop()
			w.Start()
		}
		if next := turn + 2; next < len(names) {
			waiting := jobOf(w, names[next])
			w.UntilCondition(waiting, v1alpha1.ConditionReady, "False SiteBusy")
			if c := harness.ConditionOf(waiting, v1alpha1.ConditionReady); c.Message != "waits for its turn at site cluster: 2 of 2 jobs" {
				t.Errorf("it says %q", c.Message)
			}
		}
		over := harness.Benchmark(names[turn])
		over.Namespace = w.Namespace
		w.Delete(over)
	}
	w.UntilEmpty()
	for key, n := range w.Cluster.Counts().Submits {
		if n != 1 {
			t.Errorf("%s was submitted %d times", key, n)
		}
	}
}

// limit changes the limits of a site.
func limit(t *testing.T, w *harness.World, site *v1alpha1.Site, l v1alpha1.SiteLimits) {
	t.Helper()
	if err := w.Change(site, func() { site.Spec.Limits = l }); err != nil {
		t.Fatal(err)
	}
}

// jobOf is the SlurmJob of a benchmark, or nil.
func jobOf(w *harness.World, benchmark string) *v1alpha1.SlurmJob {
	for _, job := range w.Jobs() {
		if job.Labels[v1alpha1.LabelBenchmark] == benchmark {
			return &job
		}
	}
	return nil
}

// namesOf are the benchmarks whose jobs the batch system has.
func namesOf(w *harness.World) (out []string) {
	alive := w.Alive()
	for _, job := range w.Jobs() {
		if slices.ContainsFunc(alive, func(j slurmbridge.Job) bool {
			return slices.ContainsFunc(job.Status.Attempts, func(a v1alpha1.Attempt) bool { return keyOf(a) == j.Key })
		}) {
			out = append(out, job.Labels[v1alpha1.LabelBenchmark])
		}
	}
	slices.Sort(out)
	return out
}

// gpuBudget: what was used stays used when its objects are deleted and the controllers are new, and a raised limit lets go
// on who did not fit.
func gpuBudget(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	w.Clock.Hold()
	site := w.Site()
	limit(t, w, site, v1alpha1.SiteLimits{GPUHours: "8"})
	w.Start()
	benchmark := func(name string) *v1alpha1.Benchmark {
		bm := harness.Benchmark(name)
		bm.Spec.Clients[0].Duration = "10m"                                                 // some seconds at the speed of a World
		bm.Spec.Services[0].Resources = v1alpha1.Resources{GPUsPerNode: 4, TimeLimit: "1h"} // on both nodes of the job
		return bm
	}
	first, second := benchmark("first"), benchmark("second")
	w.Create(first)
	w.Until("the first on its nodes", func() string { return unless(slices.Equal(namesOf(w), []string{"first"}), "not there") })
	w.Create(second)
	w.Until("the second's SlurmJob", func() string { return unless(jobOf(w, "second") != nil, "not there") })
	waiting := jobOf(w, "second")
	w.UntilCondition(waiting, v1alpha1.ConditionReady, "False SiteBusy")
	w.Clock.Advance(time.Minute)
	w.Clock.Go()
	w.Whole(first)
	used := usedBy(jobOf(w, "first"))
	if used == 0 {
		t.Fatal("it used nothing, which leaves the second enough")
	}
	w.UntilCondition(waiting, v1alpha1.ConditionStalled, "True BudgetExceeded")
	w.UntilCondition(second, v1alpha1.ConditionStalled, "True BudgetExceeded")
	w.Delete(first)
	w.UntilGone(first)
	w.Stop()
	w.Start()
	w.Until("the Site's own count", func() string {
		w.Get(site, site.Name)
		return unless(site.Status.GPUSecondsUsed == used && len(site.Status.Charged) == 0,
			fmt.Sprintf("%d, %v charged; want %d", site.Status.GPUSecondsUsed, site.Status.Charged, used))
	})
	w.UntilCondition(waiting, v1alpha1.ConditionStalled, "True BudgetExceeded")
	limit(t, w, site, v1alpha1.SiteLimits{GPUHours: "100"})
	w.Whole(second)
	w.ExactlyOnce(2)
	deleteAndLookAround(w, second)
}

// usedBy are the GPU-seconds of a job that has ended.
func usedBy(job *v1alpha1.SlurmJob) (used int64) {
	for _, a := range job.Status.Attempts {
		used += int64(a.GPUs) * int64(a.EndTime.Sub(a.StartTime.Time).Seconds())
	}
	return used
}

// otherNamespace: a benchmark finds no Site but that of its own namespace, though the controllers see both.
func otherNamespace(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	other := w.AnotherNamespace()
	site := &v1alpha1.Site{}
	site.Namespace, site.Name = other, harness.SiteName
	site.Spec.WorkDir = "/work"
	site.Spec.Jobs.Sim = &v1alpha1.SimDoor{Nodes: 4}
	there := harness.Benchmark("there")
	there.Namespace = other
	for _, o := range []client.Object{site, there} {
		if err := w.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.Start()
	w.Until("the run beside the Site", func() string {
		if err := w.Client.Get(t.Context(), client.ObjectKeyFromObject(there), there); err != nil {
			t.Fatal(err)
		}
		return unless(there.Status.Run != nil, "not begun")
	})
	here := harness.Benchmark("here")
	w.Create(here)
	w.UntilCondition(here, v1alpha1.ConditionStalled, "True SiteMissing")
	// No name reaches out of a namespace either.
	for _, name := range []string{other + "/" + harness.SiteName, "../" + other + "/" + harness.SiteName, other + "." + harness.SiteName} {
		far := harness.Benchmark("far")
		far.Namespace, far.Spec.Site = w.Namespace, v1alpha1.Name(name)
		if err := w.Client.Create(t.Context(), far); err == nil {
			t.Errorf("a Benchmark with the site %q was taken", name)
		}
	}
	var secrets corev1.SecretList
	if err := w.Client.List(t.Context(), &secrets, client.InNamespace(w.Namespace)); err != nil || len(secrets.Items) > 0 {
		t.Errorf("a run that never began has the Secrets %v, %v", secrets.Items, err)
	}
}

// Package lifecycle is what must hold of the controllers on every API server: from the first apply to the last trace of
// a deletion. Each status that is stored on the way is read by kstatus as well.
package lifecycle

import (
	"testing"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/test/harness"
)

// Run runs the whole suite against an API server.
func Run(t *testing.T, p *harness.Plane) {
	for _, one := range []struct {
		name string
		test func(*testing.T, *harness.Plane)
	}{
		{"a run passes and its deletion leaves nothing", passes},
		{"an SLO that does not hold", violates},
		{"a server that never gets ready", neverReady},
		{"suspend keeps a run from starting", suspended},
		{"suspend leaves a run under way alone", suspendedUnderWay},
		{"a spec is fixed while its run is under way", fixedUnderWay},
		{"a raised spec.run starts the next run", raisedRun},
		{"a job for each component and repeat", separateJobs},
		{"a job for each repeat", jobPerRepeat},
		{"a deletion in the queue", deletedInQueue},
		{"a deletion while servers start", deletedWhileStarting},
		{"a deletion under load", deletedUnderLoad},
		{"an abandoned deletion", abandoned},
		{"a Site in use", siteInUse},
		{"a timeout", timesOut},
		{"a time limit of the job", reachesTimeLimit},
		{"a site that does not answer", unreachable},
		{"another way to a site under load", anotherWay},
		{"a lost answer to a submit", lostAnswer},
		{"a job that is requeued", requeued},
		{"a prolog that fails", failedProlog},
		{"a person cancels the job", cancelledOutside},
		{"no controller during the run", deadDuringRun},
		{"no controller during the run, separate jobs", deadDuringSeparateRun},
		{"no controller until the job is forgotten", deadUntilForgotten},
		{"a kept server without a controller", keptWithoutController},
		{"access to the host", hostAccess},
		{"a Service and a LoadClient of their own", standalone},
		{"a missing Site", siteMissing},
		{"a Site of another namespace", otherNamespace},
		{"a limit of jobs", jobLimit},
		{"a limit of GPU-hours", gpuBudget},
		{"a missing target", targetMissing},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			one.test(t, p)
		})
	}
}

// begin makes a World with a Site and a process.
func begin(t *testing.T, p *harness.Plane, o harness.Options) *harness.World {
	w := p.World(t, o)
	w.Site()
	w.Start()
	return w
}

// endless is longer than any test takes. A clock that is moved by overEndless is past it, at the speed of a World.
const (
	endless     = "100h"
	overEndless = 3 * time.Hour
)

// underLoad stores a benchmark whose load goes on until the test moves the clock, and waits until it is measuring.
func underLoad(w *harness.World, name string) (*v1alpha1.Benchmark, *v1alpha1.SlurmJob) {
	bm := harness.Benchmark(name)
	bm.Spec.Clients[0].Duration = endless
	w.Create(bm)
	load := &v1alpha1.LoadClient{}
	load.Name = name + "-load"
	w.Until("load", func() string {
		if !w.Get(load, load.Name) || load.Status.Phase != "Measuring" {
			return "its phase is " + load.Status.Phase
		}
		return ""
	})
	w.Get(bm, bm.Name)
	job := &v1alpha1.SlurmJob{}
	w.Get(job, load.Status.Job)
	return bm, job
}

// deleteAndLookAround deletes a benchmark and checks that nothing of it is left.
func deleteAndLookAround(w *harness.World, bm *v1alpha1.Benchmark) {
	w.Delete(bm)
	w.UntilEmpty()
}

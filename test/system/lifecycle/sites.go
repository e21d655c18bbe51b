package lifecycle

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/test/harness"
)

func unreachable(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, job := underLoad(w, "bm")
	w.UntilCondition(job, v1alpha1.ConditionSynced, "True SiteAnswers")
	before := job.DeepCopy()
	w.Cluster.Outage(true)
	w.UntilCondition(job, v1alpha1.ConditionSynced, "Unknown SiteUnreachable")
	if diff := cmp.Diff(told(before), told(job)); diff != "" {
		t.Errorf("silence changed the SlurmJob (-before +after):\n%s", diff)
	}
	// A process that never saw the site concludes as little.
	w.Stop()
	w.Start()
	w.UntilCondition(job, v1alpha1.ConditionSynced, "Unknown SiteUnreachable")
	if diff := cmp.Diff(told(before), told(job)); diff != "" {
		t.Errorf("silence changed the SlurmJob for a new process (-before +after):\n%s", diff)
	}
	w.Cluster.Outage(false)
	w.UntilCondition(job, v1alpha1.ConditionSynced, "True SiteAnswers")
	w.Clock.Advance(overEndless)
	w.Whole(bm)
	w.ExactlyOnce(1)
}

// told is what a SlurmJob says but for Synced, and for what its node wrote in the meantime.
func told(job *v1alpha1.SlurmJob) v1alpha1.SlurmJobStatus {
	s := job.Status.DeepCopy()
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionSynced })
	for i := range s.Components {
		c := &s.Components[i]
		c.Heartbeat, c.Live, c.Scrapes = 0, nil, nil
	}
	return *s
}

// anotherWay: what runs is followed by the door that is opened anew, and nothing waits for its end.
func anotherWay(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, _ := underLoad(w, "bm")
	site := &v1alpha1.Site{}
	w.Get(site, harness.SiteName)
	if err := w.Change(site, func() { site.Spec.PollInterval = "1s" }); err != nil {
		t.Fatal(err)
	}
	w.UntilCondition(site, v1alpha1.ConditionReady, "True SiteAnswers")
	if n := len(w.Alive()); n != 1 {
		t.Errorf("%d jobs run, want that of before", n)
	}
	w.Clock.Advance(overEndless)
	w.Whole(bm)
	w.ExactlyOnce(1)
}

func lostAnswer(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	w.Cluster.LoseReplies(1)
	bm := harness.Benchmark("bm")
	w.Create(bm)
	w.Whole(bm)
	w.ExactlyOnce(1)
}

func requeued(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, job := underLoad(w, "bm")
	first := job.Status.Attempts[0]
	w.Cluster.Requeue(first.JobID)
	w.Until("a second attempt under load", func() string {
		w.Get(job, job.Name)
		if len(job.Status.Attempts) != 2 || job.Status.Phase != "Running" {
			return job.Status.Phase
		}
		return ""
	})
	load := &v1alpha1.LoadClient{}
	w.Until("load", func() string {
		w.Get(load, "bm-load")
		return unless(load.Status.Phase == "Measuring", load.Status.Phase)
	})
	w.Clock.Advance(overEndless)
	w.Whole(bm)
	w.Get(job, job.Name)
	if a := job.Status.Attempts[0]; a.Reason != v1alpha1.ReasonRequeued {
		t.Errorf("the first attempt ended with %s: %s", a.Reason, a.Message)
	}
	counts := w.Cluster.Counts()
	for _, a := range job.Status.Attempts {
		if key := keyOf(a); counts.Submits[key] != 1 || counts.Worked[key] != 1 {
			t.Errorf("attempt %d was submitted %d times and worked %d times", a.Number, counts.Submits[key], counts.Worked[key])
		}
	}
	if len(counts.Submits) != 2 || job.Status.Attempts[0].Key == job.Status.Attempts[1].Key {
		t.Errorf("keys: %v, want two", counts.Submits)
	}
	deleteAndLookAround(w, bm)
}

func failedProlog(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	w.Cluster.FailPrologs(1)
	bm := harness.Benchmark("bm")
	w.Create(bm)
	w.Whole(bm)
	jobs := w.Jobs()
	if len(jobs) != 1 || len(jobs[0].Status.Attempts) != 2 {
		t.Fatalf("SlurmJobs: %v, want one with two attempts", jobs)
	}
	counts := w.Cluster.Counts()
	first, second := keyOf(jobs[0].Status.Attempts[0]), keyOf(jobs[0].Status.Attempts[1])
	if counts.Worked[first] != 0 || counts.Worked[second] != 1 || counts.Submits[second] != 1 {
		t.Errorf("worked: %v, submitted: %v", counts.Worked, counts.Submits)
	}
	deleteAndLookAround(w, bm)
}

func cancelledOutside(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, job := underLoad(w, "bm")
	if err := w.Cluster.Site(w.Origin).Cancel(t.Context(), job.Status.JobID); err != nil {
		t.Fatal(err)
	}
	w.UntilCondition(bm, v1alpha1.ConditionComplete, "True")
	w.UntilCondition(bm, v1alpha1.ConditionSucceeded, "False Aborted")
	w.ExactlyOnce(1)
}

func hostAccess(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	w.Start()
	site := &v1alpha1.Site{}
	site.Name = harness.SiteName
	site.Spec.WorkDir = "/work"
	site.Spec.Jobs.Local = &v1alpha1.LocalDoor{}
	w.Create(site)
	w.UntilCondition(site, v1alpha1.ConditionStalled, "True HostAccessRefused")
	bm := harness.Benchmark("bm")
	w.Create(bm)
	w.UntilCondition(bm, v1alpha1.ConditionStalled, "True HostAccessRefused")
	if bm.Status.Run != nil {
		t.Errorf("run %s was started", bm.Status.Run.Name)
	}
	deleteAndLookAround(w, bm)
	w.Delete(site)
	w.UntilGone(site)
}

func siteMissing(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	w.Start()
	bm := harness.Benchmark("bm")
	w.Create(bm)
	w.UntilCondition(bm, v1alpha1.ConditionStalled, "True SiteMissing")
	server := &v1alpha1.Service{Spec: v1alpha1.ServiceSpec{ServiceParameters: harness.Server()}}
	server.Name = "alone"
	w.Create(server)
	w.UntilCondition(server, v1alpha1.ConditionStalled, "True SiteMissing")
	w.Site()
	w.Whole(bm)
	w.ExactlyOnce(1)
	w.Delete(server)
	w.UntilGone(server)
	deleteAndLookAround(w, bm)
}

package lifecycle

import (
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/test/harness"
)

func deletedInQueue(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{Nodes: 2}) // of which each job takes both
	first, _ := underLoad(w, "first")
	second := harness.Benchmark("second")
	w.Create(second)
	w.Until("a job in the queue", func() string {
		for _, job := range w.Jobs() {
			if job.Labels[v1alpha1.LabelBenchmark] == second.Name && job.Status.Phase == "Queued" {
				return ""
			}
		}
		return "no job waits"
	})
	w.Delete(second)
	w.UntilGone(second)
	if left := w.Alive(); len(left) != 1 || left[0].Phase != slurmbridge.Running {
		t.Errorf("left in the cluster: %v, want the job of the first benchmark", left)
	}
	deleteAndLookAround(w, first)
}

func deletedWhileStarting(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{Speed: 0.05})
	bm := harness.Benchmark("bm")
	w.Create(bm)
	server := &v1alpha1.Service{}
	server.Name = "bm-server"
	w.Until("a server that starts", func() string {
		if !w.Get(server, server.Name) || server.Status.Phase != "Starting" {
			return "its phase is " + server.Status.Phase
		}
		return ""
	})
	deleteAndLookAround(w, bm)
	w.ExactlyOnce(1)
}

func deletedUnderLoad(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, _ := underLoad(w, "bm")
	deleteAndLookAround(w, bm)
	w.ExactlyOnce(1)
}

func abandoned(t *testing.T, p *harness.Plane) {
	w := begin(t, p, harness.Options{})
	bm, job := underLoad(w, "bm")
	w.Cluster.Outage(true)
	w.Delete(bm)
	w.UntilCondition(job, v1alpha1.ConditionSynced, "Unknown SiteUnreachable")
	if err := w.Change(bm, func() { bm.Annotations = map[string]string{v1alpha1.AnnotationAbandon: "true"} }); err != nil {
		t.Fatal(err)
	}
	w.Until("an empty namespace", func() string { return strings.Join(w.Objects(), ", ") })
	w.Until("an event that names the job", func() string { return abandonedJob(t, w, job.Status.JobID) })
	w.Cluster.Outage(false)
	if left := w.Alive(); len(left) != 1 {
		t.Fatalf("left in the cluster: %v, want the abandoned job", left)
	}
	w.Stop() // the janitor of a new process comes soon
	w.Start()
	w.Until("the janitor", func() string {
		if len(w.Alive()) > 0 {
			return "the abandoned job lives"
		}
		return ""
	})
}

// abandonedJob looks for the event that says which job was left behind.
func abandonedJob(t *testing.T, w *harness.World, id string) string {
	var list eventsv1.EventList
	if err := w.Client.List(t.Context(), &list, client.InNamespace(w.Namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if e := &list.Items[i]; e.Reason == "JobsAbandoned" && strings.Contains(e.Note, "job "+id+" ") {
			return ""
		}
	}
	return "there is none"
}

func siteInUse(t *testing.T, p *harness.Plane) {
	w := p.World(t, harness.Options{})
	w.Start()
	site := w.Site()
	bm, _ := underLoad(w, "bm")
	w.Delete(site)
	w.UntilCondition(site, v1alpha1.ConditionReady, "False InUse")
	w.Delete(bm)
	w.UntilGone(bm)
	w.UntilGone(site)
	if left := append(w.Objects(), jobNames(w)...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func jobNames(w *harness.World) []string {
	var out []string
	for _, j := range w.Alive() {
		out = append(out, "job "+j.ID)
	}
	return out
}

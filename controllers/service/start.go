package service

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

// start makes the job of a Service of its own, or says what is in its way. The job itself is the stored intent: one
// that exists is followed, whatever its run is called.
func start(p *pass) {
	p.s.Status.Job, p.s.Status.Endpoint, p.s.Status.Endpoints, p.s.Status.Repeat = "", "", nil, 0
	if !nothingInTheWay(p) {
		return
	}
	job := ownJob(p.s, p.seen.Start)
	labels := job.Labels
	owner := job.OwnerReferences[0]
	p.do(
		WriteRecord{Path: p.seen.Start.Directory + "/" + rundir.RecordFile, Record: record(p.s, p.seen.Start)},
		reconcile.CreateCredential{Name: plan.SecretName(p.s.Name, p.seen.Start.Run), Labels: labels, Owner: owner},
		CreateJob{Job: job},
	)
	p.cond.Unknown(v1alpha1.ConditionMonitored, v1alpha1.ReasonWaiting, "nothing was scraped yet")
	if p.seen.Unwritten != "" {
		p.s.Status.Phase = rundir.PhaseWaiting
		p.cond.Stalled(v1alpha1.ReasonWorkDirUnusable, p.seen.Unwritten)
		return
	}
	p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, "makes its SlurmJob")
}

// nothingInTheWay says what keeps a Service of its own from starting.
func nothingInTheWay(p *pass) bool {
	o := reconcile.Own{
		Object: p.s, Kind: reconcile.KindService, Suspend: p.s.Spec.Suspend, Site: string(p.s.Spec.Site), Found: p.seen.Site,
		Closed: p.seen.Closed, Former: p.seen.Children, Run: p.seen.Start.Run,
	}.Obstacle()
	if o == nil {
		return true
	}
	p.do(o.Do...)
	p.out.After = o.After
	p.s.Status.Phase = rundir.PhaseWaiting
	if o.Kind == reconcile.Drains {
		p.s.Status.Phase = rundir.PhaseDraining
	}
	o.Tell(p.cond)
	return false
}

// jobName is the name of the SlurmJob that a run of a Service of its own has.
func jobName(s *v1alpha1.Service, run string) string { return "bsvc-" + s.Name + "-" + run }

// ownJob is the SlurmJob of a Service of its own.
func ownJob(s *v1alpha1.Service, start Start) *v1alpha1.SlurmJob {
	labels := ownLabels(s)
	labels[v1alpha1.LabelRun] = start.Run
	return &v1alpha1.SlurmJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: jobName(s, start.Run), Labels: labels,
			Annotations:     map[string]string{v1alpha1.AnnotationSpecHash: specHash(s)},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s, v1alpha1.SchemeGroupVersion.WithKind(reconcile.KindService))},
		},
		Spec: v1alpha1.SlurmJobSpec{
			Site: s.Spec.Site,
			Run: v1alpha1.JobRun{
				Owner: runOwner(s), Name: start.Run, FirstRepeat: 1,
				Repeats:     v1alpha1.Repeats{Count: 1, Restart: v1alpha1.RestartNone},
				IdleTimeout: s.Spec.IdleTimeout, Seed: start.Seed,
				// Nobody tells it that the last repeat is over: it serves until it is idle.
				KeepServices: true,
			},
			Components: []v1alpha1.ComponentReference{{Kind: reconcile.KindService, Name: s.Name}},
		},
	}
}

// record is what the run directory keeps of the Service.
func record(s *v1alpha1.Service, start Start) rundir.Record {
	spec, err := json.Marshal(s.Spec)
	if err != nil {
		panic(err) // a struct of strings and numbers always marshals
	}
	return rundir.Record{
		Version: rundir.Version, Kind: reconcile.KindService, Namespace: s.Namespace, Name: s.Name, UID: string(s.UID),
		Run: start.Run, Seed: start.Seed, Spec: spec,
	}
}

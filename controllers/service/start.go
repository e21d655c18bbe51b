package service

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

// maxName is the longest name of a Service of its own: the name becomes a label.
const maxName = 63

// start makes the job of a Service of its own, or says what is in its way. The job itself is the stored intent: one
// that exists is followed, whatever its run is called.
func start(p *pass) {
	p.s.Status.Job, p.s.Status.Endpoint, p.s.Status.Repeat = "", "", 0
	for _, way := range []func(*pass) (free bool){
		notSuspended,
		siteIsNamed,
		siteIsThere,
		siteAdmitsUs,
		doorIsOpen,
		formerIsGone,
		nameIsFree,
	} {
		if !way(p) {
			return
		}
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
	p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, "makes its SlurmJob")
}

func notSuspended(p *pass) bool {
	if !p.s.Spec.Suspend {
		return true
	}
	p.s.Status.Phase = rundir.PhaseWaiting
	p.cond.Suspended("spec.suspend is true: nothing starts")
	return false
}

func siteIsNamed(p *pass) bool {
	if p.s.Spec.Site != "" {
		return true
	}
	p.refuse(v1alpha1.ReasonSiteMissing, "a Service that no Benchmark owns needs spec.site")
	return false
}

func siteIsThere(p *pass) bool {
	if p.seen.Site != nil {
		return true
	}
	p.refuse(v1alpha1.ReasonSiteMissing, fmt.Sprintf("there is no Site %q in namespace %s: create it, or name another in spec.site", p.s.Spec.Site, p.s.Namespace))
	p.out.After = again
	return false
}

func siteAdmitsUs(p *pass) bool {
	for _, c := range p.seen.Site.Status.Conditions {
		if c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue {
			p.refuse(c.Reason, fmt.Sprintf("Site %s: %s", p.s.Spec.Site, c.Message))
			return false
		}
	}
	return true
}

func doorIsOpen(p *pass) bool {
	if p.seen.Closed == "" {
		return true
	}
	p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, fmt.Sprintf("waits for Site %s: %s", p.s.Spec.Site, p.seen.Closed))
	p.out.After = again
	return false
}

// formerIsGone removes the job of another spec first.
func formerIsGone(p *pass) bool {
	if len(p.seen.Children) == 0 {
		return true
	}
	p.do(reconcile.Removal(p.seen.Children, reconcile.IsAbandoned(p.s))...)
	p.waits(rundir.PhaseDraining, v1alpha1.ReasonProgressing, "waits until its former job is gone")
	p.out.After = reconcile.RemovalPause(p.seen.Children)
	return false
}

func nameIsFree(p *pass) bool {
	if len(p.s.Name) > maxName {
		p.refuse(v1alpha1.ReasonInvalidParameters, fmt.Sprintf("the name of a Service that no Benchmark owns has at most %d characters", maxName))
		return false
	}
	if p.seen.Start.Run == "" {
		p.refuse(v1alpha1.ReasonInvalidParameters, fmt.Sprintf("too many former runs named g%d of a Service of this name are kept: remove some with assay prune", p.s.Generation))
		return false
	}
	return true
}

// refuse stalls a Service that cannot start.
func (p *pass) refuse(reason, message string) {
	p.s.Status.Phase = rundir.PhaseWaiting
	p.cond.Stalled(reason, message)
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

package loadclient

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
)

// wantsRun says that a LoadClient of its own needs a new job: it has none yet, or one of another spec. A job that is
// gone is not made again before the spec changes: a load is made once.
func wantsRun(c *v1alpha1.LoadClient, jobs []*v1alpha1.SlurmJob) bool {
	if owned(c) {
		return false
	}
	if len(jobs) > 0 {
		job := jobs[len(jobs)-1]
		return job.Annotations[v1alpha1.AnnotationSpecHash] != specHash(c) && !c.Spec.Suspend
	}
	complete := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionComplete)
	if complete != nil && complete.Status == metav1.ConditionTrue {
		return complete.ObservedGeneration != c.Generation && !c.Spec.Suspend
	}
	return c.Status.Job == ""
}

// start makes the job of a LoadClient of its own, or says what is in its way. The job itself is the stored intent.
func start(p *pass) {
	s := &p.c.Status
	s.Job, s.Repeat, s.Repeats, s.Live, s.Results = "", 0, "", nil, nil
	if !nothingInTheWay(p) || !timeScaleIsValid(p) || !targetIsThere(p) || !targetHasJob(p) {
		return
	}
	p.do(
		WriteRecord{Path: p.seen.Start.Directory + "/" + rundir.RecordFile, Record: record(p.c, p.seen.Start)},
		CreateJob{Job: ownJob(p.c, p.seen)},
	)
	p.unfinished("the load has not begun")
	if p.seen.Unwritten != "" {
		p.refuse(v1alpha1.ReasonWorkDirUnusable, p.seen.Unwritten)
		return
	}
	p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, "makes its SlurmJob")
}

// nothingInTheWay says what keeps a LoadClient of its own from starting.
func nothingInTheWay(p *pass) bool {
	o := reconcile.Own{
		Object: p.c, Kind: reconcile.KindLoadClient, Suspend: p.c.Spec.Suspend, Site: string(p.c.Spec.Site), Found: p.seen.Site,
		Closed: p.seen.Closed, Former: p.seen.Children, Run: p.seen.Start.Run,
	}.Obstacle()
	if o == nil {
		return true
	}
	p.do(o.Do...)
	p.out.After = o.After
	p.c.Status.Phase = rundir.PhaseWaiting
	if o.Kind == reconcile.Drains {
		p.c.Status.Phase = rundir.PhaseDraining
	}
	o.Tell(p.cond)
	return false
}

func timeScaleIsValid(p *pass) bool {
	_, err := reconcile.TimeScale(p.c)
	if err != nil {
		p.refuse(v1alpha1.ReasonInvalidParameters, err.Error())
	}
	return err == nil
}

func targetIsThere(p *pass) bool {
	if p.c.Spec.Target.Service == "" || p.seen.Target != nil {
		return true
	}
	p.refuse(v1alpha1.ReasonTargetMissing, fmt.Sprintf("there is no services.assay.bench %q in namespace %s: create it, or use target.url", p.c.Spec.Target.Service, p.c.Namespace))
	p.out.After = again
	return false
}

// targetHasJob waits for the job of the target: the node finds the endpoint in its folder.
func targetHasJob(p *pass) bool {
	if p.c.Spec.Target.Service == "" {
		return true
	}
	switch job := p.seen.TargetJob; {
	case job == nil:
		p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, fmt.Sprintf("waits for the SlurmJob of service %s", p.c.Spec.Target.Service))
		p.out.After = again
	case reconcile.JobOver(job):
		p.refuse(v1alpha1.ReasonTargetMissing, fmt.Sprintf("service %s has ended: start it again", p.c.Spec.Target.Service))
		p.out.After = again
	default:
		return true
	}
	return false
}

// refuse stalls a LoadClient that cannot start.
func (p *pass) refuse(reason, message string) {
	p.c.Status.Phase = rundir.PhaseWaiting
	p.cond.Stalled(reason, message)
}

// jobName is the name of the SlurmJob that a run of a LoadClient of its own has.
func jobName(c *v1alpha1.LoadClient, run string) string { return "lc-" + c.Name + "-" + run }

// ownJob is the SlurmJob of a LoadClient of its own. Its target is a peer of another owner and run.
func ownJob(c *v1alpha1.LoadClient, seen World) *v1alpha1.SlurmJob {
	labels := ownLabels(c)
	labels[v1alpha1.LabelRun] = seen.Start.Run
	job := &v1alpha1.SlurmJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: jobName(c, seen.Start.Run), Labels: labels,
			Annotations:     map[string]string{v1alpha1.AnnotationSpecHash: specHash(c)},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, v1alpha1.SchemeGroupVersion.WithKind(reconcile.KindLoadClient))},
		},
		Spec: v1alpha1.SlurmJobSpec{
			Site: c.Spec.Site,
			Run: v1alpha1.JobRun{
				Owner: runOwner(c), Name: seen.Start.Run, FirstRepeat: 1,
				Repeats: v1alpha1.Repeats{Count: 1, Restart: v1alpha1.RestartNone}, Seed: seen.Start.Seed, DeleteObjects: true,
				TimeScale: v1alpha1.Decimal(c.Annotations[v1alpha1.AnnotationTimeScale]),
			},
			Components: []v1alpha1.ComponentReference{{Kind: reconcile.KindLoadClient, Name: c.Name}},
		},
	}
	if t := seen.TargetJob; t != nil {
		job.Spec.Run.Peers = []v1alpha1.PeerReference{{
			ComponentReference: v1alpha1.ComponentReference{Kind: reconcile.KindService, Name: c.Spec.Target.Service},
			Job:                t.Name, Owner: t.Spec.Run.Owner, Run: t.Spec.Run.Name,
		}}
	}
	return job
}

// record is what the run directory keeps of the LoadClient.
func record(c *v1alpha1.LoadClient, start Start) rundir.Record {
	spec, err := json.Marshal(c.Spec)
	if err != nil {
		panic(err) // a struct of strings and numbers always marshals
	}
	return rundir.Record{
		Version: rundir.Version, Kind: reconcile.KindLoadClient, Namespace: c.Namespace, Name: c.Name, UID: string(c.UID),
		Run: start.Run, Seed: start.Seed, TimeScale: c.Annotations[v1alpha1.AnnotationTimeScale], Spec: spec,
	}
}

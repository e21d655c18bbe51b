package service

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

// Decision is what a Service's controller wants next.
type Decision = reconcile.Decision[v1alpha1.ServiceStatus]

// again is when to look again at what no watch tells of.
const again = 2 * time.Second

// pass is one decision in the making.
type pass struct {
	// s is a copy; its status becomes the new one.
	s    *v1alpha1.Service
	seen World
	cond reconcile.Conditions
	// entry is what the job says of the Service; nil for nothing.
	entry *v1alpha1.ComponentStatus
	out   Decision
}

// Decide goes through the steps of a Service's life. Each looks at one thing and says whether the next may follow.
func (k *Kind) Decide(s *v1alpha1.Service, seen World, now time.Time) Decision {
	p := &pass{s: s, seen: seen}
	s.Status.ObservedGeneration = s.Generation
	s.Status.Engine = plan.EngineName(&s.Spec.ServiceParameters)
	p.cond = reconcile.Conditions{List: &s.Status.Conditions, Generation: s.Generation, Now: now}
	for _, step := range []func(*pass) bool{
		alive,      // or its job goes, and then it goes
		reached,    // from outside, where that is asked for
		hasJob,     // or it gets one, or its run is over
		told,       // what the job says is copied
		cleaned,    // the credential ends with the run
		monitored,  // the share of good scrapes
		notRefused, // the job goes on without a person
		notEnded,   // or it tells how it ended
		hasNodes,   // or it waits in the queue
		ready,      // or it starts
	} {
		if !step(p) {
			break
		}
	}
	p.out.Status = s.Status
	return p.out
}

func (p *pass) do(e ...reconcile.Effect) { p.out.Do = append(p.out.Do, e...) }

// waits tells that work goes on before the server serves.
func (p *pass) waits(phase, reason, words string) {
	p.s.Status.Phase = phase
	p.cond.Progressing(reason, words)
}

// alive removes what a Service of its own made, and lets the Service go once that is gone.
func alive(p *pass) bool {
	if p.s.DeletionTimestamp.IsZero() {
		return true
	}
	if len(p.seen.Children) == 0 {
		p.out.Release = true
		return false
	}
	p.do(reconcile.Removal(p.seen.Children, reconcile.IsAbandoned(p.s))...)
	p.waits(rundir.PhaseDraining, v1alpha1.ReasonDeleting, "waits until its job is gone")
	p.out.After = reconcile.RemovalPause(p.seen.Children)
	return false
}

// hasJob follows the job of a Service that has one.
func hasJob(p *pass) bool {
	if owned(p.s) {
		return p.seen.Job != nil || ownedWithoutJob(p)
	}
	if p.seen.Job != nil && fits(p.seen.Job, p.s) {
		return true
	}
	start(p)
	return false
}

// ownedWithoutJob tells what it means that a Benchmark's Service has no job: it is too early, or the run is over and
// its jobs were deleted.
func ownedWithoutJob(p *pass) bool {
	bm := p.seen.Benchmark
	switch {
	case bm == nil:
		p.stalled(v1alpha1.ReasonAborted, "the Benchmark that made this Service is gone: delete it too")
	case !bm.Status.Run.Ended() || bm.Status.Run.Name != p.s.Labels[v1alpha1.LabelRun]:
		p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, "waits for its SlurmJob")
	default:
		p.endedWith(bm)
	}
	return false
}

// endedWith takes the end of the Benchmark's run for its own: its job was deleted.
func (p *pass) endedWith(bm *v1alpha1.Benchmark) {
	c := meta.FindStatusCondition(bm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c != nil && c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonSLOViolated {
		p.stalled(c.Reason, c.Message)
		return
	}
	p.ended()
}

func (p *pass) stalled(reason, message string) {
	p.s.Status.Phase = rundir.PhaseFailed
	p.cond.Stalled(reason, message)
}

func (p *pass) ended() {
	p.s.Status.Phase = rundir.PhaseEnded
	p.cond.Current(v1alpha1.ReasonEnded, "the run of this service ended as planned")
}

// told copies what the job says.
func told(p *pass) bool {
	job := p.seen.Job
	p.entry = reconcile.JobEntry(job, v1alpha1.ComponentReference{Kind: reconcile.KindService, Name: p.s.Name})
	s := &p.s.Status
	s.Job, s.Endpoint, s.Endpoints, s.Repeat, s.GPUs = job.Name, "", nil, 0, ""
	if p.entry != nil {
		s.Endpoint, s.Endpoints, s.Repeat, s.GPUs = p.entry.Endpoint, p.entry.Endpoints, p.entry.Repeat, p.entry.GPUs
	}
	return true
}

// cleaned deletes the credential of a run that is over.
func cleaned(p *pass) bool {
	p.do(reconcile.Removal(p.seen.Secrets, false)...)
	return true
}

// monitored tells the share of good scrapes once there are enough of them, in words that do not change with each.
func monitored(p *pass) bool {
	if p.entry == nil {
		p.cond.Unknown(v1alpha1.ConditionMonitored, v1alpha1.ReasonWaiting, "nothing was scraped yet")
		return true
	}
	low, known := reconcile.LowCoverage(p.entry.Scrapes)
	switch {
	case low:
		p.cond.False(v1alpha1.ConditionMonitored, v1alpha1.ReasonLowCoverage, "fewer than 95 % of the scrapes were good")
	case known:
		p.cond.True(v1alpha1.ConditionMonitored, v1alpha1.ReasonCoverage, "at least 95 % of the scrapes were good")
	case p.entry.Scrapes == nil && p.entry.Ready:
		p.cond.Unknown(v1alpha1.ConditionMonitored, v1alpha1.ReasonNoTargets, "there is nothing to scrape")
	default:
		p.cond.Unknown(v1alpha1.ConditionMonitored, v1alpha1.ReasonWaiting, "too little was scraped yet")
	}
	return true
}

// notRefused passes on what only a person can lift.
func notRefused(p *pass) bool {
	c := reconcile.JobRefused(p.seen.Job)
	if c == nil {
		return true
	}
	p.stalled(c.Reason, fmt.Sprintf("SlurmJob %s: %s", p.seen.Job.Name, c.Message))
	if c.Reason != v1alpha1.ReasonInvalidParameters {
		p.s.Status.Phase = rundir.PhaseWaiting
	}
	return false
}

// notEnded tells how the service ended: by its own words, else by those of its job.
func notEnded(p *pass) bool {
	job := p.seen.Job
	if p.entry != nil && p.entry.Exit != nil {
		exit := p.entry.Exit
		if p.asPlanned(exit.Reason) {
			p.ended()
			return false
		}
		p.stalled(exit.Reason, reconcile.Clip(reconcile.Sentence("", exit.Message)+jobWords(job), 1024))
		return false
	}
	if !reconcile.IsComplete(job.Status.Conditions) {
		return true
	}
	if c := reconcile.JobEndedBadly(job); c != nil {
		p.stalled(c.Reason, fmt.Sprintf("SlurmJob %s: %s", job.Name, c.Message))
		return false
	}
	p.ended()
	return false
}

func jobWords(job *v1alpha1.SlurmJob) string {
	if job.Status.Directory == "" {
		return " (SlurmJob " + job.Name + ")"
	}
	return fmt.Sprintf(" (SlurmJob %s, logs in %s)", job.Name, job.Status.Directory)
}

// asPlanned says whether an end is a good one. To be idle is what a service waits for that is kept, or that stands
// for itself.
func (p *pass) asPlanned(reason string) bool {
	switch reason {
	case rundir.ExitReasonEnded:
		return true
	case rundir.ExitReasonIdle:
		return !owned(p.s) || p.seen.Job.Spec.Run.KeepServices
	}
	return false
}

// hasNodes tells what the job waits for.
func hasNodes(p *pass) bool {
	words := reconcile.JobWaits(p.seen.Job)
	if words == "" {
		return true
	}
	p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, words)
	return false
}

// ready tells whether the probes passed.
func ready(p *pass) bool {
	switch e := p.entry; {
	case (e == nil || e.Phase == "") && !owned(p.s) && p.s.Spec.Image != nil && rundir.FromRegistry(p.s.Spec.Image.URI):
		p.waits(rundir.PhaseWaiting, v1alpha1.ReasonPulling, "its job pulls "+p.s.Spec.Image.URI+" to the site's store, unless it is there")
	case e == nil || e.Phase == "" || e.Phase == rundir.PhaseWaiting:
		p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, "waits for its node")
	case e.Ready:
		p.s.Status.Phase = rundir.PhaseReady
		p.cond.Current(v1alpha1.ReasonProbesPassed, "every probe passed")
	case e.Phase == rundir.PhaseStopping || e.Phase == rundir.PhaseDraining:
		p.waits(rundir.PhaseDraining, v1alpha1.ReasonProgressing, "the server stops")
	default:
		p.waits(rundir.PhaseStarting, v1alpha1.ReasonStarting, reconcile.Clip(reconcile.Sentence("the server starts", e.Message), 1024))
	}
	return true
}

// fits says that a job was made from the Service's present spec.
func fits(job *v1alpha1.SlurmJob, s *v1alpha1.Service) bool {
	return job.DeletionTimestamp.IsZero() && (job.Annotations[v1alpha1.AnnotationSpecHash] == specHash(s) || s.Spec.Suspend)
}

// specHash is the SHA-256 of the spec without what the job does not see: whether it may start, and who asks from outside.
func specHash(s *v1alpha1.Service) string {
	spec := s.Spec.DeepCopy()
	spec.Suspend, spec.Readiness.Tunnel = false, false
	b, err := json.Marshal(spec)
	if err != nil {
		panic(err) // a struct of strings and numbers always marshals
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

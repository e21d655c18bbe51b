package slurmjob

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// decision is what a pass over a SlurmJob ends with.
type decision = reconcile.Decision[v1alpha1.SlurmJobStatus]

// pass is one decision in the making.
type pass struct {
	job  *v1alpha1.SlurmJob
	seen *world
	now  time.Time
	cond reconcile.Conditions
	// status is the object's own, changed in place.
	status *v1alpha1.SlurmJobStatus
	// batch is the job of the newest attempt, once adopted.
	batch slurmbridge.Job
	out   decision
}

// decide is the story of a job: the first step that has nothing to leave to the next ones ends it.
func decide(job *v1alpha1.SlurmJob, seen world, now time.Time) decision {
	p := &pass{job: job, seen: &seen, now: now, status: &job.Status}
	p.status.ObservedGeneration = job.Generation
	p.cond = reconcile.Conditions{List: &p.status.Conditions, Generation: job.Generation, Now: now}
	for _, done := range []func(*pass) bool{
		abandoned,       // a person wants it gone without proof
		deletedAndGone,  // nothing of it is left: let it go
		over,            // its end is stored: nothing more happens
		siteClosed,      // without the door nothing can be known or done
		siteSilent,      // a failed look changes nothing
		deletedAndAlive, // end its jobs and look until they are gone
		backsOff,        // the site ended the attempt before: leave it some time
		imagesThere,     // there is nothing to pull
		notMade,         // no attempt can be made: say why
		intended,        // store the attempt before anything else
		filesMissing,    // put its files there before the job can start
		impossible,      // the batch system could never run it
		notNow,          // it takes no such job now: try again later
		neverSubmitted,  // hand it in: nobody has
		refused,         // the batch system will never take it
		unseen,          // wait for an uncertain submit, or count the answers that do not know the job
		adopted,         // a job is there: its id is ours, more than one is too many
		requeuedOnHold,  // the batch system gave up on its nodes: end it and begin anew
		held,            // release it, now that its id is stored
		waits,           // in the queue
		runs,            // on its nodes
		ends,            // off them: read how it ended
	} {
		if done(p) {
			break
		}
	}
	p.headline()
	p.out.Status = *p.status
	return p.out
}

// attempt is the newest attempt, or nil.
func (p *pass) attempt() *v1alpha1.Attempt { return newest(p.status.Attempts) }

func (p *pass) do(effects ...reconcile.Effect) { p.out.Do = append(p.out.Do, effects...) }

// again asks for another look, at the earliest time that a step asked for.
func (p *pass) again(after time.Duration) {
	if p.out.After == 0 || after < p.out.After {
		p.out.After = after
	}
}

func (p *pass) event(warning bool, reason, action, message string) {
	p.out.Events = append(p.out.Events, reconcile.Event{Warning: warning, Reason: reason, Action: action, Message: reconcile.Clip(message, 1000)})
}

// stamp rounds up to the second that the API keeps, so that a wait counted from it is never too short.
func stamp(t time.Time) *metav1.Time {
	return &metav1.Time{Time: t.Add(time.Second - 1).Truncate(time.Second)}
}

// keep returns the stored time when it says the same, so that nothing changes where nothing did.
func keep(stored *metav1.Time, t time.Time) *metav1.Time {
	if t.IsZero() || stored != nil && stored.Unix() == t.Unix() {
		return stored
	}
	return &metav1.Time{Time: t.Truncate(time.Second)}
}

// headline copies what people look at first from the newest attempt.
func (p *pass) headline() {
	a := p.attempt()
	if a == nil {
		return
	}
	p.status.Attempt, p.status.JobID, p.status.Nodes = a.Number, a.JobID, a.Nodes
}

// abandoned lets an object go without proof, and says what may be left.
func abandoned(p *pass) bool {
	if !isDeleting(p.job) || !reconcile.IsAbandoned(p.job) {
		return false
	}
	var left []string
	for i := range p.status.Attempts {
		a := &p.status.Attempts[i]
		p.do(Forget{Key: slurmbridge.Key(a.Key)})
		switch {
		case ended(a) || !handedIn(a):
		case a.JobID == "":
			left = append(left, fmt.Sprintf("a job named %s, if there is one", a.Key))
		default:
			left = append(left, fmt.Sprintf("job %s named %s", a.JobID, a.Key))
		}
	}
	what := "no job was running"
	if len(left) > 0 {
		what = "may still run: " + strings.Join(left, ", ")
		p.event(true, "JobsAbandoned", "Delete", fmt.Sprintf("deleted without proof at %s; %s", p.job.Spec.Site, what))
	}
	p.cond.Progressing(v1alpha1.ReasonDeleting, "abandoned; "+what)
	p.out.Release = true
	return true
}

// deletedAndGone releases the finalizer once nothing can be left: each attempt was never handed in, or has ended.
func deletedAndGone(p *pass) bool {
	if !isDeleting(p.job) || slices.ContainsFunc(p.status.Attempts, func(a v1alpha1.Attempt) bool {
		return handedIn(&a) && !ended(&a)
	}) {
		return false
	}
	if len(alive(p.seen.jobs)) > 0 || len(p.seen.strays) > 0 {
		return false
	}
	if !p.seen.looked && slices.ContainsFunc(p.status.Attempts, mayLive) {
		return false
	}
	if p.seen.owes && reconcile.GPUSecondsUsed(p.job) > 0 {
		p.cond.Progressing(v1alpha1.ReasonDeleting, "waits until the Site has counted the GPU-hours that it used")
		p.again(time.Second)
		return true
	}
	if a := p.attempt(); a != nil && !ended(a) && p.seen.site.open {
		p.blankSecrets(a)
	}
	for i := range p.status.Attempts {
		p.do(Forget{Key: slurmbridge.Key(p.status.Attempts[i].Key)})
	}
	p.out.Release = true
	return true
}

// mayLive says that an attempt ended without proof: what nobody knew of may be there all the same.
func mayLive(a v1alpha1.Attempt) bool {
	return handedIn(&a) && ended(&a) && a.Reason == v1alpha1.ReasonLost
}

// over leaves an ended object as it is.
func over(p *pass) bool { return !isDeleting(p.job) && ended(p.attempt()) }

// siteClosed says why nothing can be known.
func siteClosed(p *pass) bool {
	site, a := p.seen.site, p.attempt()
	if site.open {
		return false
	}
	p.again(30 * time.Second) // the site's own change comes sooner
	reason, why := v1alpha1.ReasonWaiting, site.why
	if !site.exists {
		reason, why = v1alpha1.ReasonSiteMissing, fmt.Sprintf("the Site %s does not exist in this namespace", p.job.Spec.Site)
	}
	if handedIn(a) {
		p.cond.Unknown(v1alpha1.ConditionSynced, v1alpha1.ReasonSiteUnreachable, why)
		if isDeleting(p.job) {
			p.cond.Progressing(v1alpha1.ReasonDeleting, fmt.Sprintf(
				"nobody can tell whether %s ended: %s; bring the site back, or annotate %s=true", jobWords(a), why, v1alpha1.AnnotationAbandon))
		}
		return true
	}
	switch {
	case !site.exists:
		p.cond.Stalled(reason, why+": create it, or delete this SlurmJob")
	case site.stalled:
		p.cond.Stalled(word(site.reason), fmt.Sprintf("the Site %s cannot be used: %s", p.job.Spec.Site, site.message))
	default:
		p.cond.Progressing(reason, why)
	}
	return true
}

// siteSilent changes nothing but Synced when the look failed.
func siteSilent(p *pass) bool {
	if p.seen.lookErr != nil {
		p.cond.Unknown(v1alpha1.ConditionSynced, v1alpha1.ReasonSiteUnreachable, reconcile.Clip(fmt.Sprintf(
			"the site %s does not answer, so nothing is concluded: %v", p.job.Spec.Site, p.seen.lookErr), 512))
		p.again(p.seen.patience.gap)
		return true
	}
	if p.seen.looked {
		p.cond.True(v1alpha1.ConditionSynced, v1alpha1.ReasonSiteAnswers, "the last look at the site was good")
	}
	return false
}

// looksForGone is how often a job that was cancelled is looked for before it is cancelled again. All such jobs of a site
// share the looks, but each costs a cancel of its own.
const looksForGone = 3

// deletedAndAlive ends every job of a deleted object and goes on looking until they are gone.
func deletedAndAlive(p *pass) bool {
	if !isDeleting(p.job) {
		return false
	}
	a := p.attempt()
	p.again(p.seen.patience.gap / looksForGone)
	if !ended(a) {
		p.deleteNewest(a)
	}
	if deletedAndGone(p) {
		return true
	}
	live := append(alive(p.seen.jobs), p.seen.strays...)
	if len(live) == 0 {
		p.cond.Progressing(v1alpha1.ReasonDeleting, "looks whether "+jobWords(a)+" is gone")
		return true
	}
	if want := leaseAt(p.now, rundir.WantStop); p.seen.lease != want {
		p.do(WriteControl{Key: slurmbridge.Key(a.Key), Directory: p.status.Directory, Lease: want})
	}
	for _, j := range live {
		if !p.now.Before(p.seen.cancelled[j.ID].Add(p.seen.patience.gap)) {
			p.do(Cancel{Key: slurmbridge.Key(a.Key), ID: j.ID})
		}
	}
	message := fmt.Sprintf("waits for %s to end", ids(live))
	if p.seen.doErr != nil {
		message = reconcile.Clip(fmt.Sprintf("%s; %v", message, p.seen.doErr), 1024)
	}
	p.cond.Progressing(v1alpha1.ReasonDeleting, message)
	return true
}

// deleteNewest follows the newest attempt of a deleted object to its end.
func (p *pass) deleteNewest(a *v1alpha1.Attempt) {
	j, ok := kept(a, p.seen.jobs)
	if !ok {
		p.countMissing(a)
		unheard := a.JobID == "" && p.missing(a, lookupsBeforeSubmit, p.seen.patience.grace)
		if unheard || p.missing(a, lookupsBeforeLost, p.seen.patience.lost) {
			p.endAttempt(a, v1alpha1.ClassPerson, v1alpha1.ReasonCancelled, "deleted; the batch system does not know the job")
		}
		return
	}
	record(a, j)
	if j.Over() {
		p.endAttempt(a, v1alpha1.ClassPerson, v1alpha1.ReasonCancelled, "deleted")
		return
	}
	if a.CancelTime == nil {
		a.CancelTime = stamp(p.now)
		p.event(false, "JobCancelled", "Delete", fmt.Sprintf("ends %s, for the SlurmJob is deleted", jobWords(a)))
	}
}

// notMade says why no attempt can be made yet.
func notMade(p *pass) bool {
	b := p.seen.blocked
	if handedIn(p.attempt()) {
		return false
	}
	if b == nil {
		return p.seen.made == nil
	}
	p.again(10 * time.Second)
	if b.stalled {
		p.cond.Stalled(word(b.reason), b.message)
		return true
	}
	p.cond.Progressing(word(b.reason), b.message)
	return true
}

// alive are the jobs that have not ended.
func alive(jobs []slurmbridge.Job) []slurmbridge.Job {
	return slices.DeleteFunc(slices.Clone(jobs), slurmbridge.Job.Over)
}

// ids names jobs in a sentence.
func ids(jobs []slurmbridge.Job) string {
	out := make([]string, len(jobs))
	for i, j := range jobs {
		out[i] = j.ID
	}
	if len(out) == 1 {
		return "job " + out[0]
	}
	return "jobs " + strings.Join(out, ", ")
}

// jobWords names the job of an attempt in a sentence.
func jobWords(a *v1alpha1.Attempt) string {
	if a == nil {
		return "a job"
	}
	if a.JobID == "" {
		return "the job " + a.Key
	}
	return "job " + a.JobID
}

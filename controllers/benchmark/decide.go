package benchmark

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
)

// Decision is what a Benchmark's controller wants next.
type Decision = reconcile.Decision[v1alpha1.BenchmarkStatus]

// Phases, for people.
const (
	phaseSuspended = "Suspended"
	phaseQueued    = "Queued"
	phaseStarting  = "Starting"
	phaseRunning   = "Running"
	phaseFinishing = "Finishing"
	phaseComplete  = "Complete"
	phaseInvalid   = "Invalid"
	phaseFailed    = "Failed"
)

// again is when to look again at what no watch tells of: a closed door, a silent site.
const again = 2 * time.Second

// soon is when to look again at what this very pass has changed.
const soon = time.Millisecond

// pass is one decision in the making.
type pass struct {
	// bm is a copy; its status becomes the new one.
	bm   *v1alpha1.Benchmark
	seen World
	now  time.Time
	view view
	cond reconcile.Conditions
	// end is the result of a run that has ended.
	end *results.Result
	out Decision
}

// Decide goes through the steps of a Benchmark's life. Each looks at one thing and says whether the next may follow.
func (k *Kind) Decide(bm *v1alpha1.Benchmark, seen World, now time.Time) Decision {
	p := &pass{bm: bm, seen: seen, now: now}
	bm.Status.ObservedGeneration = bm.Generation
	p.cond = reconcile.Conditions{List: &bm.Status.Conditions, Generation: bm.Generation, Now: now}
	for _, step := range []func(*pass) bool{
		alive,        // or its children go, and then it goes
		mayStart,     // a new run is wanted: is anything in its way?
		formerIsGone, // the children of the former run go first
		started,      // the run is stored before its first child exists
		underWay,     // or it is Complete, and only cleaning up is left
		childrenMade, // services, clients, credentials, jobs
		jobsWanted,   // or they are stopped: a timeout, a failure, a person
		progressTold, // conditions, phase and step, from what the jobs say
		hasEnded,     // no job is waited for any more
		evidenceRead, // the run directory was read
		countersRead, // also the last ones of services that are kept
		resultStored, // result.json is written, and seen
		secretsGone,  // credentials end with the run
		completed,    // the outcome
	} {
		if !step(p) {
			break
		}
	}
	p.out.Status = bm.Status
	return p.out
}

func (p *pass) do(e ...reconcile.Effect) { p.out.Do = append(p.out.Do, e...) }
func (p *pass) event(e reconcile.Event)  { p.out.Events = append(p.out.Events, e) }
func (p *pass) says(phase, step string) {
	p.bm.Status.Phase, p.bm.Status.Step = phase, reconcile.Clip(step, 256)
}
func (p *pass) run() *v1alpha1.RunStatus     { return p.bm.Status.Run }
func (p *pass) progressing(step string)      { p.cond.Progressing(v1alpha1.ReasonProgressing, step) }
func (p *pass) stalled(reason, words string) { p.cond.Stalled(reason, words) }

// lookAgain asks for a look after d, or earlier if one was asked for already.
func (p *pass) lookAgain(d time.Duration) {
	if p.out.After == 0 || d < p.out.After {
		p.out.After = d
	}
}

// alive removes the children of a Benchmark that is being deleted and lets it go once they are gone.
func alive(p *pass) bool {
	if p.bm.DeletionTimestamp.IsZero() {
		return true
	}
	if len(p.seen.Children) == 0 {
		p.out.Release = true
		return false
	}
	p.do(reconcile.Removal(p.seen.Children, reconcile.IsAbandoned(p.bm))...)
	p.cond.Progressing(v1alpha1.ReasonDeleting, "waits until its jobs are gone")
	p.says(phaseFinishing, "ends its jobs")
	p.lookAgain(reconcile.RemovalPause(p.seen.Children))
	return false
}

// underWay cleans up after a run that has ended, and stops there.
func underWay(p *pass) bool {
	if !p.run().Ended() {
		return true
	}
	running := 0
	for _, name := range sortedNames(p.seen.Jobs) {
		job := p.seen.Jobs[name]
		if reconcile.IsComplete(job.Status.Conditions) {
			continue
		}
		running++
		// What is kept may be told to stop later; whatever else still lives was refused or is on its way out.
		if (p.bm.Spec.Cleanup.Services != keep || !job.Spec.Run.KeepServices) && job.DeletionTimestamp.IsZero() {
			p.do(reconcile.Delete{Kind: reconcile.KindSlurmJob, Name: name, UID: job.UID})
		}
	}
	if running == 0 {
		p.do(reconcile.Removal(p.seen.Secrets, false)...)
	}
	// The end of the last run is what the conditions say, also under a newer generation.
	ended := meta.FindStatusCondition(p.bm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if ended != nil {
		p.cond.Ended(ended.Status, ended.Reason, ended.Message)
	}
	return false
}

// secretsGone deletes the credentials of a run that has ended. A service that is kept keeps its credential.
func secretsGone(p *pass) bool {
	if len(p.seen.Secrets) == 0 || p.kept() {
		return true
	}
	p.do(reconcile.Removal(p.seen.Secrets, false)...)
	p.lookAgain(soon)
	return false
}

// kept says that a job still serves after the last repeat.
func (p *pass) kept() bool {
	return slices.ContainsFunc(p.view.present, func(j *v1alpha1.SlurmJob) bool { return !reconcile.JobOver(j) })
}

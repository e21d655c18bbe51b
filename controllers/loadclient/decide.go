package loadclient

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
)

// Decision is what a LoadClient's controller wants next.
type Decision = reconcile.Decision[v1alpha1.LoadClientStatus]

// again is when to look again at what no watch tells of.
const again = 2 * time.Second

// pass is one decision in the making.
type pass struct {
	// c is a copy; its status becomes the new one.
	c    *v1alpha1.LoadClient
	seen World
	cond reconcile.Conditions
	// job is the newest of the client's jobs, and entry what it says of the client; nil for nothing.
	job   *v1alpha1.SlurmJob
	entry *v1alpha1.ComponentStatus
	// wantsRun says that the LoadClient needs a job of its own.
	wantsRun bool
	out      Decision
}

// Decide goes through the steps of a LoadClient's life. Each looks at one thing and says whether the next may follow.
func (k *Kind) Decide(c *v1alpha1.LoadClient, seen World, now time.Time) Decision {
	p := &pass{c: c, seen: seen, wantsRun: wantsRun(c, seen.Jobs)} // asked before the generation is noted
	p.cond = reconcile.Conditions{List: &c.Status.Conditions, Generation: c.Generation, Now: now}
	c.Status.ObservedGeneration = c.Generation
	c.Status.Mode, c.Status.Target = mode(c), target(c)
	for _, step := range []func(*pass) bool{
		alive,      // or its job goes, and then it goes
		begun,      // or a run of its own is wanted, and started
		told,       // what the jobs say is copied
		underWay,   // or it is Complete, and stays so
		hasEnded,   // or the load has ended: what was measured tells how
		hasJob,     // or it waits for one
		notRefused, // the job goes on without a person
		hasNodes,   // or it waits in the queue
		loads,      // in one of the phases of a load
	} {
		if !step(p) {
			break
		}
	}
	p.out.Status = c.Status
	return p.out
}

func (p *pass) do(e ...reconcile.Effect) { p.out.Do = append(p.out.Do, e...) }

// waits tells that work goes on.
func (p *pass) waits(phase, reason, words string) {
	p.c.Status.Phase = phase
	p.cond.Progressing(reason, words)
}

// mode is the pace in words.
func mode(c *v1alpha1.LoadClient) string {
	switch {
	case c.Spec.ClosedLoop != nil:
		return fmt.Sprintf("closed %d", c.Spec.ClosedLoop.Concurrency)
	case c.Spec.OpenLoop != nil:
		return fmt.Sprintf("open %s/s", c.Spec.OpenLoop.Rate)
	}
	return ""
}

// target is the service or the URL.
func target(c *v1alpha1.LoadClient) string {
	return reconcile.Clip(cmp.Or(c.Spec.Target.Service, c.Spec.Target.URL), 1024)
}

// alive removes what a LoadClient of its own made, and lets it go once that is gone.
func alive(p *pass) bool {
	if p.c.DeletionTimestamp.IsZero() {
		return true
	}
	if len(p.seen.Children) == 0 {
		p.out.Release = true
		return false
	}
	p.do(reconcile.Removal(p.seen.Children, reconcile.IsAbandoned(p.c))...)
	p.waits(rundir.PhaseDraining, v1alpha1.ReasonDeleting, "waits until its job is gone")
	p.out.After = reconcile.RemovalPause(p.seen.Children)
	return false
}

// begun starts a run of the LoadClient's own where one is wanted.
func begun(p *pass) bool {
	if p.wantsRun {
		start(p)
	}
	return !p.wantsRun
}

// told copies what the newest job says.
func told(p *pass) bool {
	s := &p.c.Status
	if len(p.seen.Jobs) > 0 {
		p.job = p.seen.Jobs[len(p.seen.Jobs)-1]
		s.Job = p.job.Name
	}
	var done int32
	for _, job := range p.seen.Jobs {
		if e := entry(p.c, job); e != nil {
			done += e.RepeatsDone
			p.entry = e
		}
	}
	if p.job == nil {
		return true
	}
	s.Repeats = fmt.Sprintf("%d/%d", done, repeats(&p.seen))
	if p.entry != nil {
		s.Repeat, s.Live = p.entry.Repeat, p.entry.Live
	}
	return true
}

// underWay leaves a LoadClient as it is that is Complete: its end does not change any more.
func underWay(p *pass) bool {
	c := meta.FindStatusCondition(p.c.Status.Conditions, v1alpha1.ConditionSucceeded)
	if !reconcile.IsComplete(p.c.Status.Conditions) || c == nil {
		return true
	}
	p.cond.Ended(c.Status, c.Reason, c.Message)
	return false
}

// hasJob tells what a LoadClient without a job waits for.
func hasJob(p *pass) bool {
	switch {
	case p.job != nil:
		return true
	case owned(p.c) && p.seen.Benchmark == nil:
		p.c.Status.Phase = rundir.PhaseFailed
		p.cond.Ended(metav1.ConditionFalse, v1alpha1.ReasonAborted, "the Benchmark that made this LoadClient is gone: delete it too")
	default:
		p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, "waits for its SlurmJob")
		p.unfinished("the load has not begun")
	}
	return false
}

// unfinished writes the conditions of a load that has not ended.
func (p *pass) unfinished(words string) {
	p.cond.False(v1alpha1.ConditionComplete, v1alpha1.ReasonProgressing, words)
	p.cond.Unknown(v1alpha1.ConditionSucceeded, v1alpha1.ReasonProgressing, words)
	p.cond.Unknown(v1alpha1.ConditionSound, v1alpha1.ReasonWaiting, "judged at the end of the load")
}

// notRefused passes on what only a person can lift.
func notRefused(p *pass) bool {
	p.unfinished("the load is under way")
	c := reconcile.JobRefused(p.job)
	if c == nil {
		return true
	}
	p.c.Status.Phase = rundir.PhaseWaiting
	p.cond.Stalled(c.Reason, fmt.Sprintf("SlurmJob %s: %s", p.job.Name, c.Message))
	return false
}

// hasNodes tells what the job waits for.
func hasNodes(p *pass) bool {
	words := reconcile.JobWaits(p.job)
	if words == "" {
		return true
	}
	p.waits(rundir.PhaseWaiting, v1alpha1.ReasonWaiting, words)
	return false
}

// loads tells the phase of the rank that is furthest behind.
func loads(p *pass) bool {
	phase := rundir.PhaseWaiting
	if p.entry != nil && p.entry.Phase != "" {
		phase = p.entry.Phase
	}
	switch phase {
	case rundir.PhaseWaiting:
		p.waits(phase, v1alpha1.ReasonWaiting, "waits for its service, or for the other ranks")
	case rundir.PhasePreparing:
		p.waits(phase, v1alpha1.ReasonProgressing, "stores what its load will read")
	case rundir.PhaseCleaning:
		p.waits(phase, v1alpha1.ReasonProgressing, "removes what it stored")
	case rundir.PhaseReady:
		p.waits(phase, v1alpha1.ReasonWaiting, "stands at the barrier")
	case rundir.PhaseEnded, rundir.PhaseFailed:
		p.waits(rundir.PhaseDraining, v1alpha1.ReasonProgressing, "the load ends")
	default:
		p.waits(phase, v1alpha1.ReasonMeasuring, "the load runs")
	}
	return true
}

// entry is what a job says of the client, or nil.
func entry(c *v1alpha1.LoadClient, job *v1alpha1.SlurmJob) *v1alpha1.ComponentStatus {
	return reconcile.JobEntry(job, v1alpha1.ComponentReference{Kind: reconcile.KindLoadClient, Name: c.Name})
}

// specHash is the SHA-256 of the spec without suspend.
func specHash(c *v1alpha1.LoadClient) string {
	spec := c.Spec.DeepCopy()
	spec.Suspend = false
	b, err := json.Marshal(spec)
	if err != nil {
		panic(err) // a struct of strings and numbers always marshals
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

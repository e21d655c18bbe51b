package slurmjob

import (
	"errors"
	"fmt"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// intended stores the attempt, and the hash of its plan, before anything is done for it.
func intended(p *pass) bool {
	a, m := p.attempt(), p.seen.made
	if handedIn(a) || m == nil {
		return false
	}
	if a != nil && a.PlanHash == m.out.Hash {
		return false
	}
	if a == nil {
		p.status.Attempts = append(p.status.Attempts, intend(m.number, m.key, p.seen.next.process, p.now))
		a = p.attempt()
	}
	a.PlanHash, a.GPUs, a.GPUSeconds = m.out.Hash, m.claim.gpus, m.claim.gpuSeconds
	p.status.Directory = m.directory
	p.toldIntended("the attempt is stored; its files are written next")
	p.do(WriteFiles{Key: m.key, First: m.first, Last: m.last})
	p.again(time.Millisecond)
	return true
}

// intend is a new attempt.
func intend(number int32, key slurmbridge.Key, process string, now time.Time) v1alpha1.Attempt {
	return v1alpha1.Attempt{
		Number: number, Key: string(key), State: v1alpha1.AttemptIntended,
		Process: reconcile.Clip(process, 64), IntendTime: stamp(now),
	}
}

// toldIntended writes the conditions of an attempt that nobody has handed in.
func (p *pass) toldIntended(message string) {
	p.status.Phase = "Intended"
	p.cond.False(v1alpha1.ConditionSubmitted, v1alpha1.ReasonIntended, message)
	p.cond.Progressing(v1alpha1.ReasonIntended, message)
}

// filesMissing writes the files of an attempt that was not handed in, and says what hinders it.
func filesMissing(p *pass) bool {
	a, m := p.attempt(), p.seen.made
	if handedIn(a) || m == nil || p.seen.written {
		return false
	}
	p.again(p.seen.patience.gap)
	p.do(WriteFiles{Key: m.key, First: m.first, Last: m.last})
	if p.seen.writeErr != nil {
		message := reconcile.Clip(fmt.Sprintf("the files of the attempt cannot be written: %v", p.seen.writeErr), 1024)
		p.cond.False(v1alpha1.ConditionSubmitted, v1alpha1.ReasonWorkDirUnusable, message)
		p.cond.Stalled(v1alpha1.ReasonWorkDirUnusable, message)
	}
	return true
}

// impossible ends an attempt that would wait in the queue for ever. One whose nodes are away goes into the queue, where it
// waits for them; but it does not keep away from nodes then, for it could not run without them if they came back.
func impossible(p *pass) bool {
	a, said := p.attempt(), p.seen.said
	if handedIn(a) || len(p.seen.jobs) > 0 {
		return false
	}
	switch {
	case said.away != nil:
		return p.withoutExclusion(said.away)
	case said.impossible == nil:
		return false
	case p.withoutExclusion(said.impossible):
		return true
	}
	p.refuse(said.impossible)
	return true
}

// notNow leaves a batch system alone for a while that takes no such job now, such as one more of a user who may have no more.
// It made none, so the attempt is handed in anew, under its key.
func notNow(p *pass) bool {
	a, why := p.attempt(), p.seen.said.notNow
	if handedIn(a) {
		why = p.seen.answer.notNow
	}
	if why == nil || a.JobID != "" || len(p.seen.jobs) > 0 {
		return false
	}
	a.Submits, a.SubmitTry, a.State, a.Lookups, a.MissingSince = 0, nil, v1alpha1.AttemptIntended, 0, nil
	pause := pauseOf(p.seen.refusals-1, a.Key)
	a.NotBefore = stamp(p.now.Add(pause))
	message := why.Error()
	if m := means(message); m != "" {
		message += " (" + m + ")"
	}
	message = reconcile.Clip(message+"; it is tried again", 1024)
	if p.seen.refusals == 1 {
		p.event(true, v1alpha1.ReasonSiteBusy, "Submit", message)
	}
	p.status.Phase = "Intended"
	p.cond.False(v1alpha1.ConditionSubmitted, v1alpha1.ReasonSiteBusy, message)
	p.cond.Progressing(v1alpha1.ReasonSiteBusy, message)
	p.again(pause)
	return true
}

// refuse ends an attempt that has no job and never will.
func (p *pass) refuse(err error) {
	p.cond.False(v1alpha1.ConditionSubmitted, v1alpha1.ReasonSubmitRefused, reconcile.Clip(err.Error(), 1024))
	p.finish(verdict{reason: v1alpha1.ReasonSubmitRefused, message: err.Error()})
}

// neverSubmitted hands the job in, held, unless the batch system knows it already: then another process did.
func neverSubmitted(p *pass) bool {
	a := p.attempt()
	if handedIn(a) || p.seen.made == nil || len(p.seen.jobs) > 0 {
		return false
	}
	if !p.seen.looked {
		p.again(p.seen.patience.gap)
		return true
	}
	p.toldIntended("the job is handed in")
	p.submit(a)
	return true
}

// submit stores one more try and makes it. The job's script and key are those of the intent.
func (p *pass) submit(a *v1alpha1.Attempt) {
	a.Submits++
	a.SubmitTry = stamp(p.now)
	a.Lookups, a.MissingSince = 0, nil
	p.do(Submit{Key: slurmbridge.Key(a.Key), Script: p.seen.made.out.Script})
	p.again(p.seen.patience.gap)
}

// refused ends an attempt that the batch system will never take.
func refused(p *pass) bool {
	a := p.attempt()
	if p.seen.answer.refused == nil || a.JobID != "" || len(p.seen.jobs) > 0 {
		return false
	}
	if p.withoutExclusion(p.seen.answer.refused) {
		return true
	}
	p.refuse(p.seen.answer.refused)
	return true
}

// unseen deals with a job that a good answer did not know.
func unseen(p *pass) bool {
	a := p.attempt()
	if _, ok := kept(a, p.seen.jobs); ok {
		return false
	}
	p.cancelDuplicates(a)
	p.again(p.seen.patience.gap)
	p.countMissing(a)
	if a.JobID == "" {
		p.uncertain(a)
		return true
	}
	p.mergeComponents()
	switch {
	case p.seen.exit != nil:
		// The run directory is the third witness: the job's script wrote its last line.
		p.finish(judge(p, witnessed(a, p.seen.exit)))
	case p.beats():
		a.Lookups, a.MissingSince = 0, nil // the batch system forgot a job that lives
	case p.missing(a, lookupsBeforeLost, p.seen.patience.lost):
		p.finish(verdict{
			reason:  v1alpha1.ReasonLost,
			message: fmt.Sprintf("the batch system does not know job %s any more, in %d answers over %s", a.JobID, lookupsBeforeLost, p.seen.patience.lost),
		})
	default:
		p.cond.Progressing(v1alpha1.ReasonWaiting, fmt.Sprintf("the batch system did not know job %s; it is lost once %d answers agree", a.JobID, lookupsBeforeLost))
	}
	return true
}

// unclearSubmits is how many submits may be answered with an error that nobody knows until it counts as a refusal. A look found
// no job after each.
const unclearSubmits = 5

// uncertain waits for a job that may or may not exist, then hands it in again under the same key.
func (p *pass) uncertain(a *v1alpha1.Attempt) {
	message := "the answer to the submit is not known; it is looked for before anything is done"
	if err := p.seen.answer.uncertain; err != nil {
		what := "the answer to the submit was lost"
		if errors.Is(err, slurmbridge.ErrUnclear) {
			what = "what the answer to the submit means is not known"
		}
		message = reconcile.Clip(fmt.Sprintf("%s; the job is looked for before anything is done: %v", what, err), 512)
	}
	if a.State != v1alpha1.AttemptUncertain {
		a.State = v1alpha1.AttemptUncertain
		p.event(true, v1alpha1.ReasonUncertain, "Submit", message)
	}
	p.cond.Unknown(v1alpha1.ConditionSubmitted, v1alpha1.ReasonUncertain, message)
	p.cond.Progressing(v1alpha1.ReasonUncertain, message)
	if !p.missing(a, lookupsBeforeSubmit, p.seen.patience.grace) {
		return
	}
	if err := p.seen.answer.uncertain; err != nil && p.seen.unclear >= unclearSubmits {
		p.refuse(fmt.Errorf("%d submits got the same kind of answer, and no job came of one: %w", p.seen.unclear, err))
		return
	}
	if a.SubmitTry != nil {
		if pause := a.SubmitTry.Add(pauseOf(int(a.Submits)-2, a.Key)).Sub(p.now); a.Submits > 1 && pause > 0 {
			p.again(pause)
			return
		}
	}
	switch m := p.seen.made; {
	case m == nil:
		return // what is to be handed in cannot be planned now
	case m.out.Hash != a.PlanHash:
		// What was to be handed in exists no more, and nobody knows a job of it.
		p.finish(verdict{reason: v1alpha1.ReasonLost, message: "the submit was lost, and the objects changed since: a new attempt plans anew"})
		return
	}
	p.submit(a)
}

// countMissing counts a good answer that did not know the job, if it came long enough after the last one.
func (p *pass) countMissing(a *v1alpha1.Attempt) {
	switch {
	case a.MissingSince == nil:
		a.MissingSince, a.Lookups = stamp(p.seen.asked), 1
	case a.Lookups < lookupsBeforeLost &&
		!p.seen.asked.Before(a.MissingSince.Add(time.Duration(a.Lookups)*p.seen.patience.gap)):
		a.Lookups++
	}
}

// missing says whether enough answers over enough time agree that there is no job. The time is that since the first of
// them, which was asked for after a submit had ended: a submit itself may take longer than any patience.
func (p *pass) missing(a *v1alpha1.Attempt, answers int32, wait time.Duration) bool {
	return a.Lookups >= answers && a.MissingSince != nil && !p.now.Before(a.MissingSince.Add(wait))
}

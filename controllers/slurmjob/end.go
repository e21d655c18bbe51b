package slurmjob

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// verdict is how an attempt ended.
type verdict struct {
	succeeded bool
	// reason is the attempt's; conditions carry it too, or say why in the words of the API's outcomes.
	reason, message string
	// interrupted says that the batch system calls it the site's doing.
	interrupted bool
}

// ends reads how a job ended, once its files had time to appear.
func ends(p *pass) bool {
	a, j := p.attempt(), p.batch
	if !p.settled() {
		message := fmt.Sprintf("job %s is over; its last files are read", j.ID)
		p.status.Phase = "Ending"
		p.cond.False(v1alpha1.ConditionRunning, "Ending", message)
		p.cond.Progressing("Ending", message)
		p.again(min(time.Second, p.seen.patience.settle))
		return true
	}
	p.status.Components = components(p.job, p.seen) // the last word is stored, however young the status is
	if a.StartTime != nil {
		p.cond.True(v1alpha1.ConditionScheduled, v1alpha1.ReasonRunning, fmt.Sprintf("job %s ran on %s", j.ID, reconcile.Clip(a.Nodes, 256)))
	}
	p.finish(judge(p, j))
	return true
}

// settled says that nothing more is to be expected from the run directory.
func (p *pass) settled() bool {
	if p.seen.overFor >= p.seen.patience.settle {
		return true
	}
	if p.attempt().StartTime == nil && p.seen.exit == nil && p.batch.Started.IsZero() {
		return p.batch.Phase != slurmbridge.Succeeded // it never ran, so it never wrote
	}
	if !p.seen.read || p.seen.exit == nil {
		return false
	}
	// A rank writes its last word before the job's script does, but a network file system may show it later.
	return p.seen.exit.Code != rundir.ExitOK || p.seen.plan == nil || !slices.ContainsFunc(components(p.job, p.seen),
		func(c v1alpha1.ComponentStatus) bool { return c.Exit == nil })
}

// witnessed is a job that only its exit.json tells of.
func witnessed(a *v1alpha1.Attempt, exit *rundir.Exit) slurmbridge.Job {
	j := slurmbridge.Job{ID: a.JobID, Key: slurmbridge.Key(a.Key), Cluster: a.Cluster, ExitCode: exit.Code, Phase: slurmbridge.Failed, Reason: v1alpha1.ReasonNonZeroExit}
	if exit.Code == rundir.ExitOK {
		j.Phase, j.Reason = slurmbridge.Succeeded, v1alpha1.ReasonCompleted
	}
	return j
}

// judge tells how a job ended: the site's doing first, then a person's or a limit's, then the components' own.
func judge(p *pass, j slurmbridge.Job) verdict {
	exit := p.seen.exit
	exitReason, exitMessage := scriptSays(j.ExitCode)
	if exit != nil {
		exitReason, exitMessage = exit.Reason, exit.Message
	}
	a, failed := p.attempt(), firstFailed(p)
	ofPull, isPull := judgePull(p, j, exitReason, exitMessage)
	switch {
	case a.CancelTime != nil && a.Reason == v1alpha1.ReasonLaunchFailure, j.Reason == v1alpha1.ReasonCancelled && p.seen.unbegun && a.CancelTime == nil:
		// Slurm itself cancels a job that it could not start and may not start again. Squeue does not tell who it was,
		// but a person's cancel finds the script at work.
		return verdict{reason: v1alpha1.ReasonLaunchFailure, message: blames(v1alpha1.ReasonLaunchFailure, a.Nodes, j)}
	case exitReason == rundir.ExitReasonRequeued, j.ExitCode == rundir.ExitRequeued, a.CancelTime != nil && j.Restarts > 0:
		// The batch system ended the first start as it ends any job, and that one may have written its own end: what the
		// second start says by its exit code counts.
		return verdict{reason: v1alpha1.ReasonRequeued, message: fmt.Sprintf("the batch system started job %s again, and a measurement is never resumed", j.ID)}
	case j.Phase == slurmbridge.Interrupted:
		return verdict{interrupted: true, reason: word(j.Reason), message: blames(word(j.Reason), a.Nodes, j)}
	case isPull:
		return ofPull
	case ranOutOfMemory(j, failed):
		return verdict{reason: rundir.ExitReasonOutOfMemory, message: p.outOfMemory(j)}
	case j.Reason == v1alpha1.ReasonTimeLimit, exitReason == rundir.ExitReasonTimeLimit:
		return verdict{reason: v1alpha1.ReasonTimeLimit, message: fmt.Sprintf("job %s reached its time limit%s: raise resources.timeLimit; what it measured until then is kept, marked truncated", j.ID, p.limitWords())}
	case j.Reason == v1alpha1.ReasonCancelled:
		return verdict{reason: v1alpha1.ReasonCancelled, message: fmt.Sprintf("job %s was cancelled at the batch system", j.ID)}
	case exitReason == rundir.ExitReasonClaimed:
		return verdict{reason: word(exitReason), message: fmt.Sprintf("another job holds the folder %s; job %s did nothing", p.status.Directory, j.ID)}
	case exitReason == rundir.ExitReasonWorkDirUnusable && (failed == nil || badness(failed.Exit) < cause):
		return verdict{reason: word(exitReason), message: exitMessage} // the cause itself could not be written
	case failed != nil:
		return verdict{reason: word(failed.Exit.Reason), message: fmt.Sprintf("%s %s: %s", failed.Kind, failed.Name, sentence(failed.Exit))}
	case exitReason == rundir.ExitReasonStopped:
		return verdict{reason: word(exitReason), message: fmt.Sprintf("job %s was told to end", j.ID)}
	case j.Phase != slurmbridge.Succeeded || exit != nil && exit.Code != rundir.ExitOK:
		if exitReason != "" && exitReason != rundir.ExitReasonEnded {
			return verdict{reason: word(exitReason), message: exitMessage}
		}
		return verdict{reason: word(orElse(j.Reason, v1alpha1.ReasonNonZeroExit)), message: fmt.Sprintf("job %s %s; job.log in %s says why", j.ID, howEnded(j), p.status.Directory)}
	}
	if missing := withoutEnd(p); missing != "" {
		return verdict{reason: v1alpha1.ReasonFailed, message: missing}
	}
	if pullsOnly(p.job) {
		return pulled(p, j)
	}
	return verdict{succeeded: true, reason: v1alpha1.ReasonCompleted, message: fmt.Sprintf("job %s and all its components ended as planned", j.ID)}
}

// howEnded is how the script of a job ended, in words.
func howEnded(j slurmbridge.Job) string {
	if j.Signal > 0 { // the exit code is that of no program
		return fmt.Sprintf("was ended by signal %d", j.Signal)
	}
	return fmt.Sprintf("ended with exit code %d", j.ExitCode)
}

// scriptSays is what an exit code of job.sh means where there is no exit.json to say so: the folder may be the trouble.
func scriptSays(code int) (reason, message string) {
	switch code {
	case rundir.ExitWorkDirUnusable:
		return rundir.ExitReasonWorkDirUnusable, "the job could not use its folder; the batch system's log of the job says why"
	case rundir.ExitClaimed:
		return rundir.ExitReasonClaimed, ""
	case rundir.ExitRequeued:
		return rundir.ExitReasonRequeued, ""
	case rundir.ExitUnknownPlan:
		return rundir.ExitReasonUnknownPlan, "assay-node does not know this version of plan.json: use the assay-node that belongs to assay"
	}
	return "", ""
}

// firstFailed is the component whose end explains the others': the first cause, else the first that follows from one.
func firstFailed(p *pass) *v1alpha1.ComponentStatus {
	var out *v1alpha1.ComponentStatus
	for i := range p.status.Components {
		c := &p.status.Components[i]
		if c.Exit == nil || asPlanned(c.Exit) {
			continue
		}
		if out == nil || badness(c.Exit) > badness(out.Exit) {
			out = c
		}
	}
	return out
}

// withoutEnd says what is missing from a job that claims to have ended well.
func withoutEnd(p *pass) string {
	switch {
	case p.seen.planErr != nil:
		return fmt.Sprintf("the job ended with exit code 0, but its plan cannot be read: %v", p.seen.planErr)
	case p.seen.exit == nil:
		return fmt.Sprintf("the job ended with exit code 0, but there is no exit.json in %s", p.status.Directory)
	}
	for i := range p.status.Components {
		if c := &p.status.Components[i]; c.Exit == nil {
			return fmt.Sprintf("the job ended with exit code 0, but %s %s wrote no end", c.Kind, c.Name)
		}
	}
	return ""
}

func says(j slurmbridge.Job) string {
	if j.Message != "" && j.Message != "None" {
		return fmt.Sprintf("%s (%s)", j.State, reconcile.Clip(j.Message, 256))
	}
	return j.State
}

func sentence(e *v1alpha1.ComponentExit) string {
	if e.Message != "" {
		return e.Message
	}
	return fmt.Sprintf("ended with reason %s and exit code %d", e.Reason, e.Code)
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// begun says whether a component got past its waiting: a measurement may have started.
func begun(list []v1alpha1.ComponentStatus) bool {
	return slices.ContainsFunc(list, func(c v1alpha1.ComponentStatus) bool { return c.Heartbeat > 0 })
}

// endAttempt stores the end of the newest attempt, and has its credentials emptied where it never began.
func (p *pass) endAttempt(a *v1alpha1.Attempt, class v1alpha1.AttemptClass, reason, message string) {
	a.State, a.Class, a.Reason, a.Message = v1alpha1.AttemptEnded, class, word(reason), reconcile.Clip(message, 1024)
	a.Lookups, a.MissingSince = 0, nil
	p.blankSecrets(a)
}

// blankSecrets empties the credentials of the newest attempt where it never began: only a job that begins removes them.
func (p *pass) blankSecrets(a *v1alpha1.Attempt) {
	if begun(p.status.Components) {
		return
	}
	var files []string
	switch m := p.seen.made; {
	case m != nil:
		for _, s := range m.out.Secrets {
			files = append(files, filepath.Join(m.directory, s.File))
		}
	case p.seen.plan != nil:
		for _, name := range p.seen.plan.Credentials() {
			files = append(files, filepath.Join(p.status.Directory, rundir.SecretsDir, name))
		}
	}
	if len(files) > 0 {
		p.do(Blank{Key: slurmbridge.Key(a.Key), Files: files})
	}
}

// finish ends the newest attempt, and either intends the next one or ends the object.
func (p *pass) finish(v verdict) {
	a := p.attempt()
	end := kindOf(v, begun(p.status.Components))
	p.endAttempt(a, end.class, v.reason, v.message)
	p.do(Forget{Key: slurmbridge.Key(a.Key)})
	again, why := p.mayTryAgain(a, end)
	if again {
		p.tryAgain(v)
		return
	}
	if why != "" {
		v.message += "; " + why
	}
	p.status.Phase = "Failed"
	if v.succeeded {
		p.status.Phase = "Ended"
	}
	if a.JobID != "" {
		p.cond.False(v1alpha1.ConditionRunning, word(v.reason), fmt.Sprintf("job %s is over", a.JobID))
	}
	p.event(!v.succeeded, "JobEnded", "End", fmt.Sprintf("%s: %s", word(v.reason), v.message))
	status := metav1.ConditionFalse
	if v.succeeded {
		status = metav1.ConditionTrue
	}
	p.cond.Ended(status, outcome(v.reason), reconcile.Clip(v.message, 1024))
	p.out.After = 0
}

// outcome turns an attempt's reason into a condition's: the API has words of its own for an end by a limit or by people.
func outcome(reason string) string {
	switch reason {
	case v1alpha1.ReasonTimeLimit:
		return v1alpha1.ReasonTimedOut
	case v1alpha1.ReasonCancelled, rundir.ExitReasonStopped, rundir.ExitReasonAborted:
		return v1alpha1.ReasonAborted
	}
	return word(reason)
}

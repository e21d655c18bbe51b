package loadclient

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// loadOver says that no rank of the client will measure any more.
func loadOver(c *v1alpha1.LoadClient, w *World) bool {
	if bm := w.Benchmark; bm != nil && bm.Status.Run.Ended() && bm.Status.Run.Name == c.Labels[v1alpha1.LabelRun] {
		return true
	}
	if len(w.Jobs) == 0 {
		return !owned(c) && c.Status.Job != ""
	}
	job := w.Jobs[len(w.Jobs)-1]
	e := entry(c, job)
	if reconcile.JobOver(job) && reconcile.JobEndedBadly(job) != nil {
		return true
	}
	last := max(1, job.Spec.Run.FirstRepeat) + max(1, job.Spec.Run.Repeats.Count) - 1
	// After an end by others the job may have another attempt.
	return last >= repeats(w) && (reconcile.JobOver(job) || e != nil && e.Exit != nil && !rundir.EndedByOthers(e.Exit.Reason))
}

// hasEnded tells how a load ended, from what its ranks measured.
func hasEnded(p *pass) bool {
	if !loadOver(p.c, &p.seen) {
		return true
	}
	if p.job == nil && !owned(p.c) {
		p.ended(metav1.ConditionFalse, v1alpha1.ReasonAborted, "SlurmJob "+p.c.Status.Job+" was deleted")
		return false
	}
	if p.seen.Measured == nil {
		p.unfinished("the load has ended")
		p.waits(rundir.PhaseDraining, v1alpha1.ReasonProgressing, "the load has ended; its results are read once the site answers: "+p.seen.Silent)
		p.out.After = again
		return false
	}
	r, err := p.seen.Measured.judge(p.c)
	if err != nil {
		p.ended(metav1.ConditionFalse, v1alpha1.ReasonFailed, reconcile.Clip(err.Error(), 1024))
		return false
	}
	p.sound(r)
	p.c.Status.Results = headline(r)
	outcome, message := p.outcome(r)
	p.ended(reconcile.Success(results.Succeeded(outcome)), outcome, reconcile.Clip(message, 1024))
	return false
}

// outcome is the result's own; where nothing was measured, the job's words say more.
func (p *pass) outcome(r results.Result) (outcome, message string) {
	if p.job == nil || p.seen.Measured.Reason != "" || len(p.seen.Measured.Results) > 0 {
		return r.Outcome, r.Message
	}
	c := reconcile.JobEndedBadly(p.job)
	if c == nil {
		return r.Outcome, r.Message
	}
	switch c.Reason {
	case v1alpha1.ReasonTimedOut, v1alpha1.ReasonTimeLimit:
		outcome = v1alpha1.ReasonTimedOut
	case v1alpha1.ReasonAborted, v1alpha1.ReasonCancelled:
		outcome = v1alpha1.ReasonAborted
	default:
		outcome = v1alpha1.ReasonFailed
	}
	return outcome, fmt.Sprintf("SlurmJob %s: %s", p.job.Name, reconcile.Sentence(c.Reason, c.Message))
}

// ended writes the end of the load.
func (p *pass) ended(status metav1.ConditionStatus, reason, message string) {
	p.c.Status.Phase = rundir.PhaseEnded
	if status == metav1.ConditionFalse {
		p.c.Status.Phase = rundir.PhaseFailed
	}
	if meta.FindStatusCondition(p.c.Status.Conditions, v1alpha1.ConditionSound) == nil {
		p.cond.Unknown(v1alpha1.ConditionSound, reason, "nothing was measured")
	}
	p.cond.Ended(status, reason, message)
	p.out.Events = append(p.out.Events, reconcile.Event{
		Warning: status != metav1.ConditionTrue, Reason: "LoadEnded", Action: "Judge", Message: reason + ": " + message,
	})
}

// sound tells whether the client limited the result.
func (p *pass) sound(r results.Result) {
	switch {
	case len(p.seen.Measured.Results) == 0:
		p.cond.Unknown(v1alpha1.ConditionSound, v1alpha1.ReasonFailed, "nothing was measured")
	case r.Clients[0].Sound:
		p.cond.True(v1alpha1.ConditionSound, v1alpha1.ReasonWithinLimits, "the client did not limit the result")
	default:
		words := "the client limited the result"
		if len(r.Clients[0].Limits) > 0 {
			words = r.Clients[0].Limits[0]
		}
		p.cond.False(v1alpha1.ConditionSound, v1alpha1.ReasonClientLimited, reconcile.Clip(words, 1024))
	}
}

// headline are the numbers that stand in the status.
func headline(r results.Result) []v1alpha1.ResultValue {
	var out []v1alpha1.ResultValue
	if len(r.Clients[0].Repeats) == 0 {
		return nil
	}
	for _, n := range results.Headlines() {
		v := results.Find(r.Clients[0].Values, n.Metric, n.Statistic)
		if v == nil {
			continue
		}
		out = append(out, v1alpha1.ResultValue{
			Client: reconcile.Clip(r.Clients[0].Name, 40), Metric: v.Metric, Statistic: v.Statistic, Unit: v.Unit,
			Value: results.Decimal(v.Value), Requests: v.Requests, Runs: int32(v.Runs),
			Low: results.Decimal(v.Low), High: results.Decimal(v.High), Interval: v.Interval, Note: reconcile.Clip(v.Note, 256),
		})
	}
	return out
}

package benchmark

import (
	"fmt"
	"slices"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
)

// view is how far the jobs of a run have come.
type view struct {
	// missing are the jobs to make now.
	missing []*v1alpha1.SlurmJob
	// present are the jobs that exist, in the order of the waves; left those that the run still waits for.
	present, left []*v1alpha1.SlurmJob
	// gone are the names of jobs that were seen before and do not exist any more.
	gone []string
	// stop says why the run ends before its time; nil for not.
	stop *ending
	// ended says that the run waits for no job any more.
	ended bool
}

// ending is why a run ends before its time.
type ending struct{ reason, message string }

// look derives the view from the jobs that exist, by name.
func look(bm *v1alpha1.Benchmark, jobs map[string]*v1alpha1.SlurmJob, now time.Time) view {
	var v view
	run := bm.Status.Run
	for _, w := range waves(bm, run) {
		if !v.add(run, w, jobs) {
			break
		}
	}
	v.stop = v.why(bm, now)
	if v.stop != nil {
		v.missing = nil
	}
	v.ended = len(v.left) == 0 && len(v.missing) == 0
	return v
}

// add looks at one wave and says whether the next one may be made.
func (v *view) add(run *v1alpha1.RunStatus, w wave, jobs map[string]*v1alpha1.SlurmJob) (next bool) {
	var present []*v1alpha1.SlurmJob
	whole := true
	for _, want := range w {
		job := jobs[want.Name]
		switch {
		case job != nil:
			present = append(present, job)
		case slices.Contains(run.Jobs, want.Name):
			v.gone = append(v.gone, want.Name)
		default:
			v.missing = append(v.missing, want)
		}
		whole = whole && job != nil
	}
	loadEnded := whole && loadEnded(present)
	next = whole
	for _, job := range present {
		settled := reconcile.JobOver(job) || loadEnded && job.Spec.Run.KeepServices
		if !settled {
			v.left = append(v.left, job)
		}
		next = next && settled
	}
	v.present = append(v.present, present...)
	return next
}

// why says why the run ends early. A failed job comes first: what follows from it is not the cause.
func (v *view) why(bm *v1alpha1.Benchmark, now time.Time) *ending {
	for _, job := range v.present {
		if e := endedBadly(job); e != nil {
			return e
		}
	}
	waiting := len(v.left) + len(v.missing) + len(v.gone)
	if at, ok := deadline(bm); ok && waiting > 0 && !now.Before(at) {
		return &ending{v1alpha1.ReasonTimedOut, fmt.Sprintf("the run did not end within its timeout of %s", bm.Spec.Timeout)}
	}
	for _, job := range v.left {
		if !job.DeletionTimestamp.IsZero() {
			return &ending{v1alpha1.ReasonAborted, fmt.Sprintf("SlurmJob %s was deleted", job.Name)}
		}
	}
	if len(v.gone) > 0 {
		return &ending{v1alpha1.ReasonAborted, fmt.Sprintf("SlurmJob %s was deleted", v.gone[0])}
	}
	return nil
}

// deadline is when the run's timeout ends it.
func deadline(bm *v1alpha1.Benchmark) (time.Time, bool) {
	d := bm.Spec.Timeout.Or(0)
	return bm.Status.Run.StartTime.Add(d), d > 0
}

// endedBadly says how a job that is over ended without success, or nil.
func endedBadly(job *v1alpha1.SlurmJob) *ending {
	c := reconcile.JobEndedBadly(job)
	if c == nil {
		return nil
	}
	e := &ending{v1alpha1.ReasonFailed, fmt.Sprintf("SlurmJob %s: %s", job.Name, reconcile.Sentence(c.Reason, c.Message))}
	switch c.Reason {
	case v1alpha1.ReasonTimeLimit, v1alpha1.ReasonTimedOut:
		e.reason = v1alpha1.ReasonTimedOut
	case v1alpha1.ReasonCancelled, v1alpha1.ReasonAborted:
		e.reason = v1alpha1.ReasonAborted
	}
	return e
}

// loadEnded says that every client in these jobs has ended, and not because of something after which its job may be tried
// again.
func loadEnded(jobs []*v1alpha1.SlurmJob) bool {
	for _, job := range jobs {
		if reconcile.JobOver(job) {
			continue
		}
		for _, ref := range job.Spec.Components {
			if ref.Kind != reconcile.KindLoadClient {
				continue
			}
			if c := reconcile.JobEntry(job, ref); c == nil || c.Exit == nil || rundir.EndedByOthers(c.Exit.Reason) {
				return false
			}
		}
	}
	return len(jobs) > 0
}

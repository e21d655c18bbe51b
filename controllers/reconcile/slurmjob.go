package reconcile

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

// What the owners of SlurmJobs read from them, in one place so that they agree.

// IsComplete says that a run ended, however it ended.
func IsComplete(conditions []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionComplete)
}

// JobRefused returns the Stalled condition of a job that goes no further until a person acts, or nil.
func JobRefused(job *v1alpha1.SlurmJob) *metav1.Condition {
	stalled := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionStalled)
	if stalled == nil || stalled.Status != metav1.ConditionTrue || IsComplete(job.Status.Conditions) {
		return nil
	}
	return stalled
}

// JobOver says that nothing more comes of a job: it is Complete, or its parameters were refused.
func JobOver(job *v1alpha1.SlurmJob) bool {
	if IsComplete(job.Status.Conditions) {
		return true
	}
	refused := JobRefused(job)
	return refused != nil && refused.Reason == v1alpha1.ReasonInvalidParameters
}

// JobEndedBadly returns the condition that says why a job that is over did not succeed, or nil.
func JobEndedBadly(job *v1alpha1.SlurmJob) *metav1.Condition {
	if !JobOver(job) || meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionSucceeded) {
		return nil
	}
	if refused := JobRefused(job); refused != nil {
		return refused
	}
	if c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c
	}
	return &metav1.Condition{Reason: v1alpha1.ReasonFailed, Message: "it ended without success"}
}

// JobWaits says in plain words what a job waits for before it runs, or "" when it runs or is over.
func JobWaits(job *v1alpha1.SlurmJob) string {
	if JobOver(job) {
		return ""
	}
	if c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Reason == v1alpha1.ReasonSiteBusy {
		return c.Message
	}
	switch job.Status.Phase {
	case "", string(v1alpha1.AttemptIntended), string(v1alpha1.AttemptSubmitted), string(v1alpha1.AttemptUncertain):
		return "the job is handed in"
	case string(v1alpha1.AttemptQueued):
		if job.Status.Waiting != "" {
			return "waits for the queue: " + job.Status.Waiting
		}
		return "waits for the queue"
	}
	return ""
}

// GPUSecondsUsed is what the attempts of a job that have ended used of their GPUs. One of which nobody knows the end is
// taken to have used all of its time.
func GPUSecondsUsed(job *v1alpha1.SlurmJob) (used int64) {
	for i := range job.Status.Attempts {
		a := &job.Status.Attempts[i]
		switch {
		case a.State != v1alpha1.AttemptEnded || a.StartTime == nil:
		case a.EndTime == nil:
			used += a.GPUSeconds
		default:
			used += int64(a.GPUs) * max(0, int64(a.EndTime.Sub(a.StartTime.Time).Seconds()))
		}
	}
	return used
}

// JobSilent says that the last look at the site of a job that is not over failed.
func JobSilent(job *v1alpha1.SlurmJob) bool {
	c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionSynced)
	return c != nil && c.Reason == v1alpha1.ReasonSiteUnreachable && !JobOver(job)
}

// JobRuns says whether a component is one of the job's.
func JobRuns(job *v1alpha1.SlurmJob, ref v1alpha1.ComponentReference) bool {
	return slices.Contains(job.Spec.Components, ref)
}

// JobEntry is what a job says of one of its components, or nil.
func JobEntry(job *v1alpha1.SlurmJob, ref v1alpha1.ComponentReference) *v1alpha1.ComponentStatus {
	for i := range job.Status.Components {
		if c := &job.Status.Components[i]; c.Kind == ref.Kind && c.Name == ref.Name {
			return c
		}
	}
	return nil
}

// LowCoverage says that fewer than 95 % of the scrapes were good, and known whether there are enough to say so.
func LowCoverage(s *v1alpha1.Scrapes) (low, known bool) {
	const enough = 5
	if s == nil || s.Due < enough {
		return false, false
	}
	return 100*s.Good < 95*s.Due, true
}

// Words are those of an error that is an observation, such as that of a site that does not answer; "" for none.
func Words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Sentence joins a reason and a message, either of which may be empty.
func Sentence(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return reason + ": " + message
}

// Clip shortens words to what a field may hold, at the border of a character.
func Clip(s string, bytes int) string {
	if len(s) <= bytes {
		return s
	}
	const more = "…"
	cut := bytes - len(more)
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + more
}

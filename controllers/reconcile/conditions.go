package reconcile

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

// Conditions writes the conditions of one object. It keeps the time of the last transition when a status does not
// change, so an unchanged decision is an unchanged status.
type Conditions struct {
	// List is the object's list, changed in place.
	List *[]metav1.Condition
	// Generation is the generation that the conditions speak of.
	Generation int64
	// Now is the time of a transition.
	Now time.Time
}

// maxMessage is the API's bound on a condition's message.
const maxMessage = 32768

// Set writes one condition.
func (c Conditions) Set(kind string, status metav1.ConditionStatus, reason, message string) {
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	meta.SetStatusCondition(c.List, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: c.Generation,
		LastTransitionTime: metav1.NewTime(c.Now.Truncate(time.Second)),
	})
}

// True writes a condition that holds.
func (c Conditions) True(kind, reason, message string) {
	c.Set(kind, metav1.ConditionTrue, reason, message)
}

// False writes a condition that does not hold.
func (c Conditions) False(kind, reason, message string) {
	c.Set(kind, metav1.ConditionFalse, reason, message)
}

// Unknown writes a condition that cannot be told.
func (c Conditions) Unknown(kind, reason, message string) {
	c.Set(kind, metav1.ConditionUnknown, reason, message)
}

// Remove deletes a condition.
func (c Conditions) Remove(kind string) { meta.RemoveStatusCondition(c.List, kind) }

// Is says whether a condition is true.
func (c Conditions) Is(kind string) bool { return meta.IsStatusConditionTrue(*c.List, kind) }

// The four states that kstatus can tell apart. Each writes Ready, Reconciling and Stalled together, so that they never
// contradict each other.

// Current: the object is what its spec asks for, or its run ended well.
func (c Conditions) Current(reason, message string) {
	c.True(v1alpha1.ConditionReady, reason, message)
	c.Remove(v1alpha1.ConditionReconciling)
	c.Remove(v1alpha1.ConditionStalled)
}

// Progressing: work goes on.
func (c Conditions) Progressing(reason, message string) {
	c.False(v1alpha1.ConditionReady, reason, message)
	c.True(v1alpha1.ConditionReconciling, reason, message)
	c.Remove(v1alpha1.ConditionStalled)
}

// Stalled: nothing more happens until a person acts, or the run ended without success.
func (c Conditions) Stalled(reason, message string) {
	c.False(v1alpha1.ConditionReady, reason, message)
	c.Remove(v1alpha1.ConditionReconciling)
	c.True(v1alpha1.ConditionStalled, reason, message)
}

// Suspended: a person asked for nothing to be started.
func (c Conditions) Suspended(message string) {
	c.False(v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, message)
	c.Remove(v1alpha1.ConditionReconciling)
	c.Remove(v1alpha1.ConditionStalled)
}

// Success is the status of an answer that may not be known.
func Success(yes, known bool) metav1.ConditionStatus {
	switch {
	case !known:
		return metav1.ConditionUnknown
	case yes:
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// Ended writes Complete and Succeeded, and the state that follows from them: a run that ended without success, or of
// which that cannot be told, is stalled with the same reason.
func (c Conditions) Ended(succeeded metav1.ConditionStatus, reason, message string) {
	c.True(v1alpha1.ConditionComplete, reason, message)
	c.Set(v1alpha1.ConditionSucceeded, succeeded, reason, message)
	if succeeded == metav1.ConditionTrue {
		c.Current(reason, message)
		return
	}
	c.Stalled(reason, message)
}

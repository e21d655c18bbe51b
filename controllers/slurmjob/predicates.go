package slurmjob

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"assay.bench/api/v1alpha1"
)

// siteChanged lets a Site wake its jobs when what they wait for changed: not with every count of its jobs.
func siteChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.Site)
		after, ok2 := e.ObjectNew.(*v1alpha1.Site)
		return ok && ok2 && (before.Generation != after.Generation || readiness(before) != readiness(after))
	}}
}

type ready struct {
	status, reason, message string
}

func readiness(s *v1alpha1.Site) ready {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		return ready{}
	}
	return ready{string(c.Status), c.Reason, c.Message}
}

// specChanged lets a component wake its jobs when it comes, goes or is another one: not with every change of its status.
func specChanged() predicate.Predicate { return predicate.GenerationChangedPredicate{} }

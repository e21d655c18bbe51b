package harness

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

// again is when a wait looks again although no status was stored: for what changes in the cluster or is deleted.
const again = 200 * time.Millisecond

// Until waits until look returns "", and ends the test with its last answer otherwise.
func (w *World) Until(what string, look func() string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), w.patience)
	defer cancel()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		last := look()
		if last == "" {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("%s did not come about: %s", what, last)
		}
	}
}

// Get reads an object of the World's namespace by its name, and says whether it exists.
func (w *World) Get(o client.Object, name string) bool {
	w.t.Helper()
	err := w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: name}, o)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return err == nil
}

// Create stores an object in the World's namespace.
func (w *World) Create(o client.Object) {
	w.t.Helper()
	o.SetNamespace(w.Namespace)
	if err := w.Client.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// Change edits an object of the World's namespace as a user does, and returns what the API server refused it with.
func (w *World) Change(o client.Object, edit func()) error {
	w.t.Helper()
	for {
		if err := w.Client.Get(w.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			w.t.Fatal(err)
		}
		edit()
		if err := w.Client.Update(w.t.Context(), o); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// Delete asks for the deletion of an object.
func (w *World) Delete(o client.Object) {
	w.t.Helper()
	if err := w.Client.Delete(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// UntilGone waits until an object does not exist any more.
func (w *World) UntilGone(o client.Object) {
	w.t.Helper()
	o = o.DeepCopyObject().(client.Object)
	w.Until(fmt.Sprintf("the end of %T %s", o, o.GetName()), func() string {
		if !w.Get(o, o.GetName()) {
			return ""
		}
		return fmt.Sprintf("it is still there: %v", ConditionsOf(o))
	})
}

// UntilCondition waits until a condition, as "True Reason" or only "True", is that of the object's present generation.
func (w *World) UntilCondition(o client.Object, kind, want string) {
	w.t.Helper()
	w.Until(fmt.Sprintf("%s=%s of %T %s", kind, want, o, o.GetName()), func() string {
		if !w.Get(o, o.GetName()) {
			return "it does not exist"
		}
		if c := ConditionOf(o, kind); c == nil || c.ObservedGeneration != o.GetGeneration() || !strings.HasPrefix(string(c.Status)+" "+c.Reason+" ", want+" ") {
			return fmt.Sprint(ConditionsOf(o))
		}
		return ""
	})
}

// ConditionsOf returns the conditions of an object of ours.
func ConditionsOf(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.Benchmark:
		return o.Status.Conditions
	case *v1alpha1.Service:
		return o.Status.Conditions
	case *v1alpha1.LoadClient:
		return o.Status.Conditions
	case *v1alpha1.SlurmJob:
		return o.Status.Conditions
	case *v1alpha1.Site:
		return o.Status.Conditions
	}
	return nil
}

// ConditionOf returns one condition, or nil.
func ConditionOf(o client.Object, kind string) *metav1.Condition {
	return meta.FindStatusCondition(ConditionsOf(o), kind)
}

// Jobs returns the SlurmJobs of the World's namespace.
func (w *World) Jobs() []v1alpha1.SlurmJob {
	w.t.Helper()
	var list v1alpha1.SlurmJobList
	w.list(&list)
	return list.Items
}

func (w *World) list(list client.ObjectList) {
	w.t.Helper()
	if err := w.Client.List(w.t.Context(), list, client.InNamespace(w.Namespace)); err != nil {
		w.t.Fatal(err)
	}
}

// Objects names what a benchmark leaves behind while it exists, all but Sites: the objects of the first kind that has any.
func (w *World) Objects() []string {
	w.t.Helper()
	var out []string
	for _, list := range []client.ObjectList{
		&v1alpha1.BenchmarkList{}, &v1alpha1.ServiceList{}, &v1alpha1.LoadClientList{}, &v1alpha1.SlurmJobList{}, &corev1.SecretList{},
	} {
		w.list(list)
		items, err := meta.ExtractList(list)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, item := range items {
			o := item.(client.Object)
			out = append(out, fmt.Sprintf("%T %s", o, o.GetName()))
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

package site

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
)

// goes is a SlurmJob that is about to go, after some seconds on two GPUs.
func goes(name string, seconds int) *v1alpha1.SlurmJob {
	job := user()
	job.Name, job.UID, job.Finalizers = name, types.UID(name), []string{v1alpha1.FinalizerJobs}
	job.DeletionTimestamp = &metav1.Time{Time: noon}
	job.Status.Attempts = []v1alpha1.Attempt{{
		Number: 1, Submits: 1, State: v1alpha1.AttemptEnded, GPUs: 2, GPUSeconds: 7200,
		StartTime: &metav1.Time{Time: noon}, EndTime: &metav1.Time{Time: noon.Add(time.Duration(seconds) * time.Second)},
	}}
	return job
}

// What a SlurmJob used is taken over once, before it goes, whatever happens between two looks.
func TestChargesOnce(t *testing.T) {
	alive := goes("alive", 100)
	alive.Status.Attempts[0].State = v1alpha1.AttemptRunning
	stays := goes("stays", 100)
	stays.DeletionTimestamp = nil
	lost := goes("lost", 0)
	lost.Status.Attempts[0].EndTime = nil
	k, _, _ := kind(t, goes("a", 100), goes("b", 50), goes("idle", 0), alive, stays, lost)
	site := simSite()
	site.Spec.Limits.GPUHours = "10"
	look := func() {
		t.Helper()
		d := decide(site.DeepCopy(), perform(t, k, site), noon)
		site.Status.GPUSecondsUsed, site.Status.Charged = d.Status.GPUSecondsUsed, d.Status.Charged
	}
	for range 3 {
		look()
		if diff := cmp.Diff([]string{"a", "b", "lost"}, site.Status.Charged); diff != "" || site.Status.GPUSecondsUsed != 200+100+7200 {
			t.Fatalf("%d GPU-seconds, charged (-want +got):\n%s", site.Status.GPUSecondsUsed, diff)
		}
	}
	gone := goes("a", 100)
	if err := k.Client.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "a"}, gone); err != nil {
		t.Fatal(err)
	}
	gone.Finalizers = nil
	if err := k.Client.Update(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	look()
	if diff := cmp.Diff([]string{"b", "lost"}, site.Status.Charged); diff != "" || site.Status.GPUSecondsUsed != 7500 {
		t.Errorf("%d GPU-seconds, charged (-want +got):\n%s", site.Status.GPUSecondsUsed, diff)
	}
}

// Who finds no place in the list waits for those before.
func TestChargesNoMoreThanTheListHolds(t *testing.T) {
	site := simSite()
	site.Spec.Limits.GPUHours = "10"
	var seen world
	for i := range mostCharged + 3 {
		seen.due = append(seen.due, bill{fmt.Sprint(i), 1})
		seen.there = append(seen.there, fmt.Sprint(i))
	}
	charge(site, &seen)
	charge(site, &seen)
	if len(site.Status.Charged) != mostCharged || site.Status.GPUSecondsUsed != mostCharged {
		t.Errorf("%d charged with %d GPU-seconds", len(site.Status.Charged), site.Status.GPUSecondsUsed)
	}
	seen.due, seen.there = seen.due[100:], seen.there[100:]
	charge(site, &seen)
	if site.Status.GPUSecondsUsed != mostCharged+3 {
		t.Errorf("%d GPU-seconds after a hundred were gone", site.Status.GPUSecondsUsed)
	}
}

// A Site that counts no GPU-hours takes nothing over.
func TestChargesNothingWithoutALimit(t *testing.T) {
	k, _, _ := kind(t, goes("a", 100))
	site := simSite()
	if d := decide(site, perform(t, k, site), noon); d.Status.GPUSecondsUsed != 0 || d.Status.Charged != nil {
		t.Errorf("took over %d GPU-seconds of %v", d.Status.GPUSecondsUsed, d.Status.Charged)
	}
}

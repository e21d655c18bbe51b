package slurmjob

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
)

func TestCounts(t *testing.T) {
	attempt := func(edit func(*v1alpha1.Attempt)) []v1alpha1.Attempt {
		a := v1alpha1.Attempt{Number: 1, State: v1alpha1.AttemptIntended}
		edit(&a)
		return []v1alpha1.Attempt{a}
	}
	instant := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }
	cases := map[string]struct {
		reason        string
		before, after []v1alpha1.Attempt
		do            []reconcile.Effect
		events        []reconcile.Event
		want          Count
	}{
		"adopted": {
			reason: "a look before the submit found the job that another process handed in",
			before: attempt(func(a *v1alpha1.Attempt) {}),
			after:  attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID = 1, "7" }),
			want:   Count{Duplicates: 1},
		},
		"lost answer": {
			reason: "the answer was lost, and the job was found before a second submit",
			before: attempt(func(a *v1alpha1.Attempt) { a.Submits, a.State = 1, v1alpha1.AttemptUncertain }),
			after:  attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID, a.State = 1, "7", v1alpha1.AttemptSubmitted }),
			want:   Count{Duplicates: 1},
		},
		"plain": {
			reason: "a submit and its job are no duplicate",
			before: attempt(func(a *v1alpha1.Attempt) { a.Submits = 1 }),
			after:  attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID = 1, "7" }),
		},
		"doubles": {
			reason: "two of three jobs under one key are cancelled, which is said once",
			before: attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID = 2, "7" }),
			after:  attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID = 2, "7" }),
			do:     []reconcile.Effect{Cancel{ID: "8"}, Cancel{ID: "9"}},
			events: []reconcile.Event{{Reason: eventDuplicate}},
			want:   Count{Duplicates: 2},
		},
		"doubles again": {
			reason: "a cancel that is repeated is not another duplicate",
			before: attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID = 2, "7" }),
			after:  attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID = 2, "7" }),
			do:     []reconcile.Effect{Cancel{ID: "8"}},
		},
		"lost": {
			reason: "a job that had an id is not known any more",
			before: attempt(func(a *v1alpha1.Attempt) { a.Submits, a.JobID = 1, "7" }),
			after: attempt(func(a *v1alpha1.Attempt) {
				a.Submits, a.JobID, a.State, a.Reason = 1, "7", v1alpha1.AttemptEnded, v1alpha1.ReasonLost
			}),
			want: Count{Lost: 1},
		},
		"lost before": {
			reason: "it is lost once",
			before: attempt(func(a *v1alpha1.Attempt) {
				a.JobID, a.State, a.Reason = "7", v1alpha1.AttemptEnded, v1alpha1.ReasonLost
			}),
			after: attempt(func(a *v1alpha1.Attempt) {
				a.JobID, a.State, a.Reason = "7", v1alpha1.AttemptEnded, v1alpha1.ReasonLost
			}),
		},
		"started": {
			reason: "the time in the queue is told when the start is seen, and once",
			before: attempt(func(a *v1alpha1.Attempt) { a.JobID, a.SubmitTime = "7", instant(0) }),
			after:  attempt(func(a *v1alpha1.Attempt) { a.JobID, a.SubmitTime, a.StartTime = "7", instant(0), instant(time.Minute) }),
			want:   Count{Queued: []time.Duration{time.Minute}},
		},
		"running": {
			reason: "it was told before",
			before: attempt(func(a *v1alpha1.Attempt) { a.JobID, a.SubmitTime, a.StartTime = "7", instant(0), instant(time.Minute) }),
			after:  attempt(func(a *v1alpha1.Attempt) { a.JobID, a.SubmitTime, a.StartTime = "7", instant(0), instant(time.Minute) }),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, some := counts(v1alpha1.SlurmJobStatus{Attempts: c.before},
				decision{Status: v1alpha1.SlurmJobStatus{Attempts: c.after}, Do: c.do, Events: c.events})
			if diff := cmp.Diff(c.want, got); diff != "" || some != (diff != "" || !cmp.Equal(c.want, Count{})) {
				t.Errorf("%s; told %v (-want +got):\n%s", c.reason, some, diff)
			}
		})
	}
}

package benchmark

import (
	"testing"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
)

func TestLoadEnded(t *testing.T) {
	load := v1alpha1.ComponentReference{Kind: reconcile.KindLoadClient, Name: "load"}
	for name, tc := range map[string]struct {
		reason string
		exit   *v1alpha1.ComponentExit
		over   bool
		want   bool
	}{
		"under way":      {"it measures", nil, false, false},
		"ended":          {"a kept service may go on", &v1alpha1.ComponentExit{Reason: rundir.ExitReasonEnded}, false, true},
		"aborted":        {"its own doing", &v1alpha1.ComponentExit{Reason: rundir.ExitReasonAborted}, false, true},
		"lost a service": {"the job ends, and may be tried again", &v1alpha1.ComponentExit{Reason: rundir.ExitReasonServiceLost}, false, false},
		"stopped":        {"the job ends, and may be tried again", &v1alpha1.ComponentExit{Reason: rundir.ExitReasonStopped}, false, false},
		"job over":       {"nothing comes after it", nil, true, true},
	} {
		job := &v1alpha1.SlurmJob{Spec: v1alpha1.SlurmJobSpec{Components: []v1alpha1.ComponentReference{load}}}
		job.Status.Components = []v1alpha1.ComponentStatus{{Kind: load.Kind, Name: load.Name, Exit: tc.exit}}
		if tc.over {
			reconcile.Conditions{List: &job.Status.Conditions, Now: now}.Ended("True", "Completed", "")
		}
		if got := loadEnded([]*v1alpha1.SlurmJob{job}); got != tc.want {
			t.Errorf("%s: %t, want %t: %s", name, got, tc.want, tc.reason)
		}
	}
}

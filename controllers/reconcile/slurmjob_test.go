package reconcile

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

func aJob(change ...func(*v1alpha1.SlurmJob, Conditions)) *v1alpha1.SlurmJob {
	j := &v1alpha1.SlurmJob{}
	for _, f := range change {
		f(j, Conditions{List: &j.Status.Conditions, Now: time.Unix(1e9, 0)})
	}
	return j
}

func TestJobEnds(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		job     *v1alpha1.SlurmJob
		over    bool
		badly   string
		refused string
	}{
		"new":       {"nothing is known of it", aJob(), false, "", ""},
		"succeeded": {"as planned", aJob(func(_ *v1alpha1.SlurmJob, c Conditions) { c.Ended(metav1.ConditionTrue, "Completed", "") }), true, "", ""},
		"failed":    {"its own reason counts, not that of Stalled", aJob(func(_ *v1alpha1.SlurmJob, c Conditions) { c.Ended(metav1.ConditionFalse, "Lost", "gone") }), true, "Lost", ""},
		"unknown end": {"without a word of success it is none", aJob(func(_ *v1alpha1.SlurmJob, c Conditions) {
			c.Ended(metav1.ConditionUnknown, "Partial", "")
		}), true, "Partial", ""},
		"waits for a person": {"it may still go on", aJob(func(_ *v1alpha1.SlurmJob, c Conditions) { c.Stalled("SiteMissing", "") }), false, "", "SiteMissing"},
		"cannot be rendered": {"a SlurmJob's spec never changes", aJob(func(_ *v1alpha1.SlurmJob, c Conditions) { c.Stalled("InvalidParameters", "") }), true, "InvalidParameters", "InvalidParameters"},
	} {
		t.Run(name, func(t *testing.T) {
			badly, refused := "", ""
			if x := JobEndedBadly(c.job); x != nil {
				badly = x.Reason
			}
			if x := JobRefused(c.job); x != nil {
				refused = x.Reason
			}
			if over := JobOver(c.job); over != c.over || badly != c.badly || refused != c.refused {
				t.Errorf("%s: over %v, badly %q, refused %q", c.reason, over, badly, refused)
			}
		})
	}
}

func TestJobWaits(t *testing.T) {
	phase := func(p, waiting string) *v1alpha1.SlurmJob {
		return aJob(func(j *v1alpha1.SlurmJob, _ Conditions) { j.Status.Phase, j.Status.Waiting = p, waiting })
	}
	for name, c := range map[string]struct {
		job  *v1alpha1.SlurmJob
		want string
	}{
		"new":       {aJob(), "the job is handed in"},
		"intended":  {phase("Intended", ""), "the job is handed in"},
		"queued":    {phase("Queued", "QOSMaxJobsLimit"), "waits for the queue: QOSMaxJobsLimit"},
		"no reason": {phase("Queued", ""), "waits for the queue"},
		"running":   {phase("Running", ""), ""},
		"ending":    {phase("Ending", ""), ""},
		"busy": {aJob(func(_ *v1alpha1.SlurmJob, c Conditions) {
			c.Progressing(v1alpha1.ReasonSiteBusy, "waits for its turn at site x: 4 of 4 jobs")
		}),
			"waits for its turn at site x: 4 of 4 jobs"},
		"over": {aJob(func(_ *v1alpha1.SlurmJob, c Conditions) { c.Ended(metav1.ConditionFalse, "Lost", "") }), ""},
	} {
		if got := JobWaits(c.job); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLowCoverage(t *testing.T) {
	for name, c := range map[string]struct {
		scrapes    *v1alpha1.Scrapes
		low, known bool
	}{
		"none":     {nil, false, false},
		"too few":  {&v1alpha1.Scrapes{Due: 4}, false, false},
		"95 %":     {&v1alpha1.Scrapes{Due: 100, Good: 95}, false, true},
		"below":    {&v1alpha1.Scrapes{Due: 100, Good: 94}, true, true},
		"all fail": {&v1alpha1.Scrapes{Due: 5}, true, true},
	} {
		if low, known := LowCoverage(c.scrapes); low != c.low || known != c.known {
			t.Errorf("%s: low %v, known %v", name, low, known)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("words", 3)
	f.Add(strings.Repeat("é", 40), 17)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 3 || n > 1000 || !utf8.ValidString(s) {
			return
		}
		got := Clip(s, n)
		if len(got) > n || !utf8.ValidString(got) || len(s) <= n && got != s {
			t.Errorf("%q clipped to %d is %q", s, n, got)
		}
	})
}

package reconcile

import (
	"context"
	"errors"
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
	phase := func(p, message string) *v1alpha1.SlurmJob {
		return aJob(func(j *v1alpha1.SlurmJob, c Conditions) {
			j.Status.Phase = p
			c.False(v1alpha1.ConditionScheduled, "Queued", message)
		})
	}
	for name, c := range map[string]struct {
		job  *v1alpha1.SlurmJob
		want string
	}{
		"new":       {aJob(), "the job is handed in"},
		"intended":  {phase("Intended", ""), "the job is handed in"},
		"queued":    {phase("Queued", "job 4711 waits: QOSMaxJobsLimit"), "waits for the queue: QOSMaxJobsLimit"},
		"no reason": {phase("Queued", "job 4711 waits"), "waits for the queue"},
		"running":   {phase("Running", ""), ""},
		"ending":    {phase("Ending", ""), ""},
		"over":      {aJob(func(_ *v1alpha1.SlurmJob, c Conditions) { c.Ended(metav1.ConditionFalse, "Lost", "") }), ""},
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

func TestFirstFree(t *testing.T) {
	read := func(taken ...string) func(context.Context, ...string) (map[string][]byte, error) {
		return func(context.Context, ...string) (map[string][]byte, error) {
			out := map[string][]byte{}
			for _, p := range taken {
				out[p] = nil
			}
			return out, nil
		}
	}
	path := func(name string) string { return "/" + name }
	for want, taken := range map[string][]string{"a": nil, "b": {"/a"}, "": {"/a", "/b"}} {
		got, err := FirstFree(t.Context(), []string{"a", "b"}, path, read(taken...))
		if err != nil || got != want {
			t.Errorf("%v taken: %q, %v; want %q", taken, got, err, want)
		}
	}
	silent := errors.New("silent")
	_, err := FirstFree(t.Context(), []string{"a"}, path, func(context.Context, ...string) (map[string][]byte, error) { return nil, silent })
	if !errors.Is(err, silent) {
		t.Errorf("a look that failed found something: %v", err)
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

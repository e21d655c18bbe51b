package harness

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"assay.bench/api/v1alpha1"
)

// history keeps what happened in a World, for the day on which its test fails.
type history struct {
	mu    sync.Mutex
	lines []string
}

// mostLines bounds a history; the oldest lines go first.
const mostLines = 400

func (h *history) addf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	if extra := len(h.lines) - mostLines; extra > 0 {
		h.lines = slices.Delete(h.lines, 0, extra)
	}
}

func (h *history) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

// comesAndGoes is what controller-runtime says of each start and end of a process: nobody needs it here.
var comesAndGoes = regexp.MustCompile(`^(Starting|Stopping|Shutdown signal|All workers finished|Wait completed)`)

// logSink writes the log of the controllers into a history.
type logSink struct {
	history *history
	values  []any
}

func (logSink) Init(logr.RuntimeInfo)  {}
func (logSink) Enabled(level int) bool { return level == 0 }
func (s logSink) Info(_ int, message string, values ...any) {
	if comesAndGoes.MatchString(message) {
		return
	}
	s.history.addf("%s %v", message, slices.Concat(s.values, values))
}

func (s logSink) Error(err error, message string, values ...any) {
	s.history.addf("%s: %v %v", message, err, slices.Concat(s.values, values))
}
func (s logSink) WithName(string) logr.LogSink { return s }
func (s logSink) WithValues(values ...any) logr.LogSink {
	return logSink{s.history, slices.Concat(s.values, values)}
}

// stored looks at each status that the API server has taken: kstatus must read from it what it means.
func (w *World) stored(content map[string]any) {
	u := &unstructured.Unstructured{Object: content}
	r, err := status.Compute(u)
	if err != nil {
		w.t.Errorf("kstatus of %s %s: %v", u.GetKind(), u.GetName(), err)
		return
	}
	c, ended := conditionsOf(u)
	w.history.addf("%s %s: kstatus %s, %s", u.GetKind(), u.GetName(), r.Status, c)
	if wrong := misread(u, c, ended, r.Status); wrong != "" {
		w.t.Errorf("%s %s: kstatus says %s: %s; %s", u.GetKind(), u.GetName(), r.Status, wrong, c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

// misread says what is wrong with kstatus's reading of an object, or "".
func misread(u *unstructured.Unstructured, c conditions, ended bool, got status.Status) string {
	observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if u.GetDeletionTimestamp() != nil || observed != u.GetGeneration() {
		return "" // it is on its way out, or was decided from an older spec
	}
	_, runs := c[v1alpha1.ConditionComplete]
	switch {
	case strings.HasPrefix(c[v1alpha1.ConditionStalled], "True"):
		if got != status.FailedStatus {
			return "it is stalled"
		}
	case ended:
		if got != status.CurrentStatus {
			return "it has ended"
		}
	case runs && got != status.InProgressStatus:
		return "it has not ended"
	}
	return ""
}

// conditions are the conditions of an object by type: status and reason.
type conditions map[string]string

// conditionsOf also says whether the object has ended: its Complete may still speak of a run before the present spec.
func conditionsOf(u *unstructured.Unstructured) (out conditions, ended bool) {
	out = conditions{}
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, one := range list {
		if c, ok := one.(map[string]any); ok {
			kind, is := fmt.Sprint(c["type"]), fmt.Sprintf("%v %v", c["status"], c["reason"])
			out[kind] = is
			switch {
			case kind == v1alpha1.ConditionComplete:
				ended = strings.HasPrefix(is, "True") && c["observedGeneration"] == u.GetGeneration()
			case kind == v1alpha1.ConditionReady && u.GetKind() == "Service":
				ended = strings.HasSuffix(is, v1alpha1.ReasonEnded)
			}
		}
	}
	return out, ended
}

func (c conditions) String() string {
	var out []string
	for name, value := range c {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

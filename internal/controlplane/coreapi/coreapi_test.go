package coreapi

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	generated "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/yaml"
)

const fullEvent = `
metadata: {name: a, namespace: n, labels: {l: v}}
eventTime: "2026-01-02T03:04:05.000006Z"
series: {count: 2, lastObservedTime: "2026-01-02T03:05:05.000006Z"}
reportingController: c
reportingInstance: i
action: a
reason: r
regarding: {kind: K, name: x, namespace: n}
related: {kind: L, name: y}
note: text
type: Normal
deprecatedSource: {component: s}
deprecatedFirstTimestamp: "2026-01-02T03:04:05Z"
deprecatedLastTimestamp: "2026-01-02T03:05:05Z"
deprecatedCount: 3
`

// Both groups show the same event: nothing gets lost on the way through the stored form, also not a field that a later
// version of the API adds.
func TestEventConversion(t *testing.T) {
	s, err := NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	in, core, out := &eventsv1.Event{}, &corev1.Event{}, &eventsv1.Event{}
	if err := yaml.UnmarshalStrict([]byte(fullEvent), in); err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(*in)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; name != "TypeMeta" && v.Field(i).IsZero() {
			t.Errorf("the test sets no %s", name)
		}
	}
	if err := s.Convert(in, core, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Convert(core, out, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("through the stored form (-before +after):\n%s", diff)
	}
}

// A reference that leads nowhere would break server-side apply and kubectl explain.
func TestDefinitionsAreClosed(t *testing.T) {
	ref := func(name string) spec.Ref { return spec.MustCreateRef("#/" + name) }
	all := Definitions(generated.GetOpenAPIDefinitions)(ref)
	for name, def := range all {
		if strings.HasSuffix(name, ".Secret") || strings.HasSuffix(name, ".Event") {
			if def.Schema.Description == "" {
				t.Errorf("%s has no description", name)
			}
		}
		for _, dependency := range def.Dependencies {
			if _, ok := all[dependency]; !ok {
				t.Errorf("%s depends on %s, which is not defined", name, dependency)
			}
		}
	}
	data := all[(corev1.Secret{}).OpenAPIModelName()].Schema.Properties["data"]
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"type":"object"`, `"additionalProperties":{"type":"string","format":"byte"}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("secret.data is %s, without %s", text, want)
		}
	}
	conditions := all[(corev1.NamespaceStatus{}).OpenAPIModelName()].Schema.Properties["conditions"]
	if conditions.Extensions["x-kubernetes-list-type"] != "map" {
		t.Errorf("conditions must merge by type: %v", conditions.Extensions)
	}
}

func TestTables(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	micro := func(d time.Duration) metav1.MicroTime { return metav1.MicroTime(before(d)) }
	ref := corev1.ObjectReference{Kind: "Benchmark", Name: "b"}
	for name, tc := range map[string]struct {
		reason string
		event  corev1.Event
		want   []any // last seen, first seen, count
	}{
		"once":    {"the new API sets eventTime only", corev1.Event{EventTime: micro(time.Minute)}, []any{"60s", "60s", int64(1)}},
		"series":  {"the new API counts in a series", corev1.Event{EventTime: micro(time.Hour), Series: &corev1.EventSeries{Count: 4, LastObservedTime: micro(time.Minute)}}, []any{"60s (x4 over 60m)", "60m", int64(4)}},
		"old":     {"the old API has two times and a count", corev1.Event{FirstTimestamp: before(time.Hour), LastTimestamp: before(time.Minute), Count: 2}, []any{"60s (x2 over 60m)", "60m", int64(2)}},
		"no time": {"nothing is known", corev1.Event{}, []any{"<unknown>", "<unknown>", int64(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.event.InvolvedObject = ref
			for _, r := range resources(func() time.Time { return now }) {
				if r.plural != "events" {
					continue
				}
				list := &corev1.EventList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: []corev1.Event{tc.event}}
				got, err := r.table.ConvertToTable(context.Background(), list, nil)
				if err != nil {
					t.Fatal(err)
				}
				cells := got.Rows[0].Cells
				if len(cells) != len(got.ColumnDefinitions) || got.ResourceVersion != "7" || cells[3] != "benchmark/b" {
					t.Errorf("%d cells for %d columns, version %q, object %v", len(cells), len(got.ColumnDefinitions), got.ResourceVersion, cells[3])
				}
				if diff := cmp.Diff(tc.want, []any{cells[0], cells[7], cells[8]}); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
			}
		})
	}
}

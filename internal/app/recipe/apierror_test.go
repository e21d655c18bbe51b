package recipe

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

const bench = head + `spec:
  services:
  - {name: sim, llmsim: {}}
  clients:
  - name: load
    closedLoop: {concurrency: many, users: 4}
    durration: [90]
`

// answer is the API server's, with causes as field and message.
func answer(message string, causes ...string) error {
	s := metav1.Status{Message: message, Details: &metav1.StatusDetails{}}
	for i := 0; i < len(causes); i += 2 {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Field: causes[i], Message: causes[i+1]})
	}
	return fmt.Errorf("apply: %w", &apierrors.StatusError{ErrStatus: s})
}

func TestExplain(t *testing.T) {
	objects, err := Parse("r.yaml", []byte(bench))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		reason string
		err    error
		want   []string
	}{
		"ours": {
			"an error of ours names its field", v1alpha1.At("spec.clients[0]", errors.New("no")), []string{"r.yaml:8:5: spec.clients[0]: no"},
		},
		"any": {"an error that names no field is put at the object", errors.New("no"), []string{"r.yaml:1:1: no"}},
		"unknown fields": {
			"every unknown field is told, with what is near among those that may stand there",
			answer(`strict decoding error: unknown field "spec.clients[0].durration", unknown field "spec.clients[0].closedLoop.users"`),
			[]string{
				`r.yaml:10:5: spec.clients[0].durration: unknown field; did you mean "duration"?`,
				"r.yaml:9:37: spec.clients[0].closedLoop.users: unknown field; the fields there are concurrency, thinkTime",
			},
		},
		"unknown at the top": {
			"the four fields of every object", answer(`unknown field "spce"`), []string{`r.yaml:1:1: spce: unknown field; did you mean "spec"?`},
		},
		"unknown in metadata": {
			"a label is below labels", answer(`unknown field "metadata.lables"`), []string{`r.yaml:3:1: metadata.lables: unknown field; did you mean "labels"?`},
		},
		"unknown for apply": {
			"server-side apply says it in other words", answer("failed to create typed patch object: .spec.wrongs: field not declared in schema"),
			[]string{"r.yaml:4:1: spec.wrongs: unknown field; the fields there are barrierLead, cleanup, clients, idleTimeout, placement, repeats, retries, run, seed, services, site, slos, suspend, timeout"},
		},
		"type": {
			"what stands there is quoted, not what type it has",
			answer("", "spec.clients[0].closedLoop.concurrency", `Invalid value: "string": spec.clients[0].closedLoop.concurrency in body must be of type integer: "string"`),
			[]string{`r.yaml:9:18: spec.clients[0].closedLoop.concurrency: "many" is not a whole number`},
		},
		"type of a list": {
			"what is no text is not quoted",
			answer("", "spec.clients[0].durration", `Invalid value: "array": spec.clients[0].durration in body must be of type string: "array"`),
			[]string{"r.yaml:10:5: spec.clients[0].durration: a list is not a text: put it in quotes"},
		},
		"known pattern": {
			"a pattern is for programs, an example for people",
			answer("", "spec.clients[0].duration", `Invalid value: "90 s": spec.clients[0].duration in body should match '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$'`),
			[]string{`r.yaml:8:5: spec.clients[0].duration: "90 s" is not valid: write a length of time such as 500ms, 90s or 1h30m`},
		},
		"unknown pattern": {
			"a pattern is better than nothing",
			answer("", "spec.x", `Invalid value: "y": spec.x in body should match '^z$'`), []string{`r.yaml:4:1: spec.x: "y" is not valid: it should match ^z$`},
		},
		"bound": {
			"other words are the API server's",
			answer("", "spec.x", `Invalid value: 0: spec.x in body should be greater than or equal to 1`), []string{"r.yaml:4:1: spec.x: 0 is not valid: should be greater than or equal to 1"},
		},
		"rule": {
			"a rule speaks for itself: the object that it prints is in the file",
			answer("", "spec.services[0]", `Invalid value: {"name":"sim"}: name exactly one engine`,
				"<nil>", `Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation`),
			[]string{"r.yaml:6:5: spec.services[0]: name exactly one engine"},
		},
		"twice": {
			"the same words are said once", answer("", "spec", "Required value", "spec", "Required value"), []string{"r.yaml:4:1: spec: Required value"},
		},
		"no causes": {"without causes the message counts", answer("forbidden"), []string{"r.yaml:1:1: forbidden"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range objects[0].Explain(tt.err) {
				got = append(got, e.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestFieldsAt(t *testing.T) {
	for name, tt := range map[string]struct {
		kind string
		path []string
		want []string
	}{
		"list item":     {"Benchmark", []string{"spec", "clients", "0", "target"}, []string{"ca", "credentials", "service", "url"}},
		"pointer":       {"Benchmark", []string{"spec", "clients", "0", "closedLoop"}, []string{"concurrency", "thinkTime"}},
		"other kind":    {"Secret", []string{"spec"}, nil},
		"below a leaf":  {"Benchmark", []string{"spec", "site", "x"}, nil},
		"below nothing": {"Benchmark", []string{"spec", "sites", "x"}, nil},
		"status":        {"Benchmark", []string{"status"}, nil},
	} {
		if diff := cmp.Diff(tt.want, fieldsAt(tt.kind, tt.path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"duration", "target", "url"}
	for wrong, want := range map[string]string{
		"durration": "duration", "Duration": "duration", "targte": "target", "uri": "url", "concurrency": "", "": "", "größe": "",
	} {
		if got := nearest(wrong, known); got != want {
			t.Errorf("%q is near %q, want %q", wrong, got, want)
		}
	}
}

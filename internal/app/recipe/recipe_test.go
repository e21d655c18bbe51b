package recipe

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const head = "apiVersion: assay.bench/v1alpha1\nkind: Benchmark\nmetadata: {name: a}\n"

func TestParse(t *testing.T) {
	tests := map[string]struct {
		reason  string
		content string
		want    []string // kind/name of the objects
	}{
		"one":             {"a document is an object", head, []string{"Benchmark/a"}},
		"many":            {"documents are kept in order", head + "---\n" + strings.Replace(head, "a}", "b}", 1), []string{"Benchmark/a", "Benchmark/b"}},
		"empty documents": {"what holds nothing is passed over", "---\n# later\n---\n" + head + "---\n---\nnull\n", []string{"Benchmark/a"}},
		"windows":         {"lines may end in CR LF", strings.ReplaceAll(head, "\n", "\r\n"), []string{"Benchmark/a"}},
		"mark":            {"a byte order mark is no content", "\ufeff" + head, []string{"Benchmark/a"}},
		"unicode":         {"text may be in any language", head + "spec: {x: 負荷 – Größe}\n", []string{"Benchmark/a"}},
		"json":            {"JSON is YAML", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}`, []string{"Namespace/n"}},
		"a thousand":      {"so many may be in one file", strings.Repeat(head+"---\n", 1000), slices.Repeat([]string{"Benchmark/a"}, 1000)},
		"somebody else's": {"other kinds go through", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", []string{"Service/web"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			objects, err := Parse("r.yaml", []byte(tt.content))
			if err != nil {
				t.Fatalf("%s: %v", tt.reason, err)
			}
			var got []string
			for _, o := range objects {
				got = append(got, o.GetKind()+"/"+o.GetName())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		reason  string
		content string
		want    string
	}{
		"nothing":           {"a file without an object is a mistake", "# nothing\n", "r.yaml:1:1: the file holds no object; begin with apiVersion: assay.bench/v1alpha1"},
		"twice":             {"of two values one would be lost", head + "spec:\n  a: 1\n  b: {c: 1, c: 2}\n", `r.yaml:6:13: the field "c" stands twice`},
		"twice, windows":    {"CR is no column", strings.ReplaceAll(head+"spec:\n  a: 1\n  a: 2\n", "\n", "\r\n"), `r.yaml:6:3: the field "a" stands twice`},
		"alias":             {"an alias can grow without bound", head + "spec: {a: &x 1, b: *x}\n", "r.yaml:4:20: aliases are not supported: write the value out"},
		"second document":   {"lines count from the file's first", head + "---\n" + head + "kind: Site\n", `r.yaml:8:1: the field "kind" stands twice`},
		"a list":            {"an object is a map", "- a\n", "r.yaml:1:1: an object is a map with apiVersion, kind, metadata and spec"},
		"text":              {"an object is a map", "hello\n", "r.yaml:1:1: an object is a map with apiVersion, kind, metadata and spec"},
		"no version":        {"without a version nobody knows the kind", "kind: Benchmark\n", "r.yaml:1:1: apiVersion is missing"},
		"no kind":           {"without a kind nobody knows it", "apiVersion: v1\n", "r.yaml:1:1: kind is missing"},
		"no name":           {"an object is known by its name", "apiVersion: v1\nkind: Secret\nmetadata: {}\n", "r.yaml:3:1: metadata: metadata.name is missing"},
		"numbers as names":  {"a number is no name", "apiVersion: v1\nkind: Secret\nmetadata: {name: 1}\n", "r.yaml:3:1: metadata: metadata.name is missing"},
		"misspelt kind":     {"a near kind is offered", strings.Replace(head, "Benchmark", "Benchmrk", 1), `r.yaml:2:1: kind: there is no kind "Benchmrk" in assay.bench/v1alpha1; did you mean "Benchmark"?`},
		"foreign kind":      {"else the kinds are listed", strings.Replace(head, "Benchmark", "Pod", 1), `r.yaml:2:1: kind: there is no kind "Pod" in assay.bench/v1alpha1; the kinds are Benchmark, LoadClient, Service, Site, SlurmJob`},
		"other version":     {"there is one version", strings.Replace(head, "v1alpha1", "v1", 1), `r.yaml:1:1: apiVersion: there is no version "v1" of assay.bench: use assay.bench/v1alpha1`},
		"misspelt group":    {"a near group is ours", strings.Replace(head, "assay.bench", "assay.dev", 1), "r.yaml:1:1: apiVersion: there is no Benchmark in assay.dev/v1alpha1: use assay.bench/v1alpha1"},
		"no group":          {"a Benchmark is not Kubernetes's own", strings.Replace(head, "assay.bench/v1alpha1", "v1", 1), "r.yaml:1:1: apiVersion: there is no Benchmark in v1: use assay.bench/v1alpha1"},
		"open bracket":      {"the parser's line is the file's", head + "spec: {a: 1\nb: 2\n", "r.yaml:4:1: this is not YAML: did not find expected ',' or '}'"},
		"tab":               {"a tab does not indent", head + "spec:\n\ta: 1\n", "r.yaml:5:1: this is not YAML: found character that cannot start any token"},
		"two colons":        {"a value with a colon needs quotes", head + "spec: a: b\n", "r.yaml:4:1: this is not YAML: mapping values are not allowed in this context"},
		"first line":        {"an error there has no line of its own", "{", "r.yaml:1:1: this is not YAML: did not find expected node content"},
		"too many":          {"what comes after the last one would be lost", strings.Repeat(head+"---\n", 1000) + "# the last one\n---\n" + head, "r.yaml:4003:1: the file holds more than 1000 objects: put those from here on into another file"},
		"nested too deeply": {"depth costs memory", head + "spec: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n", "r.yaml:4:71: the object is nested too deeply"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("r.yaml", []byte(tt.content))
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%s: error %v", tt.reason, err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestAtFindsTheFieldOrItsNearestParent(t *testing.T) {
	objects, err := Parse("r.yaml", []byte(head+`spec:
  services:
  - name: sim
    llmsim: {model: é, ttft: {mean: 10ms}}
  - {name: two}
  labels: {a.b/c: d}
`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]int{
		"":                               {1, 1},
		"spec":                           {4, 1},
		"spec.services":                  {5, 3},
		"spec.services[0]":               {6, 5},
		"spec.services[0].llmsim.ttft":   {7, 24},
		"spec.services[0].llmsim.itl":    {7, 5},
		"spec.services[1].name":          {8, 6},
		"spec.services[7].name":          {5, 3},
		"spec.labels[a.b/c]":             {9, 12},
		`spec.labels["a.b/c"]`:           {9, 12},
		"spec.clients[0].target.service": {4, 1},
		"status":                         {1, 1},
	} {
		e := objects[0].At(path, "words")
		if got := [2]int{e.Line, e.Column}; got != want {
			t.Errorf("%s is at %v, want %v", path, got, want)
		}
	}
}

// FuzzParse: whatever is in a file, an object or one error with a position in the file comes out.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		head, head + "---\n" + head, "{", "a: *b", "&a [*a]", "- ", "\x00", "? [a]\n: b", head + "spec: {a: &x 1, b: *x}", "%YAML 3.0\n---\n", "!!binary x: y",
		"<<: {a: b}", head + "spec: !!int x\n", "\ufeff---", strings.Repeat("[", 200), "apiVersion: 1\nkind: 2\nmetadata: []",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		objects, err := Parse("f", content)
		if err == nil {
			for _, o := range objects {
				if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
					t.Errorf("an object without a name: %v", o.Object)
				}
				o.At("spec.clients[0].x", "words")
			}
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%T is no *Error: %v", err, err)
		}
		// Unicode has more line ends than CR and LF, and the library counts them all.
		lines := 1 + strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(content)), "\n")
		if len(objects) != 0 || e.Line < 1 || e.Column < 1 || utf8.Valid(content) && e.Line > lines {
			t.Errorf("%d objects, position %d:%d in %d lines: %v", len(objects), e.Line, e.Column, lines, err)
		}
	})
}

// FuzzSteps: a path never leads outside the file.
func FuzzSteps(f *testing.F) {
	for _, seed := range []string{"", "spec", "spec.services[0].name", "spec.labels[a.b/c]", `x["y"].z`, "[", "]", ".", "a..b", "a[", "a[[0]]", "[99999999999999999999]", "spec.services[-1]"} {
		f.Add(seed)
	}
	objects, err := Parse("f", []byte(head+"spec: {services: [{name: sim}], labels: {a.b/c: d}}\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, s := range steps(path) {
			if !strings.Contains(path, s) {
				t.Errorf("%q is no part of %q", s, path)
			}
		}
		e := objects[0].At(path, "words")
		if e.Line < 1 || e.Line > 4 || e.Column < 1 {
			t.Errorf("%q is at %d:%d", path, e.Line, e.Column)
		}
	})
}

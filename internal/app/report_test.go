package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/results"
)

// aResult is a small result of a benchmark.
func aResult(t *testing.T, name, outcome string) (results.Result, []byte) {
	t.Helper()
	r := results.Result{
		Schema: results.Schema, Benchmark: name, Run: "g1", Outcome: outcome, Message: "the words of " + name, RepeatsPlanned: 1, Version: "v0.1.0",
		Clients: []results.ClientResult{{Name: "load", Target: "sim", Workload: "inference", Model: "m", Ranks: 1, Window: 120, Sound: true}},
	}
	b, err := results.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

// folder makes a folder with some files and returns its path. A name that ends in a slash is an empty folder.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		dir := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if dir != path {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// reported runs assay report in a folder.
func reported(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	o, out := at(t.TempDir(), "")
	var problems bytes.Buffer
	o.Args, o.Stderr, o.Dir = append([]string{"report"}, args...), &problems, dir
	code = Main(*o)
	return code, out.String(), problems.String()
}

func TestReport(t *testing.T) {
	one, oneFile := aResult(t, "one", results.Passed)
	two, twoFile := aResult(t, "two", results.Failed)
	dir := folder(t, map[string][]byte{
		"today/result.json": oneFile, "today/run/bm/1/x": nil, "renamed.json": twoFile,
		"both/ns.one/result.json": oneFile, "both/ns.two/result.json": twoFile, "both/ns.three/run/": nil, "both/.git/": nil, "both/notes": nil,
		"early/.assay-run": nil, "early/ns.one/result.json": oneFile,
	})
	summary := func(r results.Result) string {
		var b bytes.Buffer
		if err := results.Summary(&b, r); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	table := func(write func(results.Slides, *bytes.Buffer) error) string {
		var b bytes.Buffer
		if err := write(results.NewSlides([]results.Result{two, one}), &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	several := "both/ns.one/result.json:\n" + summary(one) + "\nboth/ns.two/result.json:\n" + summary(two)
	const without = "assay: left out: both/ns.three has no result.json\n"
	for reason, tt := range map[string]struct {
		args         []string
		want, stderr string
	}{
		"a folder":                     {[]string{"today"}, summary(one), ""},
		"a folder by its whole path":   {[]string{filepath.Join(dir, "today")}, summary(one), ""},
		"the file itself":              {[]string{"today/result.json"}, summary(one), ""},
		"a copy, of a run that failed": {[]string{"renamed.json"}, summary(two), ""},
		"several, in the order of the arguments": {
			[]string{"renamed.json", "today/"}, "renamed.json:\n" + summary(two) + "\ntoday/result.json:\n" + summary(one), "",
		},
		"what assay run wrote of several benchmarks": {[]string{"both"}, several, without},
		"one run of several that is still under way": {[]string{"early"}, summary(one), "assay: early: assay run still writes to it, or was cut off: there may be more results\n"},
		"a table": {
			[]string{"--table", "renamed.json", "today"}, table(func(s results.Slides, b *bytes.Buffer) error { return s.Text(b) }), "",
		},
		"a table in Markdown": {
			[]string{"renamed.json", "today", "--table", "--markdown"}, table(func(s results.Slides, b *bytes.Buffer) error { return s.Markdown(b) }), "",
		},
	} {
		code, out, said := reported(t, dir, tt.args...)
		if code != exitOK {
			t.Errorf("%s: exit code %d: %s", reason, code, said)
		}
		if diff := cmp.Diff([]string{tt.want, tt.stderr}, []string{out, said}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	if both := table(func(s results.Slides, b *bytes.Buffer) error { return s.Text(b) }); !strings.Contains(both, "✗ two is not valid: Failed: the words of two") {
		t.Errorf("the table hides that a run failed:\n%s", both)
	}
}

func TestReportRefuses(t *testing.T) {
	_, good := aResult(t, "one", results.Passed)
	other := bytes.Replace(good, []byte("result/v1"), []byte("result/v2"), 1)
	dir := folder(t, map[string][]byte{
		"good/result.json": good, "cut/result.json": good[:len(good)/2], "other/result.json": bytes.Replace(other, []byte(`"took": 0`), []byte(`"took": "1h"`), 1),
		"rank/r1/result.json": []byte(`{"version": 1, "client": "load", "end": true}`), "none/run/x": nil, "empty/": nil, "running/.assay-run": nil,
		"recipe.yaml": []byte("kind: Benchmark\n"), "nameless.json": bytes.Replace(other, []byte("v0.1.0"), nil, 1), "folder/result.json/": nil,
	})
	const end = ": name a folder that assay run wrote (--output), the directory of a run, or a result.json\n"
	const cancelled = ": a run that was cancelled, or that goes on, has none" + end
	for reason, tt := range map[string]struct {
		args []string
		want string
	}{
		"nothing named":                 {nil, "requires at least 1 arg(s), only received 0; see assay report --help\n"},
		"an unset variable":             {[]string{""}, "an empty name" + end},
		"nothing of that name":          {[]string{"gone"}, "gone: there is no such folder" + end},
		"a folder below a file":         {[]string{"recipe.yaml/x"}, "not a directory" + end},
		"neither a folder nor a file":   {[]string{"/dev/null"}, "/dev/null is neither a folder nor a file" + end},
		"an empty folder":               {[]string{"empty"}, "empty has no result.json" + cancelled},
		"a run that was cancelled":      {[]string{"none"}, "none has no result.json" + cancelled},
		"a run under way":               {[]string{"running"}, "running has no result.json yet: assay run still writes to it, or was cut off: wait for it, or take it up with assay attach\n"},
		"not a folder":                  {[]string{"recipe.yaml"}, "recipe.yaml is neither a folder nor the result of a run: invalid character 'k' looking for beginning of value" + end},
		"a file that was cut":           {[]string{"cut"}, "cut/result.json is not the result of a run, or not all of it: unexpected end of JSON input" + end},
		"a folder in the file's place":  {[]string{"folder"}, "is a directory" + end},
		"the result of a rank":          {[]string{"rank"}, "rank/r1/result.json is not the result of a run, or not all of it: it names no schema; perhaps it is that of one rank" + end},
		"another version":               {[]string{"other"}, `other/result.json has the schema "assay.bench/result/v2", and this assay (unknown) reads "assay.bench/result/v1": read it with the assay that wrote it (v0.1.0)` + "\n"},
		"another version of an unknown": {[]string{"nameless.json"}, "read it with the assay that wrote it (it does not say which)\n"},
		"every problem, and no result":  {[]string{"good", "gone", "empty"}, "assay: gone: there is no such folder" + end + "empty has no result.json" + cancelled},
		"Markdown of no table":          {[]string{"good", "--markdown"}, "--markdown is how the table is printed: add --table\n"},
		"a flag that is not there":      {[]string{"good", "--html"}, "unknown flag: --html; see assay report --help\n"},
	} {
		code, out, said := reported(t, dir, tt.args...)
		if code != exitUsage || out != "" || !strings.HasSuffix(said, tt.want) {
			t.Errorf("%s: exit code %d, %q on standard output, and\n%s, want\n%s", reason, code, out, said, tt.want)
		}
	}
}

// noPaper is a standard output that takes nothing.
type noPaper struct{}

func (noPaper) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestReportCannotPrint(t *testing.T) {
	_, good := aResult(t, "one", results.Passed)
	dir := folder(t, map[string][]byte{"result.json": good})
	for _, args := range [][]string{{"."}, {".", "--table"}, {".", "--table", "--markdown"}} {
		o, _ := at(t.TempDir(), "")
		var problems bytes.Buffer
		o.Args, o.Dir, o.Stdout, o.Stderr = append([]string{"report"}, args...), dir, noPaper{}, &problems
		if code := Main(*o); code != exitInfrastructure || !strings.Contains(problems.String(), "no space left on device") {
			t.Errorf("%v: exit code %d: %s", args, code, problems.String())
		}
	}
}

func TestReportHelps(t *testing.T) {
	if _, out, _ := command(t, "__complete", "report", "to"); out != ":16\n" { // ShellCompDirectiveFilterDirs
		t.Errorf("completion %q, want folders", out)
	}
	code, out, _ := command(t, "report", "--help")
	for _, want := range []string{"assay report results/vllm results/minio --table --markdown", "--table", "--markdown", "Examples:"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit code %d, no %q in:\n%s", code, want, out)
		}
	}
}

package rundir

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The files in testdata/v1 were written by a release of version 1: every later one that still accepts it must read them
// to the very same values.
func TestFixtures(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "v1", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cases := map[string]func([]byte) (any, error){
		"plan.json":     func(b []byte) (any, error) { return ParsePlan(b) },
		"control.json":  func(b []byte) (any, error) { return ParseControl(b) },
		"status.json":   func(b []byte) (any, error) { return ParseStatus(b) },
		"exit.json":     func(b []byte) (any, error) { return ParseExit(b) },
		"counters.json": func(b []byte) (any, error) { return ParseCounters(b) },
	}
	for name, parse := range cases {
		t.Run(name, func(t *testing.T) {
			b := read(name)
			v, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tree(t, b), tree(t, again)); diff != "" {
				t.Errorf("the file is not what it says (-file +read):\n%s", diff)
			}
		})
	}
}

func tree(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParseRefuses(t *testing.T) {
	plan := func(b []byte) error { _, err := ParsePlan(b); return err }
	control := func(b []byte) error { _, err := ParseControl(b); return err }
	status := func(b []byte) error { _, err := ParseStatus(b); return err }
	exit := func(b []byte) error { _, err := ParseExit(b); return err }
	const good = `"version":1,"launcher":"process","repeats":{"first":1,"count":1,"restart":"None"}`
	cases := map[string]struct {
		reason string
		parse  func([]byte) error
		in     string
		want   string
	}{
		"newer":          {"a later release wrote it", plan, `{"version":2,"new":true}`, "version 2; this program knows version 1"},
		"zero":           {"no version is not an old one", plan, `{"version":0}`, "version 0"},
		"no version":     {"it may be anything", status, `{"phase":"Ready"}`, "no version"},
		"not JSON":       {"", plan, `hello`, "plan.json: invalid"},
		"cut":            {"a copy that broke off", control, `{"version":1,"sequence":`, "control.json: unexpected end"},
		"second value":   {"two writers", control, `{"version":1,"want":"Run"} {}`, "invalid character"},
		"unknown field":  {"an instruction that would be ignored", control, `{"version":1,"want":"Run","urgent":true}`, "unknown field"},
		"unknown want":   {"", control, `{"version":1,"want":"Pause"}`, `want "Pause"`},
		"no phase":       {"", status, `{"version":1}`, "no phase"},
		"no reason":      {"", exit, `{"version":1}`, "no reason"},
		"launcher":       {"", plan, `{"version":1,"launcher":"qsub"}`, `launcher "qsub"`},
		"no repeat":      {"", plan, `{"version":1,"launcher":"srun"}`, "repeats 0+0"},
		"restart":        {"", plan, `{"version":1,"launcher":"srun","repeats":{"first":1,"count":1,"restart":"x"}}`, `restart "x"`},
		"name":           {"a name is a folder", plan, `{` + good + `,"services":[{"name":"../x","ranks":1,"argv":["a"]}]}`, `component "../x"`},
		"no name":        {"", plan, `{` + good + `,"services":[{"ranks":1,"argv":["a"]}]}`, `component ""`},
		"reserved":       {"the folder of the secrets", plan, `{` + good + `,"services":[{"name":"secrets","ranks":1,"argv":["a"]}]}`, `component "secrets": the attempt has a file`},
		"twice":          {"two ranks in one folder", plan, `{` + good + `,"services":[{"name":"a","ranks":1,"argv":["a"]},{"name":"a","ranks":1,"argv":["a"]}]}`, "stands twice"},
		"no rank":        {"", plan, `{` + good + `,"services":[{"name":"a","argv":["a"]}]}`, "0 ranks"},
		"no command":     {"", plan, `{` + good + `,"services":[{"name":"a","ranks":1}]}`, "no command"},
		"idle workers":   {"", plan, `{` + good + `,"services":[{"name":"a","ranks":2,"group":2,"argv":["a"],"worker":{}}]}`, "no command"},
		"half a server":  {"one would never get ready", plan, `{` + good + `,"services":[{"name":"a","ranks":3,"group":2,"argv":["a"]}]}`, "3 ranks are no whole number of servers of 2"},
		"nobody's port":  {"it would never answer", plan, `{` + good + `,"services":[{"name":"a","ranks":2,"group":2,"argv":["a"],"worker":{"argv":["b"],"after":"p"}}]}`, `wait for the port "p"`},
		"scrape":         {"its name is a file", plan, `{` + good + `,"services":[{"name":"a","ranks":1,"argv":["a"],"scrapes":[{"name":"../a"}]}]}`, `scrape "../a"`},
		"scrape twice":   {"two writers of a file", plan, `{` + good + `,"services":[{"name":"a","ranks":1,"argv":["a"],"scrapes":[{"name":"m"},{"name":"m"}]}]}`, "scrape m stands twice"},
		"no target":      {"", plan, `{` + good + `,"clients":[{"name":"a","ranks":1}]}`, "exactly one of a target"},
		"no loop":        {"", plan, `{` + good + `,"clients":[{"name":"a","ranks":1,"target":{"url":"http://x"},"s3":{}}]}`, "exactly one of a closed"},
		"no workload":    {"", plan, `{` + good + `,"clients":[{"name":"a","ranks":1,"target":{"url":"http://x"}}]}`, "exactly one workload"},
		"bad duration":   {"", plan, `{` + good + `,"idleTimeout":5}`, "a duration is a string"},
		"no unit":        {"", plan, `{` + good + `,"idleTimeout":"5"}`, "missing unit"},
		"status unknown": {"", status, `{"version":1,"phase":"Ready","x":1}`, "unknown field"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := c.parse([]byte(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q in it", c.reason, err, c.want)
			}
		})
	}
}

func TestVersionError(t *testing.T) {
	_, err := ParsePlan([]byte(`{"version":99}`))
	if v, ok := errors.AsType[*VersionError](err); !ok || v.Got != 99 || v.File != PlanFile {
		t.Errorf("got %#v, want a VersionError of plan.json and 99", err)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no fixtures", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRecord(b); err == nil && r.Version != Version {
			t.Errorf("a record of version %d was read", r.Version)
		}
		if p, err := ParsePlan(b); err == nil {
			again, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			q, err := ParsePlan(again)
			if err != nil {
				t.Fatalf("what was read cannot be read again: %v\n%s", err, again)
			}
			if diff := cmp.Diff(p, q); diff != "" {
				t.Errorf("read, written and read again it differs:\n%s", diff)
			}
		}
		// These must only not panic.
		_, _ = ParseControl(b)
		_, _ = ParseStatus(b)
		_, _ = ParseExit(b)
		_, _ = ParseCounters(b)
	})
}

func TestIncrease(t *testing.T) {
	c := Counters{Targets: []CounterTarget{
		{Name: "a", FirstGood: true, LastGood: true, Series: []CounterSeries{
			{Name: "n", Labels: map[string]string{"x": "1"}, Increase: 3}, {Name: "n", Increase: 4}, {Name: "m", Increase: 9}}},
		{Name: "b", FirstGood: true, Series: []CounterSeries{{Name: "n", Increase: 5}}},
	}}
	cases := map[string]struct {
		check CrossCheck
		want  float64
		known bool
	}{
		"summed":              {CrossCheck{Target: "a", Metric: "n"}, 7, true},
		"no last scrape":      {CrossCheck{Target: "b", Metric: "n"}, 0, false},
		"metric not there":    {CrossCheck{Target: "a", Metric: "k"}, 0, false},
		"target not in there": {CrossCheck{Target: "c", Metric: "n"}, 0, false},
		"with its label":      {CrossCheck{Target: "a", Metric: "n", Labels: map[string]string{"x": "1"}}, 3, true},
		"another label":       {CrossCheck{Target: "a", Metric: "n", Labels: map[string]string{"x": "2"}}, 0, true},
	}
	for name, w := range cases {
		if got, known := c.Increase(w.check); got != w.want || known != w.known {
			t.Errorf("%s: got %v, %v; want %v, %v", name, got, known, w.want, w.known)
		}
	}
}

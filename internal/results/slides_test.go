package results

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// latencyOf is a mean and a p95 of a metric, in seconds.
func latencyOf(metric string, mean, p95 float64) []Value {
	return []Value{
		{Metric: metric, Statistic: "mean", Unit: "s", Value: &mean, Interval: NoInterval, Note: "n"},
		{Metric: metric, Statistic: "p95", Unit: "s", Value: &p95, Interval: NoInterval, Note: "n"},
	}
}

func valueOf(metric, unit string, x float64) Value {
	return Value{Metric: metric, Statistic: "value", Unit: unit, Value: &x, Interval: NoInterval, Note: "n"}
}

// ofTheSlides are results with the very numbers of the slides. They have a mean beside four failures, which ours never have.
func ofTheSlides() (inference, store Result) {
	loadgen := ClientResult{
		Name: "loadgen", Workload: "inference", Model: "facebook/opt-125m", Mode: "closed", Concurrency: 8, Ranks: 2, Window: 120, Sound: true,
		Measured: Counts{Offered: 3680, Succeeded: 3676, Failed: 4}, Repeats: []RepeatPart{{Repeat: 1, Ranks: 2, Whole: true}},
		Values: append(latencyOf("e2e", 0.1255, 0.1957), valueOf("request_throughput", "1/s", 30.4),
			valueOf("output_token_throughput", "1/s", 1437), valueOf("success_ratio", "1", 0.999)),
	}
	objects := ClientResult{
		Name: "objects", Workload: "s3", Mode: "closed", Concurrency: 16, Ranks: 4, Window: 300, Sound: true,
		Measured: Counts{Offered: 6800, Succeeded: 6800}, Repeats: []RepeatPart{{Repeat: 1, Ranks: 4, Whole: true}},
		Operations: []OperationCount{{Name: "put", Succeeded: 3400}, {Name: "get", Succeeded: 3400}},
		Values: slices.Concat(latencyOf("put", 0.53, 0.96), latencyOf("get", 0.36, 0.67), latencyOf("e2e", 9, 9), latencyOf("get_ttfb", 8, 8),
			[]Value{valueOf("request_throughput", "1/s", 22.7), valueOf("read_throughput", "B/s", 300e6), valueOf("write_throughput", "B/s", 280e6), valueOf("success_ratio", "1", 1)}),
	}
	inference, store = head(1), head(1)
	inference.Benchmark, inference.Outcome, inference.RepeatsWhole, inference.Clients = "vllm", Passed, 1, []ClientResult{loadgen}
	store.Benchmark, store.Outcome, store.RepeatsWhole, store.Clients = "minio", Passed, 1, []ClientResult{objects}
	return inference, store
}

func TestTheTableOfTheSlides(t *testing.T) {
	inference, store := ofTheSlides()
	want := Slides{Rows: [][]string{
		{"Metric", "vllm", "minio"},
		{"Duration", "120 s", "300 s"},
		{"Clients", "2 instances x 4 threads", "4 instances x 4 threads"},
		{"Model/Target", "facebook/opt-125m", "Object PUT/GET"},
		{"Total Ops", "3,680 requests", "6,800 objects"},
		{"Throughput", "15.2 req/s (per client)", "145 MB/s (per client)"},
		{"Latency Avg", "125.5 ms", "PUT: 530 ms / GET: 360 ms"},
		{"Latency P95", "195.7 ms", "PUT: 960 ms / GET: 670 ms"},
		{"Tokens/s", "1,437 tokens/s", "-"},
		{"Success Rate", "99.9 %", "100 %"},
	}}
	if diff := cmp.Diff(want, NewSlides([]Result{inference, store})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// row is a cell of the only column of a result's table.
func row(t *testing.T, r Result, name string) string {
	t.Helper()
	rows := NewSlides([]Result{r}).Rows
	at := slices.IndexFunc(rows, func(cells []string) bool { return cells[0] == name })
	if at < 0 || len(rows[at]) != 2 {
		t.Fatalf("row %s of %v", name, rows)
	}
	return rows[at][1]
}

func TestSlidesCells(t *testing.T) {
	number := func(metric, statistic string, change func(v *Value)) func(*ClientResult) {
		return func(c *ClientResult) { change(Find(c.Values, metric, statistic)) }
	}
	none := func(v *Value) { v.Value, v.Note = nil, "there is none" }
	bounded := func(low float64) func(*Value) {
		return func(v *Value) { v.AtLeast, v.Low, v.Interval = true, &low, OverRequests }
	}
	without := func(metric string) func(*ClientResult) {
		return func(c *ClientResult) {
			c.Values = slices.DeleteFunc(c.Values, func(v Value) bool { return v.Metric == metric })
		}
	}
	for reason, tt := range map[string]struct {
		store     bool
		change    func(c *ClientResult)
		row, want string
	}{
		"an open loop has a rate": {false, func(c *ClientResult) { c.Mode, c.Rate = "open", 12 }, "Clients", "2 instances at 12 req/s in all"},
		"of one instance it is its own": {false, func(c *ClientResult) {
			c.Mode, c.Rate, c.Ranks, c.Repeats[0].Ranks = "open", 0.5, 1, 1
		}, "Clients", "1 instance at 0.5 req/s"},
		"a thread alone":               {false, func(c *ClientResult) { c.Concurrency, c.Ranks, c.Repeats[0].Ranks = 1, 1, 1 }, "Clients", "1 instance x 1 thread"},
		"threads that cannot be split": {false, func(c *ClientResult) { c.Concurrency = 5 }, "Clients", "2 instances, 5 threads in all"},
		"threads of those that were there": {false, func(c *ClientResult) {
			c.Concurrency, c.Repeats[0].Ranks = 4, 1
		}, "Clients", "1 of 2 instances x 4 threads"},
		"nobody measured": {false, func(c *ClientResult) { c.Repeats = nil }, "Clients", "2 instances"},
		"a throughput is that of those that were there": {false, func(c *ClientResult) { c.Repeats[0].Ranks = 1 }, "Throughput", "30.4 req/s (per client)"},
		"instances that come and go have no share": {false, func(c *ClientResult) {
			c.Repeats = append(c.Repeats, RepeatPart{Repeat: 2, Ranks: 1})
		}, "Throughput", "30.4 req/s (all clients)"},
		"a bound is divided too":                    {false, number("request_throughput", "value", bounded(20)), "Throughput", "≥ 10.0 req/s (per client)"},
		"no throughput":                             {false, number("request_throughput", "value", none), "Throughput", "-"},
		"not counted":                               {false, without("request_throughput"), "Throughput", "-"},
		"only reads are counted":                    {true, without("write_throughput"), "Throughput", "75.0 MB/s (per client)"},
		"only writes are counted":                   {true, without("read_throughput"), "Throughput", "70.0 MB/s (per client)"},
		"a sum with an unknown":                     {true, number("read_throughput", "value", none), "Throughput", "-"},
		"a sum with another unknown":                {true, number("write_throughput", "value", none), "Throughput", "-"},
		"a sum with a bound":                        {true, number("read_throughput", "value", bounded(200e6)), "Throughput", "≥ 120 MB/s (per client)"},
		"a bound":                                   {false, number("e2e", "p95", bounded(0.19)), "Latency P95", "≥ 190 ms"},
		"no number":                                 {false, number("e2e", "mean", none), "Latency Avg", "-"},
		"one operation without a number":            {true, number("put", "mean", none), "Latency Avg", "PUT: - / GET: 360 ms"},
		"one operation that is not counted":         {true, without("get"), "Latency P95", "PUT: 960 ms / GET: -"},
		"an operation that this program knows not":  {true, func(c *ClientResult) { c.Operations[1].Name = "list" }, "Latency P95", "PUT: 960 ms / LIST: -"},
		"a load of one operation":                   {true, func(c *ClientResult) { c.Operations = c.Operations[1:] }, "Model/Target", "Object GET"},
		"objects without operations":                {true, func(c *ClientResult) { c.Operations = nil }, "Model/Target", "-"},
		"no model":                                  {false, func(c *ClientResult) { c.Model = "" }, "Model/Target", "-"},
		"a model in two lines":                      {false, func(c *ClientResult) { c.Model = "a\n\x1b[31mb" }, "Model/Target", "a [31mb"},
		"one request":                               {false, func(c *ClientResult) { c.Measured.Offered = 1 }, "Total Ops", "1 request"},
		"nothing measured is not zero requests":     {false, func(c *ClientResult) { c.Repeats = nil }, "Total Ops", "-"},
		"a window of milliseconds, as it was":       {false, func(c *ClientResult) { c.Window = 5.928000001 }, "Duration", "5.928 s"},
		"a window that nobody measured":             {false, func(c *ClientResult) { c.Window = 0 }, "Duration", "-"},
		"a share under one is never 100 %":          {false, number("success_ratio", "value", func(v *Value) { v.Value = new(0.99996) }), "Success Rate", "99.996 %"},
		"no share":                                  {false, number("success_ratio", "value", none), "Success Rate", "-"},
		"no tokens":                                 {false, number("output_token_throughput", "value", none), "Tokens/s", "-"},
		"tokens of all instances, whoever measured": {false, func(c *ClientResult) { c.Repeats[0].Ranks = 1 }, "Tokens/s", "1,437 tokens/s"},
	} {
		r, store := ofTheSlides()
		if tt.store {
			r = store
		}
		tt.change(&r.Clients[0])
		if got := row(t, r, tt.row); got != tt.want {
			t.Errorf("%s: %q, want %q", reason, got, tt.want)
		}
	}
}

func TestSlidesHeads(t *testing.T) {
	one, other := ofTheSlides()
	two := one
	two.Clients = append(slices.Clone(one.Clients), other.Clients[0])
	empty := head(1)
	empty.Benchmark, empty.Outcome, empty.Message = "none", Failed, "the recipe has no client"
	got := NewSlides([]Result{one, other, two, empty})
	if diff := cmp.Diff([]string{"Metric", "vllm (1)", "minio", "vllm (2) loadgen", "vllm (2) objects", "none"}, got.Rows[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, cells := range got.Rows[1:] {
		if len(cells) != 6 || cells[5] != "-" || cells[1] != cells[3] {
			t.Errorf("row %q", cells)
		}
	}
	if diff := cmp.Diff([]string{"✗ none is not valid: Failed: the recipe has no client"}, got.Notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A table never hides that its numbers prove nothing, nor what they are taken over.
func TestSlidesNotes(t *testing.T) {
	limited := func(r *Result) {
		r.Clients[0].Sound, r.Clients[0].Limits = false, []string{"repeat 1 rank 0: send lag"}
	}
	repeats := func(there, whole, planned int) func(*Result) {
		return func(r *Result) {
			r.RepeatsPlanned, r.RepeatsWhole = planned, whole
			r.Clients[0].Repeats = slices.Repeat(r.Clients[0].Repeats, there)
		}
	}
	const words = "the client limited the result: loadgen repeat 1 rank 0: send lag"
	end := func(outcome, message string) func(*Result) {
		return func(r *Result) { r.Outcome, r.Message = outcome, message }
	}
	for reason, tt := range map[string]struct {
		changes []func(*Result)
		want    []string
	}{
		"a result that passed":   {nil, nil},
		"a violated SLO counts":  {[]func(*Result){end(SLOViolated, "m")}, nil},
		"an undecided one too":   {[]func(*Result){end(Undecided, "m")}, nil},
		"invalid":                {[]func(*Result){limited, end(MeasurementInvalid, words)}, []string{"✗ vllm is not valid: MeasurementInvalid: " + words}},
		"partial":                {[]func(*Result){end(Partial, "m")}, []string{"✗ vllm is not valid: Partial: m"}},
		"failed":                 {[]func(*Result){end(Failed, "m")}, []string{"✗ vllm is not valid: Failed: m"}},
		"aborted":                {[]func(*Result){end(Aborted, "m")}, []string{"✗ vllm is not valid: Aborted: m"}},
		"timed out":              {[]func(*Result){end(TimedOut, "m")}, []string{"✗ vllm is not valid: TimedOut: m"}},
		"an outcome yet unknown": {[]func(*Result){end("Cursed", "m")}, []string{"✗ vllm is not valid: Cursed: m"}},
		"failed and limited":     {[]func(*Result){limited, end(Failed, "m")}, []string{"✗ vllm is not valid: Failed: m; " + words}},
		"not sound, though it passed": {
			[]func(*Result){limited}, []string{"✗ vllm is not valid: " + words},
		},
		"limited, and warned of that": {
			[]func(*Result){limited, end(Partial, "m"), func(r *Result) { r.Warnings = []string{words} }},
			[]string{"✗ vllm is not valid: Partial: m; " + words},
		},
		"a warning": {[]func(*Result){func(r *Result) { r.Warnings = []string{"w"} }}, []string{"! vllm: w"}},
		"a few repeats": {
			[]func(*Result){repeats(3, 3, 3)}, []string{"vllm: over 3 repeats, all their requests together"},
		},
		"six repeats": {
			[]func(*Result){repeats(6, 6, 6)}, []string{"vllm: over 6 repeats: Total Ops and Success Rate over all their requests together, " +
				"the other numbers the medians of the repeats, or over all requests too where one repeat has too few"},
		},
		"repeats that are missing": {
			[]func(*Result){repeats(1, 0, 3)}, []string{"vllm: over 1 of 3 repeats, 0 of them whole, all their requests together"},
		},
		"a number that is missing": {
			[]func(*Result){func(r *Result) {
				v := Find(r.Clients[0].Values, "e2e", "mean")
				v.Value, v.Note = nil, "4 of 3,680 requests failed"
				r.Clients[0].Values = append(r.Clients[0].Values, latencyOf("e2e_ok", 0.125, 0.19)...)
			}},
			[]string{"vllm: no Latency Avg: 4 of 3,680 requests failed; over those that succeeded it is 125 ms"},
		},
		"a number that is missing altogether": {
			[]func(*Result){func(r *Result) { v := Find(r.Clients[0].Values, "e2e", "p95"); v.Value, v.Note = nil, "all failed" }},
			[]string{"vllm: no Latency P95: all failed"},
		},
		"a bound": {
			[]func(*Result){func(r *Result) { v := Find(r.Clients[0].Values, "e2e", "p95"); v.AtLeast, v.Low = true, new(0.19) }},
			[]string{"≥: there are too few requests for an upper end; the true value is at least this."},
		},
	} {
		r, _ := ofTheSlides()
		for _, change := range tt.changes {
			change(&r)
		}
		if diff := cmp.Diff(tt.want, NewSlides([]Result{r}).Notes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
}

// storeOf is the input of a load of writes and reads: a read takes as long as a fake's ttft, a write as long as its e2e.
func storeOf(t *testing.T, f fake) Input {
	t.Helper()
	f.change = func(r *Rank) {
		at := func(name string) *Metric {
			return &r.Metrics[slices.IndexFunc(r.Metrics, func(m Metric) bool { return m.Name == name })]
		}
		get, put := *at("ttft"), *at("e2e")
		get.Name, put.Name = "get", "put"
		r.Workload, r.Metrics = "s3", []Metric{get, put, *at("e2e"), *at("send_lag")}
		failed := r.Operations[0]
		failed.Name, failed.Succeeded = "put", r.Measured.Succeeded/2
		r.Operations = []Operation{failed, {Name: "get", Succeeded: r.Measured.Succeeded - failed.Succeeded}, {Name: "head"}, {Name: "delete"}}
		r.Totals = []Total{{"bytes_read", 3e9, 2e9}, {"bytes_written", 3e9, 1e9}}
	}
	return input(t, f)
}

// examples are tables as people meet them, of results that Build made.
func examples(t *testing.T) map[string][]Result {
	t.Helper()
	all := ends(t)
	for name, in := range all {
		in.Head.Benchmark, in.Clients[0].Model = name, "facebook/opt-125m"
		all[name] = in
	}
	store := storeOf(t, fake{ranks: 4, repeats: 3, requests: 200, seed: 4, ttft: 30})
	store.Head.Benchmark = "minio"
	failing := storeOf(t, fake{ranks: 2, repeats: 1, requests: 200, seed: 4, ttft: 30, failures: 0.1})
	failing.Head.Benchmark, failing.Clients[0].Name = "failing", "objects"
	failing.Clients = append(failing.Clients, all["passed"].Clients[0])
	failing.Clients[1].Results = failing.Clients[1].Results[:1]
	return map[string][]Result{
		"slides":          {build(t, all["passed"]), build(t, store)},
		"slides-doubtful": {build(t, all["invalid"]), build(t, all["partial"]), build(t, all["failed"]), build(t, all["undecided"]), build(t, failing)},
	}
}

func TestSlidesAsTexts(t *testing.T) {
	for name, results := range examples(t) {
		for ending, write := range map[string]func(Slides, *bytes.Buffer) error{
			".txt": func(s Slides, w *bytes.Buffer) error { return s.Text(w) },
			".md":  func(s Slides, w *bytes.Buffer) error { return s.Markdown(w) },
		} {
			var got bytes.Buffer
			if err := write(NewSlides(results), &got); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+ending)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (write anew with -update):\n%s", path, diff)
			}
		}
	}
}

// What Build made of ranks reaches the table, each number from its field and each field in one place alone.
func TestSlidesFollowTheFile(t *testing.T) {
	built := examples(t)["slides"][1]
	if diff := cmp.Diff([]OperationCount{{Name: "put", Succeeded: 1200}, {Name: "get", Succeeded: 1200}}, built.Clients[0].Operations); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
	file, err := Marshal(built)
	if err != nil {
		t.Fatal(err)
	}
	before := NewSlides([]Result{built}).Rows
	half := func(metric, statistic string) func(*ClientResult) {
		return func(c *ClientResult) { *Find(c.Values, metric, statistic).Value /= 2 }
	}
	for name, tt := range map[string]struct {
		row    string
		change func(c *ClientResult)
	}{
		"window":      {"Duration", func(c *ClientResult) { c.Window /= 2 }},
		"ranks":       {"Clients", func(c *ClientResult) { c.Ranks++ }},
		"concurrency": {"Clients", func(c *ClientResult) { c.Concurrency *= 2 }},
		"operations":  {"Model/Target", func(c *ClientResult) { c.Operations = append(c.Operations, OperationCount{Name: "head"}) }},
		"requests":    {"Total Ops", func(c *ClientResult) { c.Measured.Offered *= 2 }},
		"read":        {"Throughput", half("read_throughput", "value")},
		"written":     {"Throughput", half("write_throughput", "value")},
		"put mean":    {"Latency Avg", half("put", "mean")},
		"get mean":    {"Latency Avg", half("get", "mean")},
		"put p95":     {"Latency P95", half("put", "p95")},
		"get p95":     {"Latency P95", half("get", "p95")},
		"success":     {"Success Rate", half("success_ratio", "value")},
	} {
		r, err := Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		tt.change(&r.Clients[0])
		for i, cells := range NewSlides([]Result{r}).Rows {
			if name == "operations" && strings.HasPrefix(cells[0], "Latency") {
				continue // they are told by operation
			}
			if differs := !slices.Equal(cells, before[i]); differs != (cells[0] == tt.row) {
				t.Errorf("%s: row %q, before %q", name, cells, before[i])
			}
		}
	}
}

func TestSlidesInMarkdown(t *testing.T) {
	s := Slides{Rows: [][]string{{"Metric", `a|b \ *c*`}, {"Row", "<i>`x`"}}, Notes: []string{"two\nlines | <b>"}}
	var got bytes.Buffer
	if err := s.Markdown(&got); err != nil {
		t.Fatal(err)
	}
	want := "| Metric | a\\|b \\\\ \\*c\\* |\n| --- | --- |\n| Row | &lt;i>\\`x\\` |\n\n- two lines \\| &lt;b>\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSlidesSayWhenTheyCannotBeWritten(t *testing.T) {
	r, _ := ofTheSlides()
	s := NewSlides([]Result{r})
	if text, markdown := s.Text(full{}), s.Markdown(full{}); !errors.Is(text, errFull) || !errors.Is(markdown, errFull) {
		t.Errorf("got %v, %v", text, markdown)
	}
	var empty bytes.Buffer
	if err := NewSlides(nil).Text(&empty); err != nil || !utf8.Valid(empty.Bytes()) {
		t.Errorf("no result: %v", err)
	}
}

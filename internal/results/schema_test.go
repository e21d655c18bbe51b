package results

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("result.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("result.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func valid(t testing.TB, s *jsonschema.Schema, r Result) error {
	t.Helper()
	b, err := Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// every is a result with every list and every optional field filled.
func every(t testing.TB) Input {
	t.Helper()
	f := whole()
	f.failures = 0.1
	f.change = func(r *Rank) {
		r.Audit = Audit{Violations: []string{"ports ran out"}, Descriptors: true, Ports: true, Saturated: true, SaturatedFor: 5, GOMAXPROCS: 1}
		r.StartLate = second
		r.Operations[0].Name = "one"
		r.FailedAttempts = []ErrorCount{{Operation: "one", Kind: "http_5xx", Code: 503, Count: 9, Sample: "try again"}}
	}
	in := input(t, f, atMost("ttft", "p99", 0.06), atLeast("success_ratio", 0.9), atMost("itl_token", "p99.9", 1), atMost("send_lag", "max", 1))
	in.Clients[0].Model = "facebook/opt-125m"
	in.Head.TimeScale, in.Head.Services[0].Message, in.Head.Warnings = "0.1", "in words", []string{"one"}
	in.Head.Services[0].GPUs = []GPUCheck{
		{Host: "mel2001", State: GPUVerified, Given: []string{"GPU-a"}, Seen: []string{"GPU-a"}},
		{Rank: 1, Host: "mel2002", State: GPUUnverified, Message: "nvidia-smi is not in the PATH of mel2002"},
	}
	in.Checks = []CheckInput{
		{Service: "sim", Repeat: 1, Metric: "vllm:generation_tokens_total", Total: "output_tokens", Increase: 5, Known: true, Clients: []string{"loadgen"}},
		{Service: "sim", Repeat: 2, Metric: "vllm:generation_tokens_total", Total: "requests"},
	}
	return in
}

func TestSchemaAcceptsWhatBuildMakes(t *testing.T) {
	s := compiled(t)
	inputs := outcomes(t)
	inputs["everything"] = every(t)
	inputs["six repeats"] = input(t, fake{ranks: 1, repeats: 6, requests: 400, seed: 5, ttft: 30}, atMost("ttft", "p99", 0.06))
	inputs["six failing repeats"] = input(t, fake{ranks: 1, repeats: 6, requests: 100, seed: 5, ttft: 30, failures: 0.4}, atMost("e2e", "mean", 1))
	inputs["six dead repeats"] = input(t, fake{ranks: 1, repeats: 6, requests: 100, seed: 5, failures: 1}, atMost("itl_token", "p50", 1))
	inputs["an open loop"] = input(t, fake{ranks: 1, repeats: 1, requests: 400, seed: 5, ttft: 30, mode: "open"})
	inputs["no request"] = input(t, fake{ranks: 1, repeats: 1, seed: 5}, atMost("ttft", "p99", 1), atLeast("success_ratio", 0.9))
	inputs["one request"] = input(t, fake{ranks: 1, repeats: 1, requests: 1, seed: 5, ttft: 30})
	for name, in := range inputs {
		if err := valid(t, s, build(t, in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	tests := map[string]func(r *Result){
		"an unknown outcome":         func(r *Result) { r.Outcome = "Great" },
		"an unknown version":         func(r *Result) { r.Schema = "assay.bench/result/v2" },
		"an unknown verdict":         func(r *Result) { r.SLOs[0].Verdict = "Maybe" },
		"an unknown unit":            func(r *Result) { r.SLOs[0].Value.Unit = "ms" },
		"an unknown kind of failure": func(r *Result) { r.Clients[0].Errors[0].Kind = "bad luck" },
		"a list that is null":        func(r *Result) { r.Clients[0].Repeats[0].Values = nil },
		"no number and no reason":    func(r *Result) { v := &r.Clients[0].Values[0]; v.Value, v.Note = nil, "" },
		"no interval and no reason": func(r *Result) {
			v := &r.Clients[0].Values[0]
			v.Interval, v.Low, v.High, v.Note = NoInterval, nil, nil, ""
		},
		"an interval called none":         func(r *Result) { v := &r.Clients[0].Values[0]; v.Interval, v.Low = NoInterval, new(1.0) },
		"an interval without any end":     func(r *Result) { v := &r.Clients[0].Values[0]; v.Interval, v.Low, v.High = OverRuns, nil, nil },
		"a bound with an upper end":       func(r *Result) { v := &r.Clients[0].Values[0]; v.AtLeast, v.Low, v.High = true, new(1.0), new(2.0) },
		"an operation without a name":     func(r *Result) { r.Clients[0].Operations[0].Name = "" },
		"a negative count":                func(r *Result) { r.Clients[0].Measured.Failed = -1 },
		"an SLO with two limits":          func(r *Result) { r.SLOs[0].AtLeast = new(1.0) },
		"an SLO with no limit":            func(r *Result) { r.SLOs[0].AtMost = nil },
		"a verdict that does not say why": func(r *Result) { r.SLOs[0].Why = "" },
		"an unknown state of GPUs":        func(r *Result) { r.Services[0].GPUs[0].State = "Fine" },
		"more than all scrapes":           func(r *Result) { r.Services[0].Coverage = 1.1 },
	}
	s := compiled(t)
	for name, change := range tests {
		r := build(t, every(t))
		if err := valid(t, s, r); err != nil {
			t.Fatalf("before the change: %v", err)
		}
		change(&r)
		if valid(t, s, r) == nil {
			t.Errorf("the schema accepts %s", name)
		}
	}
}

// object is what the tests read of a schema.
type object struct {
	Ref                  string            `json:"$ref"`
	Type                 any               `json:"type"`
	Properties           map[string]object `json:"properties"`
	Required             []string          `json:"required"`
	AdditionalProperties *bool             `json:"additionalProperties"`
	Items                *object           `json:"items"`
	Description          string            `json:"description"`
	Defs                 map[string]object `json:"$defs"`
}

// Every field of every struct stands in the schema with a description, and the schema names no other.
func TestSchemaHasEveryField(t *testing.T) {
	var root object
	if err := json.Unmarshal(JSONSchema(), &root); err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	var compare func(path string, o object, of reflect.Type)
	compare = func(path string, o object, of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			if of.Kind() == reflect.Slice {
				if o.Items == nil {
					t.Errorf("%s is a list, its schema is not", path)
					return
				}
				o = *o.Items
			}
			of = of.Elem()
		}
		if o.Ref != "" {
			name := strings.TrimPrefix(o.Ref, "#/$defs/")
			reached[name] = true
			o = root.Defs[name]
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
			return
		}
		if o.AdditionalProperties == nil || *o.AdditionalProperties {
			t.Errorf("%s takes properties that it does not name", path)
		}
		var fields, required []string
		for f := range of.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, name)
			if options != "omitempty" {
				required = append(required, name)
			}
			p := o.Properties[name]
			if p.Description == "" && p.Ref == "" {
				t.Errorf("%s.%s has no description", path, name)
			}
			compare(path+"."+name, p, f.Type)
		}
		slices.Sort(fields)
		if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(o.Properties))); diff != "" {
			t.Errorf("%s: fields against properties:\n%s", path, diff)
		}
		slices.Sort(required)
		slices.Sort(o.Required)
		if diff := cmp.Diff(required, o.Required); diff != "" {
			t.Errorf("%s: fields that are always there against those required:\n%s", path, diff)
		}
	}
	compare("result", root, reflect.TypeFor[Result]())
	for name := range root.Defs {
		if !reached[name] {
			t.Errorf("the schema defines %s, which nothing uses", name)
		}
	}
}

// The page that explains the file names every field and every metric.
func TestPageNamesEverything(t *testing.T) {
	page, err := os.ReadFile("../../docs/results.md")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`[A-Za-z0-9_.]+`).FindAllString(strings.ReplaceAll(string(page), "[]", ""), -1)
	names := latencies()
	for _, r := range rates() {
		names = append(names, r.metric)
	}
	for _, s := range statistics() {
		names = append(names, s.name)
	}
	for _, of := range []any{Result{}, Value{}, ClientResult{}, RepeatPart{}, ServiceResult{}, ServiceImage{}, GPUCheck{}, CrossCheck{}, Verdict{}, Job{}, Counts{}, ErrorCount{}, OperationCount{}, Audit{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(of)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	for _, name := range append(names, "success_ratio", OverRuns, OverRequests, NoInterval, Met, Violated, Undecided, NotJudged) {
		if !slices.Contains(words, name) {
			t.Errorf("docs/results.md does not name %s", name)
		}
	}
}

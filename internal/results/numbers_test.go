package results

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// numeric finds the numbers of a text. The names of percentiles, p99.9, and those of services and folders are none.
var numeric = regexp.MustCompile(`[0-9]+(,[0-9]{3})*(\.[0-9]+)?(e[-+][0-9]+)?`)

// walk calls f for each number and each string of a JSON document.
func walk(doc any, number func(json.Number), text func(string)) {
	switch x := doc.(type) {
	case map[string]any:
		for _, v := range x {
			walk(v, number, text)
		}
	case []any:
		for _, v := range x {
			walk(v, number, text)
		}
	case json.Number:
		number(x)
	case string:
		text(x)
	}
}

// written are all ways in which the summary may write a number.
func written(x float64) []string {
	var out []string
	for _, unit := range []string{"s", "1/s", "1", ""} {
		out = append(out, Quantity(x, unit), bound(x, unit))
		for _, s := range []scale{{1, ""}, {1e3, ""}, {1e6, ""}, {100, ""}} {
			for significant := 3; significant <= 8; significant++ {
				out = append(out, s.text(x, significant))
			}
		}
	}
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		out = append(out, count(int64(x)))
	}
	return append(out, length(x))
}

func spaces(text string) string { return strings.Join(strings.Fields(text), " ") }

// No number on a screen that is not in the file: each of a summary is one of result.json, by the functions that write
// numbers, or stands in one of its sentences.
func TestEveryNumberIsInTheFile(t *testing.T) {
	inputs := ends(t)
	inputs["everything"] = every(t)
	for name, in := range inputs {
		r := build(t, in)
		file, err := Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(file))
		decoder.UseNumber()
		var doc any
		if err := decoder.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		var sentences []string
		walk(doc, func(n json.Number) {
			x, err := n.Float64()
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range written(x) {
				for _, token := range numeric.FindAllString(w, -1) {
					known[token] = true
				}
			}
		}, func(s string) {
			if numeric.FindString(s) == s {
				known[s] = true // the id of a job
			} else if s != "1/s" {
				sentences = append(sentences, spaces(s))
			}
		})
		// What is left once the file's own sentences and the names of percentiles are gone must be numbers of the file.
		rest := spaces(text(t, r))
		slices.SortFunc(sentences, func(a, b string) int { return len(b) - len(a) })
		for _, s := range sentences {
			if s != "" && numeric.MatchString(s) {
				rest = strings.ReplaceAll(rest, s, "")
			}
		}
		rest = strings.ReplaceAll(regexp.MustCompile(`p(50|90|95|99\.9|99)\b`).ReplaceAllString(rest, ""), "95 % interval", "")
		found := numeric.FindAllString(rest, -1)
		if len(found) < 3 && name != "failed" {
			t.Fatalf("%s: the test finds only %q", name, found)
		}
		for _, token := range found {
			if !known[token] {
				t.Errorf("%s: %s is on the screen and not in the file", name, token)
			}
		}
	}
}

// Each number that the summary shows comes from its field: another value there gives another text.
func TestSummaryFollowsTheFile(t *testing.T) {
	value := func(metric, statistic string) func(r *Result) *Value {
		return func(r *Result) *Value { return Find(r.Clients[0].Values, metric, statistic) }
	}
	changes := map[string]func(r *Result){
		"took":            func(r *Result) { r.Took *= 2 },
		"message":         func(r *Result) { r.Message = "another" },
		"repeats whole":   func(r *Result) { r.RepeatsWhole-- },
		"repeats planned": func(r *Result) { r.RepeatsPlanned++ },
		"coverage":        func(r *Result) { r.Services[0].Coverage = 0.9 },
		"limit":           func(r *Result) { *r.SLOs[0].AtMost *= 2 },
		"SLO value":       func(r *Result) { *r.SLOs[0].Value.Value *= 2 },
		"SLO low":         func(r *Result) { *r.SLOs[0].Value.Low /= 2 },
		"SLO high":        func(r *Result) { *r.SLOs[0].Value.High *= 2 },
		"SLO runs":        func(r *Result) { r.SLOs[0].Value.Runs++ },
		"SLO why":         func(r *Result) { r.SLOs[0].Why = "another" },
		"SLO verdict":     func(r *Result) { r.SLOs[0].Verdict = Violated },
		"warm-up":         func(r *Result) { r.Clients[0].Warmup *= 2 },
		"window":          func(r *Result) { r.Clients[0].Window *= 2 },
		"concurrency":     func(r *Result) { r.Clients[0].Concurrency *= 2 },
		"in flight":       func(r *Result) { r.Clients[0].InFlight *= 2 },
		"ranks":           func(r *Result) { r.Clients[0].Ranks++ },
		"offered":         func(r *Result) { r.Clients[0].Measured.Offered++ },
		"error":           func(r *Result) { r.Clients[0].Errors = []ErrorCount{{Kind: "dns", Count: 7}} },
		"cross-check":     func(r *Result) { r.CrossChecks[0].Agrees = false },
		"sound":           func(r *Result) { r.Clients[0].Sound = false },
		"a limit":         func(r *Result) { r.Clients[0].Limits = []string{"broken"} },
		"a warning":       func(r *Result) { r.Warnings[0] = "another" },
	}
	for _, metric := range []string{"ttft", "e2e", "tpot", "itl_token"} {
		for _, s := range statistics() {
			v := value(metric, s.name)
			changes[metric+" "+s.name] = func(r *Result) { *v(r).Value *= 2 }
			if s.name == "max" {
				continue
			}
			changes[metric+" "+s.name+" low"] = func(r *Result) { *v(r).Low /= 2 }
		}
		v := value(metric, "p50")
		changes[metric+" high"] = func(r *Result) { *v(r).High *= 2 }
	}
	for _, metric := range []string{"request_throughput", "output_token_throughput", "input_token_throughput", "success_ratio"} {
		v := value(metric, "value")
		changes[metric] = func(r *Result) { *v(r).Value /= 2 }
		changes[metric+" low"] = func(r *Result) { *v(r).Low /= 2 }
		changes[metric+" high"] = func(r *Result) { *v(r).High *= 2 }
	}
	in := ends(t)["passed"]
	before := text(t, build(t, in))
	for name, change := range changes {
		r := build(t, in)
		if strings.Contains(name, "p99") && !strings.HasSuffix(name, " low") {
			if v := value(strings.Fields(name)[0], strings.Fields(name)[1])(&r); v.AtLeast {
				continue // a bound shows its lower end
			}
		}
		change(&r)
		if text(t, r) == before {
			t.Errorf("%s: another value gives the same text", name)
		}
	}
}

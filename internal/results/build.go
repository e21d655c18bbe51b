package results

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Input is everything that a result is made of.
type Input struct {
	// Head holds the fields of the result that are known before: names, times, seed, jobs and so on.
	Head Result
	// Clients in the order of the recipe.
	Clients []ClientInput
	SLOs    []SLO
	// Checks are the servers' counters.
	Checks []CheckInput
	// Failure ended the run before its time; nil for none.
	Failure *Failure
}

// ClientInput is one client and what its ranks wrote.
type ClientInput struct {
	Name, Target string
	// Ranks planned; Results of all ranks and repeats, in any order.
	Ranks   int
	Results []Rank
}

// CheckInput is the increase of a server's counter over one repeat.
type CheckInput struct {
	Service   string
	Repeat    int
	Metric    string
	Total     string // output_tokens, input_tokens or requests
	Tolerance float64
	Increase  float64
	// Known is false when the counter could not be read; Clients are those that target the service.
	Known   bool
	Clients []string
}

// Failure is why a run ended before its time.
type Failure struct {
	// Outcome is Failed, Aborted or TimedOut.
	Outcome string
	Message string
}

// maxLate is how much later than T0 a rank may start, in seconds, before its repeat is partial.
const maxLate = 0.1

// Build makes the result. An error says that a rank's histograms cannot be read.
func Build(in Input) (Result, error) {
	r := in.Head
	r.Schema = Schema
	r.Baseline = r.TimeScale == "" || r.TimeScale == "1"
	byClient := map[string][]part{}
	for _, c := range in.Clients {
		parts, err := joinRanks(c)
		if err != nil {
			return r, err
		}
		byClient[c.Name] = parts
		r.Clients = append(r.Clients, clientResult(c, parts))
	}
	r.RepeatsWhole = wholeRepeats(r.Clients, r.RepeatsPlanned)
	for _, c := range in.Checks {
		r.CrossChecks = append(r.CrossChecks, crossCheck(c, byClient))
	}
	r.warn()
	r.settle(in, byClient)
	r.noNulls()
	return r, nil
}

// Marshal writes result.json.
func Marshal(r Result) ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("result of %s: %w", r.Benchmark, err)
	}
	return append(b, '\n'), nil
}

// Parse reads result.json.
func Parse(b []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("result.json: %w", err)
	}
	if r.Schema != Schema {
		return r, fmt.Errorf("result.json: schema %q, this program reads %q", r.Schema, Schema)
	}
	return r, nil
}

// joinRanks merges a client's ranks for each repeat, in the order of the repeats.
func joinRanks(c ClientInput) ([]part, error) {
	byRepeat := map[int][]Rank{}
	for _, r := range c.Results {
		byRepeat[r.Repeat] = append(byRepeat[r.Repeat], r)
	}
	var repeats []int
	for k := range byRepeat {
		repeats = append(repeats, k)
	}
	slices.Sort(repeats)
	var parts []part
	for _, k := range repeats {
		slices.SortFunc(byRepeat[k], func(a, b Rank) int { return cmp.Compare(a.Rank, b.Rank) })
		p, err := mergeRanks(byRepeat[k])
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func clientResult(c ClientInput, parts []part) ClientResult {
	pooled := pool(parts)
	out := ClientResult{
		Name: c.Name, Target: c.Target, Ranks: c.Ranks, Values: valuesOf(parts),
		Measured: pooled.measured, All: pooled.all, Errors: pooled.errors, Sound: true,
	}
	if len(parts) > 0 {
		first := parts[0].ranks[0]
		out.Workload, out.Mode, out.Seed, out.ScheduleHash = first.Workload, first.Mode, first.Seed, first.ScheduleHash
		out.Warmup, out.Window, out.Cooldown = float64(first.Warmup)/second, float64(first.Window)/second, float64(first.Cooldown)/second
		for _, r := range parts[0].ranks {
			out.Concurrency += r.Concurrency
			out.Rate += r.Rate
		}
	}
	for _, p := range parts {
		rp := repeatPart(p, c.Ranks)
		out.Repeats = append(out.Repeats, rp)
		if !p.sound {
			out.Sound = false
			for _, l := range p.limits {
				out.Limits = append(out.Limits, fmt.Sprintf("repeat %d %s", p.repeat, l))
			}
		}
		for _, a := range rp.Audits {
			out.Saturated = out.Saturated || a.Saturated
		}
	}
	return out
}

func repeatPart(p part, ranks int) RepeatPart {
	out := RepeatPart{Repeat: p.repeat, Ranks: len(p.ranks), Measured: p.measured, All: p.all, Values: valuesOf([]part{p}), T0: p.ranks[0].T0}
	var reasons []string
	if len(p.ranks) < ranks {
		reasons = append(reasons, fmt.Sprintf("%d of %d instances are missing", ranks-len(p.ranks), ranks))
	}
	for _, r := range p.ranks {
		out.Audits = append(out.Audits, r.Audit)
		late := float64(r.StartLate) / second
		out.StartLate = max(out.StartLate, late)
		if late > maxLate {
			reasons = append(reasons, fmt.Sprintf("instance %d began %.3f s late", r.Rank, late))
		}
		if r.Truncated {
			reasons = append(reasons, fmt.Sprintf("instance %d ended early: %s", r.Rank, r.Reason))
		}
	}
	out.Whole, out.Reason = len(reasons) == 0, strings.Join(reasons, "; ")
	e2e := p.dists["e2e"]
	if mean, err := e2e.mean(); err == nil && p.window > 0 {
		out.Little = float64(p.measured.Completed) / p.window * mean / second
	}
	return out
}

func wholeRepeats(clients []ClientResult, planned int) int {
	whole := 0
	for k := 1; k <= planned; k++ {
		all := len(clients) > 0
		for _, c := range clients {
			at := slices.IndexFunc(c.Repeats, func(r RepeatPart) bool { return r.Repeat == k })
			all = all && at >= 0 && c.Repeats[at].Whole
		}
		if all {
			whole++
		}
	}
	return whole
}

// crossCheck compares a counter with the total of the clients that target its service.
func crossCheck(c CheckInput, byClient map[string][]part) CrossCheck {
	out := CrossCheck{Service: c.Service, Repeat: c.Repeat, Metric: c.Metric, Total: c.Total, Tolerance: c.Tolerance}
	for _, name := range c.Clients {
		for _, p := range byClient[name] {
			if p.repeat == c.Repeat {
				out.Clients += total(p.all, c.Total)
			}
		}
	}
	if !c.Known {
		return out
	}
	out.Server = pointer(c.Increase)
	out.Difference = c.Increase - float64(out.Clients)
	bound := c.Tolerance * max(c.Increase, float64(out.Clients))
	out.Agrees = out.Difference <= bound && -out.Difference <= bound
	return out
}

func total(c Counts, name string) int64 {
	switch name {
	case "output_tokens":
		return c.OutputTokens
	case "input_tokens":
		return c.InputTokens
	}
	return c.Attempts
}

// noNulls makes every list a list: readers of JSON need not tell null from empty.
func (r *Result) noNulls() {
	r.Jobs, r.SLOs, r.Clients = list(r.Jobs), list(r.SLOs), list(r.Clients)
	r.Services, r.CrossChecks, r.Warnings = list(r.Services), list(r.CrossChecks), list(r.Warnings)
	for i := range r.Clients {
		c := &r.Clients[i]
		c.Values, c.Errors, c.Repeats = list(c.Values), list(c.Errors), list(c.Repeats)
	}
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

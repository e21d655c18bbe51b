package results

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
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
	// Simulated says that the Site made the numbers up.
	Simulated bool
}

// ClientInput is one client and what its ranks wrote.
type ClientInput struct {
	Name, Target string
	// Model that it asks for; "" for none.
	Model string
	// Ranks planned; Results of all ranks and repeats, in any order.
	Ranks   int
	Results []Rank
}

// CheckInput is the increase of a server's counter over one repeat.
type CheckInput struct {
	Service   string
	Repeat    int
	Metric    string
	Labels    map[string]string
	Total     string // requests, or one of the workload's
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

// client is one client while its result is made.
type client struct {
	ClientInput

	parts  []part // by repeat
	pooled part
	values []Value
}

// Build makes the result. An error says which rank's numbers cannot be.
func Build(in Input) (Result, error) {
	r := in.Head
	r.Schema = Schema
	r.Took = max(0, r.Ended.Sub(r.Started).Seconds())
	r.Warnings = slices.Clone(r.Warnings) // the caller's list keeps its end
	byName := map[string]*client{}
	var clients []*client
	var d decoder
	for _, c := range in.Clients {
		parts, err := joinRanks(&d, c)
		if err != nil {
			return r, err
		}
		one := &client{ClientInput: c, parts: parts, pooled: pool(parts)}
		one.values = valuesOf(one.pooled)
		byName[c.Name] = one
		clients = append(clients, one)
		r.Clients = append(r.Clients, one.result())
	}
	r.RepeatsWhole = wholeRepeats(r.Clients, r.RepeatsPlanned)
	for _, c := range in.Checks {
		r.CrossChecks = append(r.CrossChecks, crossCheck(c, byName))
	}
	r.Counted = counted(r.CrossChecks)
	r.settle(in, byName)
	if in.Simulated {
		r.Baseline = false
		r.addWarningf("the Site is simulated: no number here was measured")
	}
	r.warn(clients)
	r.clean()
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
func joinRanks(d *decoder, c ClientInput) ([]part, error) {
	ordered := slices.Clone(c.Results)
	slices.SortStableFunc(ordered, func(a, b Rank) int {
		return cmp.Or(cmp.Compare(a.Repeat, b.Repeat), cmp.Compare(a.Rank, b.Rank))
	})
	var parts []part
	for len(ordered) > 0 {
		k := ordered[0].Repeat
		n := slices.IndexFunc(ordered, func(r Rank) bool { return r.Repeat != k })
		if n < 0 {
			n = len(ordered)
		}
		p, err := mergeRanks(d, ordered[:n])
		if err != nil {
			return nil, fmt.Errorf("client %s repeat %d: %w", c.Name, k, err)
		}
		parts, ordered = append(parts, p), ordered[n:]
	}
	return parts, nil
}

func (c *client) result() ClientResult {
	out := ClientResult{
		Name: c.Name, Target: c.Target, Model: c.Model, Ranks: c.Ranks, Values: c.values,
		Measured: c.pooled.measured, All: c.pooled.all, Errors: c.pooled.errors, Operations: operationCounts(c.parts),
		FailedAttempts: c.pooled.attempts,
		Sound:          true, InFlight: inFlight(c.pooled),
	}
	if len(c.parts) > 0 {
		first := c.parts[0].ranks[0]
		out.Workload, out.Mode, out.Seed = first.Workload, first.Mode, first.Seed
		out.Payload, out.Content = first.Payload, first.Content
		out.Warmup, out.Window, out.Cooldown = float64(first.Warmup)/second, float64(first.Window)/second, float64(first.Cooldown)/second
		for _, r := range c.parts[0].ranks {
			out.Concurrency += r.Concurrency
			out.Rate += r.Rate
		}
	}
	for _, p := range c.parts {
		one := p.result(c.Ranks)
		out.Repeats = append(out.Repeats, one)
		if p.repeat == 1 {
			out.ScheduleHash = one.ScheduleHash
		}
		for _, l := range p.limits {
			out.Sound = false
			out.Limits = append(out.Limits, fmt.Sprintf("repeat %d %s", p.repeat, l))
		}
		for _, a := range one.Audits {
			out.Saturated = out.Saturated || a.Saturated
		}
	}
	return out
}

// operationCounts adds up the measured requests by kind over ranks and repeats. A workload names every kind that it
// knows; those that the load did not ask for have no request.
func operationCounts(parts []part) []OperationCount {
	var out []OperationCount
	for _, p := range parts {
		for _, r := range p.ranks {
			for _, o := range r.Operations {
				if o.Name == "" {
					continue
				}
				at := slices.IndexFunc(out, func(c OperationCount) bool { return c.Name == o.Name })
				if at < 0 {
					out, at = append(out, OperationCount{Name: o.Name}), len(out)
				}
				out[at].Succeeded += o.Succeeded
				out[at].Failed += o.Failed
			}
		}
	}
	return slices.DeleteFunc(out, func(c OperationCount) bool { return c.Succeeded+c.Failed == 0 })
}

// result is one repeat of a client of so many ranks.
func (p part) result(ranks int) RepeatPart {
	out := RepeatPart{
		Repeat: p.repeat, Ranks: len(p.ranks), Measured: p.measured, All: p.all, Totals: list(p.totals), Values: valuesOf(p), T0: p.ranks[0].T0,
		ScheduleHash: p.ranks[0].ScheduleHash, InFlight: inFlight(p),
	}
	var reasons []string
	if len(p.ranks) < ranks {
		reasons = append(reasons, missingRanks(p.ranks, ranks))
	}
	for _, r := range p.ranks {
		out.Audits = append(out.Audits, r.Audit)
		late := float64(r.StartLate) / second
		out.StartLate = max(out.StartLate, late)
		if late > maxLate {
			reasons = append(reasons, fmt.Sprintf("rank %d began %.3f s late, more than %.1f s", r.Rank, late, maxLate))
		}
		if r.Truncated {
			reasons = append(reasons, fmt.Sprintf("rank %d ended early: %s", r.Rank, cmp.Or(r.Reason, "it does not say why")))
		}
	}
	out.Whole, out.Reason = len(reasons) == 0, strings.Join(reasons, "; ")
	return out
}

// missingRanks names the ranks that left no result.
func missingRanks(there []Rank, planned int) string {
	var names []string
	for n := range planned {
		if !slices.ContainsFunc(there, func(r Rank) bool { return r.Rank == n }) {
			names = append(names, strconv.Itoa(n))
		}
	}
	if len(names) == 1 {
		return fmt.Sprintf("rank %s of %d left no result", names[0], planned)
	}
	return fmt.Sprintf("ranks %s of %d left no result", strings.Join(names, ", "), planned)
}

// inFlight is the mean number of requests in flight by Little's law, throughput times mean latency.
func inFlight(p part) float64 {
	d := p.dists["e2e"]
	if d.count == 0 || p.window == 0 {
		return 0
	}
	return float64(p.measured.Completed) / p.window * d.sum / float64(d.count) / second
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
func crossCheck(c CheckInput, byName map[string]*client) CrossCheck {
	out := CrossCheck{Service: c.Service, Repeat: c.Repeat, Metric: c.Metric, Labels: labelWords(c.Labels), Total: c.Total, Tolerance: c.Tolerance}
	for _, name := range c.Clients {
		if byName[name] == nil {
			continue
		}
		for _, p := range byName[name].parts {
			if p.repeat == c.Repeat {
				out.Clients += p.total(c.Total)
			}
		}
	}
	if !c.Known || math.IsNaN(c.Increase) || math.IsInf(c.Increase, 0) {
		return out
	}
	out.Server = new(c.Increase)
	out.Difference = c.Increase - float64(out.Clients)
	out.Agrees = math.Abs(out.Difference) <= c.Tolerance*max(c.Increase, float64(out.Clients))
	return out
}

// counted adds up checks over their repeats. A counter that could not be read in one is not known in all.
func counted(checks []CrossCheck) []CrossCheck {
	var sums []CrossCheck
	for _, c := range checks {
		at := slices.IndexFunc(sums, func(x CrossCheck) bool {
			return x.Service == c.Service && x.Metric == c.Metric && x.Labels == c.Labels && x.Total == c.Total
		})
		if at < 0 {
			c.Repeat = 0
			sums = append(sums, c)
			continue
		}
		sum := &sums[at]
		sum.Clients += c.Clients
		sum.Difference += c.Difference
		sum.Agrees = sum.Agrees && c.Agrees
		if sum.Server == nil || c.Server == nil {
			sum.Server, sum.Difference = nil, 0
			continue
		}
		sum.Server = new(*sum.Server + *c.Server)
	}
	return sums
}

// labelWords writes labels as the text format of Prometheus does.
func labelWords(labels map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	return strings.Join(words, ",")
}

// total is what the client counted under a name; requests are those on the wire.
func (p part) total(name string) int64 {
	if name == "requests" {
		return p.all.Attempts - p.all.Unsent
	}
	t, _ := totalOf(p.totals, name)
	return t.All
}

// clean makes every list a list, for readers of JSON need not tell null from empty, and every ratio a number.
func (r *Result) clean() {
	r.Jobs, r.SLOs, r.Clients = list(r.Jobs), list(r.SLOs), list(r.Clients)
	r.Services, r.CrossChecks, r.Warnings = slices.Clone(list(r.Services)), list(r.CrossChecks), list(r.Warnings)
	for i := range r.Services {
		if s := &r.Services[i]; math.IsNaN(s.Coverage) || math.IsInf(s.Coverage, 0) {
			s.Coverage = 0
		}
	}
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

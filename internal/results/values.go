package results

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// statistic is one of the statistics of a latency.
type statistic struct {
	name     string
	quantile float64 // 0 for mean and max
}

// statistics of every latency, in the order in which they are shown.
func statistics() []statistic {
	return []statistic{
		{"mean", 0}, {"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 0},
	}
}

func quantileOf(name string) float64 {
	for _, s := range statistics() {
		if s.name == name {
			return s.quantile
		}
	}
	return 0
}

// of is the statistic of one distribution in nanoseconds, +Inf where it falls among the failures, NaN for none.
func (s statistic) of(d dist) float64 {
	var x float64
	var err error
	switch {
	case s.quantile > 0:
		x, err = d.quantile(s.quantile)
	case s.name == "mean":
		x, err = d.mean()
	default:
		x, err = d.greatest()
	}
	if err != nil {
		return math.NaN()
	}
	return x
}

// perRun says whether the statistic can be taken of each run. A percentile of few requests is their greatest value, and
// the median of such is not the percentile.
func (s statistic) perRun(runs []part, metric string) bool {
	if len(runs) < minRuns || s.name == "max" {
		return false
	}
	for _, p := range runs {
		if n := p.dist(metric).total(); n == 0 || s.quantile > 0 && !hasUpperEnd(n, s.quantile) {
			return false
		}
	}
	return true
}

// valuesOf computes every value of a client, of one repeat or of the pool of several. From minRuns repeats on, a value
// is the median over the repeats with an interval over runs where each run can give it; else it is taken over all
// requests together.
func valuesOf(p part) []Value {
	var out []Value
	for _, metric := range latencies() {
		if !p.has(metric) {
			continue
		}
		for _, s := range statistics() {
			out = append(out, latencyValue(p, metric, s))
		}
	}
	out = append(out, okValues(p)...)
	return append(out, rateValues(p)...)
}

// has says whether there is anything to say of a metric. Where all requests failed there is no histogram, yet every one
// of them was infinitely late: then e2e stands for them, or the metric of their operation.
func (p part) has(metric string) bool {
	_, operation := p.operations[metric]
	return p.dists[metric].count > 0 || (metric == "e2e" || operation) && p.losses(metric).failed > 0
}

// value is an empty one with its counts.
func (p part) value(metric, statistic, unit string) Value {
	l := p.losses(metric)
	return Value{
		Metric: metric, Statistic: statistic, Unit: unit, Interval: NoInterval,
		Requests: l.succeeded + l.failed, Runs: max(1, len(p.runs)),
	}
}

func latencyValue(p part, metric string, s statistic) Value {
	v, d := p.value(metric, s.name, "s"), p.dist(metric)
	if isPerGap(metric) {
		v.Samples = d.total()
	} else {
		v.Requests = d.total()
	}
	if s.perRun(p.runs, metric) {
		overRuns(&v, p.runs, second, func(run part) float64 { return s.of(run.dist(metric)) })
		return v
	}
	x := s.of(d)
	if math.IsInf(x, 1) {
		v.Note = fmt.Sprintf("%s of %s requests failed, so there is no %s over all of them", count(d.failed), count(v.Requests), s.name)
		return v
	}
	v.Value = new(x / second)
	switch s.name {
	case "max":
		v.Note = "the greatest value that was seen"
	case "mean":
		meanInterval(&v, p.blocks[metric])
	default:
		quantileInterval(&v, p, s.quantile, x)
	}
	if s.quantile > 0 && len(p.runs) >= minRuns {
		addNote(&v, "over the requests of all repeats: one repeat has too few")
	}
	return v
}

// overRuns sets the median over the repeats and its interval. Each repeat counts once; scale is how much one of the
// value's unit is in that of the function.
func overRuns(v *Value, runs []part, scale float64, of func(part) float64) {
	values := make([]float64, 0, len(runs))
	for _, p := range runs {
		values = append(values, of(p))
	}
	median, in, ok := medianInterval(values)
	if math.IsInf(median, 0) {
		v.Note = "in half of the repeats or more, too many requests failed for this number"
		return
	}
	v.Value, v.Note = new(median/scale), "median of the repeats"
	if !ok {
		return
	}
	v.Interval, v.Low = OverRuns, new(in.low/scale)
	if math.IsInf(in.high, 0) {
		v.AtLeast = true
		addNote(v, "in a repeat too many requests failed for an upper end")
		return
	}
	v.High = new(in.high / scale)
}

const tooFew = "too few requests for an interval"

// meanInterval sets the interval of a mean by batch means.
func meanInterval(v *Value, blocks []dist) {
	sums, counts := make([]float64, len(blocks)), make([]float64, len(blocks))
	for i, b := range blocks {
		sums[i], counts[i] = b.sum, float64(b.count)
	}
	in, ok := ratioInterval(sums, counts)
	if !ok {
		addNote(v, tooFew)
		return
	}
	v.Interval, v.Low, v.High = OverRequests, new(max(0, in.low)/second), new(in.high/second)
}

// quantileInterval sets the interval of a quantile by order statistics at the number of independent requests that the
// correlated ones are worth.
func quantileInterval(v *Value, p part, q, x float64) {
	d, worth := p.dist(v.Metric), p.worth(v.Metric, x)
	low, high := quantileRanks(worth, q)
	if math.IsNaN(low) {
		addNote(v, tooFew)
		return
	}
	y, _ := d.quantile(low)
	v.Interval, v.Low = OverRequests, new(y/second)
	y = math.Inf(1)
	if !math.IsNaN(high) {
		y, _ = d.quantile(high)
	}
	if !math.IsInf(y, 1) {
		v.High = new(y / second)
		return
	}
	v.AtLeast = true
	if math.IsNaN(high) {
		addNote(v, "too few requests for an upper end")
		return
	}
	addNote(v, fmt.Sprintf("the upper end falls among the %s requests that failed", count(d.failed)))
}

// fewAbove is how many values must be above a bound for their spread over the blocks to show how they cluster.
const fewAbove = 32

// worth is the number of independent values that those of a metric are worth, for the share at or below x. Where few or
// none are above x, it is no more than what they are worth for the share that fewAbove are above.
func (p part) worth(metric string, x float64) int64 {
	d := p.dist(metric)
	n := d.total()
	out := p.inflation(metric, x)
	if n-d.atMost(x) < fewAbove && n > 2*fewAbove {
		out = max(out, p.inflation(metric, d.at(n-fewAbove)))
	}
	return max(1, int64(float64(n)/out))
}

func (p part) inflation(metric string, x float64) float64 {
	blocks := p.blocks[metric]
	below, n := make([]float64, len(blocks)), make([]float64, len(blocks))
	for i, b := range blocks {
		below[i], n[i] = float64(b.atMost(x)), float64(b.count)
		if failed := p.losses(metric).blocks; metric != "send_lag" && len(failed) == len(blocks) {
			n[i] += float64(failed[i])
		}
	}
	within := inflation(grouped(below), grouped(n))
	if len(p.runs) < minRuns {
		return within
	}
	below, n = make([]float64, len(p.runs)), make([]float64, len(p.runs))
	for i, run := range p.runs {
		d := run.dist(metric)
		below[i], n[i] = float64(d.atMost(x)), float64(d.total())
	}
	return max(within, inflation(below, n))
}

// okValues are the statistics of what succeeded, labelled so; only where something failed do they differ.
func okValues(p part) []Value {
	if p.lost.failed == 0 {
		return nil
	}
	var out []Value
	for _, metric := range latencies() {
		d := p.dists[metric]
		if d.count == 0 || metric == "send_lag" {
			continue
		}
		for _, s := range statistics() {
			v := p.value(metric+"_ok", s.name, "s")
			v.Requests, v.Note = p.losses(metric).succeeded, "over the requests that succeeded; never judge a server by it"
			if isPerGap(metric) {
				v.Samples = d.count
			}
			v.Value = new(s.of(d) / second)
			out = append(out, v)
		}
	}
	return out
}

// rate is one throughput: a count over the window.
type rate struct {
	metric, unit string
	// total names one that the workload counted; count is taken where it is "".
	total string
	count func(Counts) int64
}

// rates are the throughputs, in the order in which they are shown. Those of totals that a workload does not count are
// left out.
func rates() []rate {
	return []rate{
		{metric: "request_throughput", unit: "1/s", count: func(c Counts) int64 { return c.Completed }},
		{metric: "output_token_throughput", unit: "1/s", total: "output_tokens"},
		{metric: "input_token_throughput", unit: "1/s", total: "input_tokens"},
		{metric: "read_throughput", unit: "B/s", total: "bytes_read"},
		{metric: "write_throughput", unit: "B/s", total: "bytes_written"},
		{metric: "offered_rate", unit: "1/s", count: func(c Counts) int64 { return c.Offered }},
		{metric: "sent_rate", unit: "1/s", count: func(c Counts) int64 { return c.Sent }},
	}
}

// of is the count of a part, and whether its workload counts such a thing.
func (r rate) of(p part) (n int64, counted bool) {
	if r.total == "" {
		return r.count(p.measured), true
	}
	t, counted := totalOf(p.totals, r.total)
	return t.Window, counted
}

func rateValues(p part) []Value {
	var out []Value
	for _, r := range rates() {
		if _, counted := r.of(p); !counted {
			continue
		}
		v := p.value(r.metric, "value", r.unit)
		of := func(p part) float64 {
			n, _ := r.of(p)
			return float64(n) / p.window
		}
		switch {
		case p.window == 0 || slices.ContainsFunc(p.runs, func(p part) bool { return p.window == 0 }):
			v.Note = "the window has no length"
		case len(p.runs) >= minRuns:
			overRuns(&v, p.runs, 1, of)
		default:
			v.Value = new(of(p))
			v.Note = "an interval needs " + strconv.Itoa(minRuns) + " repeats"
			if r.metric == "request_throughput" {
				throughputInterval(&v, p)
			}
		}
		out = append(out, v)
	}
	return append(out, successValue(p))
}

// throughputInterval takes the requests of each block as its count. That holds for a closed loop, where a request ends
// before the next begins. In an open loop the schedule gives the count, which says nothing of the server.
func throughputInterval(v *Value, p part) {
	if p.truncated || p.mode() != "closed" || *v.Value == 0 {
		return
	}
	blocks := p.blocks["e2e"]
	counts, lengths := make([]float64, len(blocks)), make([]float64, len(blocks))
	for i, b := range blocks {
		counts[i], lengths[i] = float64(b.count), p.window/float64(len(blocks))
	}
	in, ok := ratioInterval(counts, lengths)
	if !ok {
		return
	}
	half := (in.high - in.low) / 2
	v.Interval, v.Low, v.High, v.Note = OverRequests, new(max(0, *v.Value-half)), new(*v.Value+half), ""
}

func (p part) mode() string {
	for _, run := range p.runs {
		return run.mode()
	}
	if len(p.ranks) == 0 {
		return ""
	}
	return p.ranks[0].Mode
}

// successValue is the share of the requests that succeeded, with Wilson's interval at the number of independent requests
// that they are worth: failures come in bursts.
func successValue(p part) Value {
	v := p.value("success_ratio", "value", "1")
	if v.Requests == 0 {
		v.Note = "nothing was measured"
		return v
	}
	share := float64(p.measured.Succeeded) / float64(v.Requests)
	// A share of those below a bound that only failures pass.
	in := wilson(share, float64(v.Requests)/p.inflation("e2e", math.MaxFloat64))
	v.Value, v.Interval, v.Low, v.High = &share, OverRequests, new(in.low), new(in.high)
	return v
}

func addNote(v *Value, note string) {
	if v.Note != "" {
		v.Note += "; "
	}
	v.Note += note
}

// Find returns the value of a metric and a statistic, or nil.
func Find(values []Value, metric, statistic string) *Value {
	i := slices.IndexFunc(values, func(v Value) bool { return v.Metric == metric && v.Statistic == statistic })
	if i < 0 {
		return nil
	}
	return &values[i]
}

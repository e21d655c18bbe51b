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

// latencies are the metrics with a distribution, in the order in which they are shown.
func latencies() []string {
	return []string{"ttft", "e2e", "tpot", "itl_token", "itl_chunk", "ttft_from_send", "e2e_from_send", "send_lag"}
}

// valuesOf computes every value of a client from its repeats. From minRuns repeats on, a value is the median over the
// repeats with an interval over runs; below that it is taken over all requests together.
func valuesOf(parts []part) []Value {
	if len(parts) == 0 {
		return nil
	}
	pooled := pool(parts)
	var out []Value
	for _, metric := range latencies() {
		if pooled.dists[metric].total() == 0 {
			continue
		}
		for _, s := range statistics() {
			out = append(out, latencyValue(parts, pooled, metric, s))
		}
	}
	out = append(out, okValues(pooled, len(parts))...)
	return append(out, rateValues(parts, pooled)...)
}

func latencyValue(parts []part, pooled part, metric string, s statistic) Value {
	v := Value{Metric: metric, Statistic: s.name, Unit: "s", Requests: pooled.dists[metric].total(), Runs: len(parts), Interval: NoInterval}
	if len(parts) >= minRuns && s.name != "max" {
		overRuns(&v, parts, func(p part) float64 { return single(p.dists[metric], s) })
		return v
	}
	d := pooled.dists[metric]
	x := single(d, s)
	if !set(&v, x/second, s, d) {
		return v
	}
	switch {
	case s.name == "max":
		v.Note = "the largest value seen; it has no interval"
	case s.name == "mean":
		meanInterval(&v, pooled.batches[metric])
	default:
		quantileInterval(&v, d, pooled.batches[metric], s.quantile, x)
	}
	return v
}

// single is a statistic of one distribution in nanoseconds, +Inf where it falls among the failures, NaN for none.
func single(d dist, s statistic) float64 {
	var x float64
	var err error
	switch {
	case s.quantile > 0:
		x, err = d.quantile(s.quantile)
	case s.name == "mean":
		x, err = d.mean()
	case d.count == 0:
		err = errNone
	default:
		x = float64(d.max)
	}
	if err != nil {
		return math.NaN()
	}
	return x
}

// set stores a finite value, or the reason why there is none.
func set(v *Value, x float64, s statistic, d dist) bool {
	switch {
	case math.IsNaN(x):
		v.Note = "nothing was measured"
		return false
	case math.IsInf(x, 1):
		v.Note = fmt.Sprintf("%d of %d requests failed, so there is no %s over all of them", d.failed, d.total(), s.name)
		return false
	}
	v.Value = &x
	if d.failed > 0 && s.quantile == 0 {
		v.Note = fmt.Sprintf("over the %d requests that succeeded; %d failed", d.count, d.failed)
	}
	return true
}

// overRuns sets the median over the repeats and its interval. Each repeat counts once.
func overRuns(v *Value, parts []part, of func(part) float64) {
	values := make([]float64, 0, len(parts))
	for _, p := range parts {
		x := of(p)
		if math.IsNaN(x) {
			x = math.Inf(1)
		}
		values = append(values, x)
	}
	scale := 1.0
	if v.Unit == "s" {
		scale = second
	}
	median, in, ok := medianInterval(values)
	if math.IsInf(median, 0) {
		v.Note = "in half of the repeats or more, too many requests failed for this number"
		return
	}
	v.Value = pointer(median / scale)
	v.Note = "median of the repeats"
	if !ok {
		return
	}
	v.Interval = OverRuns
	v.Low = pointer(in.low / scale)
	if math.IsInf(in.high, 0) {
		v.AtLeast = true
		return
	}
	v.High = pointer(in.high / scale)
}

// meanInterval sets the interval of a mean by batch means.
func meanInterval(v *Value, batches []dist) {
	sums, counts := make([]float64, len(batches)), make([]float64, len(batches))
	for i, b := range batches {
		sums[i], counts[i] = b.sum, float64(b.count)
	}
	in, ok := ratioInterval(sums, counts)
	if !ok {
		addNote(v, "too few requests for an interval")
		return
	}
	v.Interval, v.Low, v.High = OverRequests, pointer(in.low/second), pointer(in.high/second)
}

// quantileInterval sets the interval of a quantile by order statistics at the number of independent requests that the
// correlated ones are worth.
func quantileInterval(v *Value, d dist, batches []dist, q, x float64) {
	n := effective(d, batches, x)
	low, high := quantileRanks(n, q)
	v.Interval = OverRequests
	if !math.IsNaN(low) {
		y, _ := d.quantile(low)
		v.Low = pointer(y / second)
	}
	if math.IsNaN(high) {
		v.AtLeast = true
		addNote(v, fmt.Sprintf("%d requests are worth %d independent ones: too few for an upper end", d.total(), n))
		return
	}
	y, _ := d.quantile(high)
	if math.IsInf(y, 1) {
		v.AtLeast = true
		addNote(v, fmt.Sprintf("the upper end falls among the %d requests that failed", d.failed))
		return
	}
	v.High = pointer(y / second)
}

// effective is the number of independent requests that a distribution is worth for the share at or below x.
func effective(d dist, batches []dist, x float64) int64 {
	below, counts := make([]float64, len(batches)), make([]float64, len(batches))
	for i, b := range batches {
		below[i], counts[i] = float64(b.atMost(x)), float64(b.count)
	}
	return max(1, int64(float64(d.total())/inflation(below, counts)))
}

// okValues are the percentiles of what succeeded, labelled so; only where something failed do they differ.
func okValues(pooled part, runs int) []Value {
	if pooled.measured.Failed == 0 {
		return nil
	}
	var out []Value
	for _, metric := range []string{"ttft", "e2e"} {
		d := pooled.dists[metric]
		d.failed = 0
		for _, s := range statistics() {
			if s.quantile == 0 || d.count == 0 {
				continue
			}
			v := Value{Metric: metric + "_ok", Statistic: s.name, Unit: "s", Requests: d.count, Runs: runs, Interval: NoInterval,
				Note: "over the requests that succeeded; never judge a server by it"}
			if x, err := d.quantile(s.quantile); err == nil {
				v.Value = pointer(x / second)
			}
			out = append(out, v)
		}
	}
	return out
}

// rate is one throughput: a count over the window.
type rate struct {
	metric string
	count  func(Counts) int64
}

// rates are the throughputs, in the order in which they are shown.
func rates() []rate {
	return []rate{
		{"request_throughput", func(c Counts) int64 { return c.Completed }},
		{"output_token_throughput", func(c Counts) int64 { return c.WindowOutputTokens }},
		{"input_token_throughput", func(c Counts) int64 { return c.WindowInputTokens }},
		{"offered_rate", func(c Counts) int64 { return c.Offered }},
		{"sent_rate", func(c Counts) int64 { return c.Sent }},
	}
}

func rateValues(parts []part, pooled part) []Value {
	var out []Value
	for _, r := range rates() {
		v := Value{Metric: r.metric, Statistic: "value", Unit: "1/s", Requests: pooled.measured.Offered, Runs: len(parts), Interval: NoInterval}
		of := func(p part) float64 { return float64(r.count(p.measured)) / p.window }
		switch {
		case pooled.window == 0:
			v.Note = "the window has no length"
		case len(parts) >= minRuns:
			overRuns(&v, parts, of)
		default:
			v.Value = pointer(of(pooled))
			v.Note = "an interval needs " + strconv.Itoa(minRuns) + " repeats"
			if r.metric == "request_throughput" {
				throughputInterval(&v, pooled)
			}
		}
		out = append(out, v)
	}
	return append(out, successValue(parts, pooled))
}

// throughputInterval takes the requests of each batch as its count.
func throughputInterval(v *Value, pooled part) {
	batches := pooled.batches["e2e"]
	counts, lengths := make([]float64, len(batches)), make([]float64, len(batches))
	for i, b := range batches {
		counts[i], lengths[i] = float64(b.count), pooled.batch
	}
	in, ok := ratioInterval(counts, lengths)
	if !ok {
		return
	}
	v.Interval, v.Low, v.High = OverRequests, pointer(max(0, in.low)), pointer(in.high)
	v.Note = ""
}

func successValue(parts []part, pooled part) Value {
	v := Value{Metric: "success_ratio", Statistic: "value", Unit: "1", Requests: pooled.measured.Offered, Runs: len(parts), Interval: NoInterval}
	n := pooled.measured.Succeeded + pooled.measured.Failed
	if n == 0 {
		v.Note = "nothing was measured"
		return v
	}
	in := wilson(float64(pooled.measured.Succeeded), float64(n))
	v.Value = pointer(float64(pooled.measured.Succeeded) / float64(n))
	v.Interval, v.Low, v.High = OverRequests, pointer(in.low), pointer(in.high)
	return v
}

func addNote(v *Value, note string) {
	if v.Note != "" {
		v.Note += "; "
	}
	v.Note += note
}

func pointer(x float64) *float64 { return &x }

// Find returns the value of a metric and a statistic, or nil.
func Find(values []Value, metric, statistic string) *Value {
	i := slices.IndexFunc(values, func(v Value) bool { return v.Metric == metric && v.Statistic == statistic })
	if i < 0 {
		return nil
	}
	return &values[i]
}

package results

import (
	"fmt"
	"math"
	"slices"
)

// SLO is an objective. Exactly one of AtMost and AtLeast is set, in seconds for a latency.
type SLO struct {
	Client, Metric, Statistic string
	AtMost, AtLeast           *float64
}

// judgeConfidence is the confidence of a verdict on a percentile, as in MLPerf's early stopping: the limit holds when
// so few of the requests broke it that a percentile beyond the limit would show more with 99 % probability. 459
// requests without a violation decide a p99. MLPerf Inference, loadgen/early_stopping.cc.
const judgeConfidence = 0.99

// judge decides one SLO from all requests of a client.
func judge(s SLO, p part, values []Value) Verdict {
	v := Verdict{Client: s.Client, Metric: s.Metric, Statistic: s.Statistic, AtMost: s.AtMost, AtLeast: s.AtLeast, Verdict: Undecided}
	v.Value = p.value(s.Metric, s.Statistic, unitOf(s.Metric))
	v.Unit = v.Value.Unit
	if found := Find(values, s.Metric, s.Statistic); found != nil {
		v.Value = *found
	}
	q := quantileOf(s.Statistic)
	d := p.dist(s.Metric)
	switch {
	case v.Unit == "s" && d.total() > 0 && s.AtMost != nil && q > 0:
		judgePercentile(&v, p, q)
	case v.Unit == "s" && d.failed > 0 && s.AtMost != nil:
		v.Verdict, v.Why = Violated, fmt.Sprintf("%s of %s requests failed, which is beyond every limit", count(d.failed), count(v.Value.Requests))
	case s.Statistic == "max" && v.Value.Value != nil:
		judgeMax(&v)
	case v.Value.Value == nil && v.Value.Note == "":
		v.Why = "the client measured no such number"
	default:
		judgeInterval(&v)
	}
	if v.Value.Value == nil && v.Value.Note == "" {
		v.Value.Note = v.Why
	}
	return v
}

// isRate says whether a metric is a throughput.
func isRate(metric string) bool {
	return slices.ContainsFunc(rates(), func(r rate) bool { return r.metric == metric })
}

func unitOf(metric string) string {
	switch metric {
	case "success_ratio":
		return "1"
	}
	for _, r := range rates() {
		if r.metric == metric {
			return r.unit
		}
	}
	return "s"
}

// judgePercentile counts the requests beyond the limit; a failed one is beyond every limit. Correlated requests are
// scaled down to the independent ones that they are worth.
func judgePercentile(v *Verdict, p part, q float64) {
	d, limit := p.dist(v.Metric), *v.AtMost*second
	n := d.total()
	late := n - d.atMost(limit)
	worth := p.worth(v.Metric, limit)
	share := float64(late) / float64(n)
	what := "requests"
	if isPerGap(v.Metric) {
		what = "gaps"
	}
	counted := fmt.Sprintf("%s of %s %s are above the limit", count(late), count(n), what)
	if worth < n {
		counted += fmt.Sprintf("; they are worth %s independent ones", count(worth))
	}
	switch {
	case holds(worth, roundUp(share*float64(worth)), q):
		v.Verdict, v.Why = Met, counted
	case breaks(worth, roundDown(share*float64(worth)), q):
		v.Verdict, v.Why = Violated, counted
	default:
		v.Why = counted + "; " + needed(n, worth, share, q, what)
	}
}

// holds: at most late of n requests beyond the limit would be seen with at most 1 % probability if the limit did not
// hold.
func holds(n, late int64, q float64) bool {
	return binomialCDF(n, 1-q, late) <= 1-judgeConfidence
}

// breaks: late or more of n would be seen with at most 1 % probability if the limit held.
func breaks(n, late int64, q float64) bool {
	return late > 0 && 1-binomialCDF(n, 1-q, late-1) <= 1-judgeConfidence
}

// mostNeeded is how many times as many requests are still worth naming.
const mostNeeded = 1000

// needed says how many requests would decide, if the share beyond the limit and the correlation stay as they are.
func needed(n, worth int64, share, q float64, what string) string {
	for m := worth; m/mostNeeded <= worth; m += max(1, m/50) {
		late := share * float64(m)
		if holds(m, roundUp(late), q) || breaks(m, roundDown(late), q) {
			return fmt.Sprintf("about %s %s would decide", count(rounded(float64(m)*float64(n)/float64(worth))), what)
		}
	}
	return "the share is so close to what the limit allows that no reasonable number decides"
}

// A share of a whole number may be off by the last digits of a float.
func roundUp(x float64) int64   { return int64(math.Ceil(x - 1e-9*max(1, x))) }
func roundDown(x float64) int64 { return int64(math.Floor(x + 1e-9*max(1, x))) }

// rounded rounds up to two significant digits.
func rounded(x float64) int64 {
	step := math.Pow(10, max(0, math.Floor(math.Log10(x))-1))
	return int64(math.Ceil(x/step) * step)
}

// judgeMax looks at the greatest value: it is what it is.
func judgeMax(v *Verdict) {
	v.Verdict, v.Why = Met, "the greatest of all"
	if v.AtMost != nil && *v.Value.Value > *v.AtMost || v.AtLeast != nil && *v.Value.Value < *v.AtLeast {
		v.Verdict = Violated
	}
}

// judgeInterval asks that the whole interval is on one side of the limit.
func judgeInterval(v *Verdict) {
	low, high := v.Value.Low, v.Value.High
	met, violated := false, false
	switch {
	case v.Value.Interval == NoInterval:
		v.Why = "the number has no interval to judge by: " + v.Value.Note
		return
	case v.AtMost != nil:
		met, violated = high != nil && *high <= *v.AtMost, low != nil && *low > *v.AtMost
	case v.AtLeast != nil:
		met, violated = low != nil && *low >= *v.AtLeast, high != nil && *high < *v.AtLeast
	}
	switch {
	case met:
		v.Verdict, v.Why = Met, "the whole interval is within the limit"
	case violated:
		v.Verdict, v.Why = Violated, "the whole interval is beyond the limit"
	default:
		v.Why = "the limit is inside the interval: more repeats or longer ones would decide"
	}
}

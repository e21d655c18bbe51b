package results

import (
	"fmt"
	"math"
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

// judge decides one SLO of one client.
func judge(s SLO, pooled part, values []Value) Verdict {
	v := Verdict{Client: s.Client, Metric: s.Metric, Statistic: s.Statistic, AtMost: s.AtMost, AtLeast: s.AtLeast, Verdict: Undecided}
	value := Find(values, s.Metric, s.Statistic)
	if value == nil {
		v.Verdict, v.Why = Undecided, "the client measured no such number"
		v.Value = Value{Metric: s.Metric, Statistic: s.Statistic, Interval: NoInterval, Note: v.Why}
		return v
	}
	v.Value, v.Unit = *value, value.Unit
	q := quantileOf(s.Statistic)
	switch {
	case q > 0 && s.AtMost != nil:
		judgePercentile(&v, pooled.dists[s.Metric], pooled.batches[s.Metric], q)
	case s.Statistic == "max":
		judgeMax(&v, pooled.dists[s.Metric])
	default:
		judgeInterval(&v)
	}
	return v
}

func quantileOf(name string) float64 {
	for _, s := range statistics() {
		if s.name == name {
			return s.quantile
		}
	}
	return 0
}

// judgePercentile counts the requests beyond the limit; a failed one is beyond every limit.
func judgePercentile(v *Verdict, d dist, batches []dist, q float64) {
	n := d.total()
	late := n - d.atMost(*v.AtMost*second)
	worth := effective(d, batches, *v.AtMost*second)
	scaled := int64(math.Ceil(float64(late) * float64(worth) / float64(max(1, n))))
	counted := fmt.Sprintf("%d of %d requests were above the limit, worth %d of %d independent ones", late, n, scaled, worth)
	switch {
	case holds(worth, scaled, q):
		v.Verdict, v.Why = Met, counted
	case breaks(worth, scaled, q):
		v.Verdict, v.Why = Violated, counted
	default:
		v.Why = counted + ": " + needed(n, late, worth, q)
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

// needed says how many requests would decide, if the share beyond the limit stays as it is.
func needed(n, late, worth int64, q float64) string {
	share := float64(late) / float64(n)
	for m := worth; m < 1<<30; m += max(1, m/20) {
		k := int64(math.Ceil(share * float64(m)))
		if holds(m, k, q) || breaks(m, k, q) {
			return fmt.Sprintf("about %d requests would decide", int64(float64(m)*float64(n)/float64(max(1, worth))))
		}
	}
	return "the share is so close to the limit that no number of requests decides"
}

// judgeMax looks at the largest value: it is what it is.
func judgeMax(v *Verdict, d dist) {
	if v.Value.Value == nil {
		v.Why = v.Value.Note
		return
	}
	v.Verdict, v.Why = Met, "the largest of all requests"
	if d.failed > 0 {
		v.Verdict, v.Why = Violated, fmt.Sprintf("%d requests failed, which is beyond every limit", d.failed)
	}
	if v.AtMost != nil && *v.Value.Value > *v.AtMost || v.AtLeast != nil && *v.Value.Value < *v.AtLeast {
		v.Verdict = Violated
	}
}

// judgeInterval asks that the whole interval is on one side of the limit.
func judgeInterval(v *Verdict) {
	x := v.Value
	if x.Value == nil || x.Low == nil || x.High == nil {
		v.Why = "the number has no interval to judge by: " + x.Note
		return
	}
	limit, good := v.AtMost, *x.High
	bad := *x.Low
	sign := 1.0
	if limit == nil {
		limit, good, bad, sign = v.AtLeast, *x.Low, *x.High, -1
	}
	switch {
	case sign*good <= sign**limit:
		v.Verdict, v.Why = Met, "the whole interval is within the limit"
	case sign*bad > sign**limit:
		v.Verdict, v.Why = Violated, "the whole interval is beyond the limit"
	default:
		v.Why = "the limit is inside the interval: more repeats or longer ones would decide"
	}
}

package results

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// shape is what a value looks like beside its size.
type shape struct {
	interval      string
	value, atleat bool
	note          string
}

func shapeOf(v *Value) shape {
	if v == nil {
		return shape{}
	}
	return shape{v.Interval, v.Value != nil, v.AtLeast, v.Note}
}

func TestIntervalsByRepeats(t *testing.T) {
	const perRepeat = "over the requests of all repeats: one repeat has too few"
	tests := map[string]struct {
		repeats, requests int
		metric, statistic string
		want              shape
	}{
		"one repeat, over its requests":            {1, 800, "ttft", "p50", shape{OverRequests, true, false, ""}},
		"five repeats, over their requests":        {5, 200, "ttft", "p50", shape{OverRequests, true, false, ""}},
		"six repeats, over the runs":               {6, 200, "ttft", "p50", shape{OverRuns, true, false, "median of the repeats"}},
		"a mean over runs":                         {6, 200, "e2e", "mean", shape{OverRuns, true, false, "median of the repeats"}},
		"a repeat of 400 holds a p99":              {6, 400, "ttft", "p99", shape{OverRuns, true, false, "median of the repeats"}},
		"a repeat of 200 does not":                 {6, 200, "ttft", "p99", shape{OverRequests, true, false, perRepeat}},
		"p99.9 of 1,200 requests is a bound":       {6, 200, "ttft", "p99.9", shape{OverRequests, true, true, "too few requests for an upper end; " + perRepeat}},
		"p99.9 of 1,000 requests is a bound":       {1, 1000, "ttft", "p99.9", shape{OverRequests, true, true, "too few requests for an upper end"}},
		"the greatest value has no interval":       {6, 200, "ttft", "max", shape{NoInterval, true, false, "the greatest value that was seen"}},
		"three requests are too few":               {1, 3, "ttft", "p50", shape{NoInterval, true, false, tooFew}},
		"a mean of ten requests":                   {1, 10, "ttft", "mean", shape{NoInterval, true, false, tooFew}},
		"a closed loop's throughput within a run":  {1, 800, "request_throughput", "value", shape{OverRequests, true, false, ""}},
		"a throughput over runs":                   {6, 200, "request_throughput", "value", shape{OverRuns, true, false, "median of the repeats"}},
		"the tokens have no interval within a run": {5, 200, "output_token_throughput", "value", shape{NoInterval, true, false, "an interval needs 6 repeats"}},
		"success is a share of all requests":       {6, 200, "success_ratio", "value", shape{OverRequests, true, false, ""}},
	}
	for name, tc := range tests {
		r := build(t, input(t, fake{ranks: 1, repeats: tc.repeats, requests: tc.requests, seed: 8, ttft: 30}))
		v := Find(r.Clients[0].Values, tc.metric, tc.statistic)
		if got := shapeOf(v); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
		if v != nil && (v.Runs != tc.repeats || v.Requests != int64(tc.repeats*tc.requests)) {
			t.Errorf("%s: over %d requests in %d runs", name, v.Requests, v.Runs)
		}
	}
}

// In an open loop the schedule makes the throughput, which says nothing of the spread of the server.
func TestOpenLoopThroughput(t *testing.T) {
	r := build(t, input(t, fake{ranks: 1, repeats: 1, requests: 800, seed: 8, ttft: 30, mode: "open"}))
	if v := Find(r.Clients[0].Values, "request_throughput", "value"); v.Interval != NoInterval || v.Note == "" {
		t.Errorf("got %+v", v)
	}
	if c := r.Clients[0]; c.Rate != 25 || c.Concurrency != 0 {
		t.Errorf("rate %v, concurrency %d", c.Rate, c.Concurrency)
	}
}

// Which numbers have no interval is what docs/results.md says.
func TestNoInterval(t *testing.T) {
	rate := func(v Value) bool { return v.Unit == "1/s" }
	greatest := func(v Value) bool { return v.Statistic == "max" }
	ok := func(v Value) bool { return strings.HasSuffix(v.Metric, "_ok") }
	for name, c := range map[string]struct {
		load fake
		fail bool
		none func(v Value) bool
	}{
		"one open repeat": {fake{repeats: 1, mode: "open"}, false, func(v Value) bool { return greatest(v) || rate(v) }},
		"one closed repeat": {fake{repeats: 1}, false,
			func(v Value) bool { return greatest(v) || rate(v) && v.Metric != "request_throughput" }},
		"six open repeats":        {fake{repeats: 6, mode: "open"}, false, greatest},
		"a failure in one of six": {fake{repeats: 6}, true, func(v Value) bool { return greatest(v) || ok(v) }},
		"a failure in the only repeat": {fake{repeats: 1}, true, func(v Value) bool {
			return greatest(v) || ok(v) || v.Statistic == "mean" && v.Metric != "send_lag" || rate(v) && v.Metric != "request_throughput"
		}},
	} {
		c.load.ranks, c.load.requests, c.load.seed, c.load.ttft = 1, 4000, 8, 30
		in := input(t, c.load)
		if c.fail {
			r := &in.Clients[0].Results[0]
			r.Measured.Offered, r.Measured.Failed = r.Measured.Offered+1, 1
			r.Operations[0].Failed, r.Operations[0].FailedBatches = 1, make([]int64, Batches)
			r.Operations[0].FailedBatches[7] = 1
		}
		for _, v := range build(t, in).Clients[0].Values {
			if got := v.Interval == NoInterval; got != c.none(v) {
				t.Errorf("%s: %s of %s has the interval %s: %s", name, v.Statistic, v.Metric, v.Interval, v.Note)
			}
		}
	}
}

// The throughput is what was completed inside the window, over the window: not over the time until the last answer.
func TestThroughputIsOverTheWindow(t *testing.T) {
	in := input(t, fake{ranks: 2, repeats: 1, requests: 100, seed: 8, ttft: 30})
	for i := range in.Clients[0].Results {
		r := &in.Clients[0].Results[i]
		r.Window, r.Warmup, r.Cooldown = 10*second, 5*second, 5*second
		r.Measured.Completed, r.Totals[1].Window, r.Totals[0].Window = 90, 2900, 2800
	}
	values := build(t, in).Clients[0].Values
	for metric, want := range map[string]float64{
		"request_throughput": 18, "output_token_throughput": 580, "input_token_throughput": 560, "offered_rate": 20, "sent_rate": 20,
	} {
		if v := Find(values, metric, "value"); *v.Value != want {
			t.Errorf("%s: got %v, want %v", metric, *v.Value, want)
		}
	}
}

// For an SLO a failed request is infinitely late.
func TestFailuresAreInfinitelyLate(t *testing.T) {
	f := fake{ranks: 1, repeats: 1, requests: 1000, seed: 6, ttft: 30, failures: 0.03}
	in := input(t, f, atMost("ttft", "p99", 60), atMost("ttft", "mean", 60), atMost("ttft", "max", 60), atMost("itl_token", "max", 60))
	r := build(t, in)
	for _, v := range r.SLOs {
		if v.Verdict != Violated || v.Why == "" {
			t.Errorf("%s(%s): %s although 3 %% failed: %s", v.Statistic, v.Metric, v.Verdict, v.Why)
		}
	}
	c := r.Clients[0]
	for _, name := range []string{"p99", "p99.9", "mean", "max"} {
		if v := Find(c.Values, "ttft", name); v.Value != nil || !strings.Contains(v.Note, "of 1,000 requests failed") || v.Requests != 1000 {
			t.Errorf("%s over all requests: %+v", name, v)
		}
		if v := Find(c.Values, "ttft_ok", name); v.Value == nil || !strings.Contains(v.Note, "over the requests that succeeded") || v.Requests != c.Measured.Succeeded {
			t.Errorf("%s of successes: %+v", name, v)
		}
	}
	if all, ok := Find(c.Values, "ttft", "p90"), Find(c.Values, "ttft_ok", "p90"); *all.Value <= *ok.Value {
		t.Errorf("p90 over all %v, of successes %v: failures must raise it", *all.Value, *ok.Value)
	}
	if v := Find(c.Values, "send_lag", "max"); v == nil || v.Value == nil {
		t.Errorf("the send lag does not depend on what became of a request: %+v", v)
	}
	if Find(c.Values, "send_lag_ok", "max") != nil {
		t.Error("there is a send lag of successes")
	}
	if v := Find(build(t, input(t, whole())).Clients[0].Values, "ttft_ok", "p50"); v != nil {
		t.Errorf("nothing failed, and yet: %+v", v)
	}
}

// A rank whose requests all failed writes no histogram; they count all the same.
func TestEverythingFailed(t *testing.T) {
	in := input(t, fake{ranks: 1, repeats: 1, requests: 500, seed: 6, failures: 1}, atMost("ttft", "p99", 60), atMost("e2e", "mean", 60), atLeast("success_ratio", 0.5))
	r := build(t, in)
	for _, v := range r.SLOs {
		if v.Verdict != Violated {
			t.Errorf("%s: %s: %s", v.name(), v.Verdict, v.Why)
		}
	}
	if v := Find(r.Clients[0].Values, "e2e", "p50"); v == nil || v.Value != nil || v.Requests != 500 {
		t.Errorf("e2e: %+v", v)
	}
	// One repeat of six: its requests are among all others.
	six := input(t, fake{ranks: 1, repeats: 6, requests: 100, seed: 6, ttft: 30})
	dead := fake{ranks: 1, repeats: 1, requests: 100, seed: 7, failures: 1}.results(t)[0]
	six.Clients[0].Results[0] = dead
	v := Find(build(t, six).Clients[0].Values, "ttft", "p50")
	if v.Interval != OverRuns || v.Value == nil || !v.AtLeast || v.High != nil || v.Requests != 600 {
		t.Errorf("the median of a dead run and five others is at least the least of the five: %+v", v)
	}
}

// What never ended although nothing stopped the load is as bad as a failure; what a stop cut off is neither.
func TestUnfinished(t *testing.T) {
	in := input(t, fake{ranks: 1, repeats: 1, requests: 200, seed: 6, ttft: 30})
	one := &in.Clients[0].Results[0]
	one.Measured.Offered += 40
	v := Find(build(t, in).Clients[0].Values, "success_ratio", "value")
	if got := *v.Value; math.Abs(got-200.0/240) > 1e-12 || v.Requests != 240 {
		t.Errorf("40 of 240 never ended: success %v of %d", got, v.Requests)
	}
	one.Truncated = true
	v = Find(build(t, in).Clients[0].Values, "success_ratio", "value")
	if *v.Value != 1 || v.Requests != 200 {
		t.Errorf("40 were cut off by a stop: success %v of %d", *v.Value, v.Requests)
	}
}

// Gaps are counted beside the requests that they belong to.
func TestSamples(t *testing.T) {
	values := build(t, input(t, whole())).Clients[0].Values
	if v := Find(values, "itl_token", "p50"); v.Requests != 800 || v.Samples != 31*800 {
		t.Errorf("itl_token: %d requests, %d samples", v.Requests, v.Samples)
	}
	if v := Find(values, "ttft", "p50"); v.Requests != 800 || v.Samples != 0 {
		t.Errorf("ttft: %d requests, %d samples", v.Requests, v.Samples)
	}
}

// Failures in a burst say less of the share of failures than as many spread out.
func TestBurstsWiden(t *testing.T) {
	width := func(burst bool) float64 {
		in := input(t, fake{ranks: 1, repeats: 1, requests: 640, seed: 6, ttft: 30})
		r := &in.Clients[0].Results[0]
		r.Measured.Offered, r.Measured.Failed = r.Measured.Offered+64, 64
		r.Operations[0].Failed, r.Operations[0].FailedBatches = 64, slices.Repeat([]int64{1}, Batches)
		if burst {
			r.Operations[0].FailedBatches = make([]int64, Batches)
			r.Operations[0].FailedBatches[20] = 64
		}
		v := Find(build(t, in).Clients[0].Values, "success_ratio", "value")
		return *v.High - *v.Low
	}
	if even, burst := width(false), width(true); burst < 2*even {
		t.Errorf("64 failures at once give an interval of %v, spread out of %v", burst, even)
	}
}

// Runs that differ more than their requests do make the pooled requests worth less.
func TestWorthOfRunsThatDiffer(t *testing.T) {
	var runs []part
	for k := range 6 {
		values := make([]int64, 640)
		for i := range values {
			values[i] = int64(k+1)*1e6 + int64(i*7919%640)*1000
		}
		runs = append(runs, partOf(values))
	}
	p := pool(runs)
	if worth := p.worth("e2e", 3.5e6); worth > 20 {
		t.Errorf("six runs of their own level are worth %d requests of %d", worth, p.dist("e2e").total())
	}
}

func TestJudge(t *testing.T) {
	good := fake{ranks: 1, repeats: 6, requests: 200, seed: 8, ttft: 30}
	few := fake{ranks: 1, repeats: 1, requests: 50, seed: 8, ttft: 30}
	short := fake{ranks: 1, repeats: 2, requests: 200, seed: 8, ttft: 30}
	tests := map[string]struct {
		load fake
		slo  SLO
		want string
		why  string
	}{
		"no request is beyond the limit":            {good, atMost("ttft", "p99", 0.06), Met, "0 of 1,200 requests are above the limit"},
		"half of them are":                          {good, atMost("ttft", "p99", 0.03), Violated, "requests are above the limit"},
		"too few to say":                            {few, atMost("ttft", "p99", 0.06), Undecided, "would decide"},
		"a limit at the percentile":                 {good, atMost("ttft", "p50", 0.0299), Undecided, "would decide"},
		"gaps are no requests":                      {good, atMost("itl_token", "p99", 0.06), Met, "0 of 37,200 gaps"},
		"a mean by its interval":                    {good, atMost("ttft", "mean", 0.04), Met, "the whole interval is within the limit"},
		"a mean beyond":                             {good, atMost("ttft", "mean", 0.02), Violated, "the whole interval is beyond the limit"},
		"a mean at the limit":                       {good, atMost("ttft", "mean", 0.03), Undecided, "the limit is inside the interval"},
		"a maximum is what it is":                   {good, atMost("ttft", "max", 0.1), Met, "the greatest of all"},
		"a maximum beyond":                          {good, atMost("ttft", "max", 0.03), Violated, "the greatest of all"},
		"a latency that should be long":             {good, SLO{Client: "loadgen", Metric: "ttft", Statistic: "p50", AtLeast: new(0.02)}, Met, "within"},
		"a throughput over runs":                    {good, atLeast("request_throughput", 20), Met, "within"},
		"a throughput that is too low":              {good, atLeast("request_throughput", 30), Violated, "beyond"},
		"a throughput that has no interval":         {short, atLeast("output_token_throughput", 1), Undecided, "no interval to judge by: an interval needs 6 repeats"},
		"all succeeded, of enough":                  {good, atLeast("success_ratio", 0.99), Met, "within"},
		"all succeeded, of too few":                 {few, atLeast("success_ratio", 0.99), Undecided, "inside the interval"},
		"a client that does not exist":              {few, SLO{Client: "who", Metric: "ttft", Statistic: "p50", AtMost: new(1.0)}, Undecided, "the client measured no such number"},
		"a metric that this workload does not have": {few, atMost("itl_chunk", "p50", 1), Undecided, "the client measured no such number"},
	}
	for name, tc := range tests {
		v := build(t, input(t, tc.load, tc.slo)).SLOs[0]
		if v.Verdict != tc.want || !strings.Contains(v.Why, tc.why) {
			t.Errorf("%s: got %s: %s\nwant %s: %s", name, v.Verdict, v.Why, tc.want, tc.why)
		}
		if v.Unit == "" || v.Value.Metric != tc.slo.Metric || v.Value.Value == nil && v.Value.Note == "" {
			t.Errorf("%s: the verdict does not say of what: %+v", name, v)
		}
	}
}

// needed must name a number that really decides.
func TestNeeded(t *testing.T) {
	for _, late := range []float64{0, 0.001, 0.005, 0.03} {
		words := needed(100, 50, late, 0.99, "requests")
		if !strings.HasPrefix(words, "about ") {
			t.Errorf("share %v: %s", late, words)
		}
	}
	if got, want := needed(100, 100, 0, 0.99, "requests"), "about 470 requests would decide"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := needed(100, 100, 0.01, 0.99, "requests"), "the share is so close"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFind(t *testing.T) {
	values := []Value{{Metric: "a", Statistic: "p50"}, {Metric: "a", Statistic: "p99"}}
	if got := Find(values, "a", "p99"); got != &values[1] {
		t.Errorf("got %v", got)
	}
	if got := Find(values, "b", "p99"); got != nil {
		t.Errorf("got %v", got)
	}
}

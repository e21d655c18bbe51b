package results

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mixedOf makes a result of reads and writes of which some writes failed.
func mixedOf(t *testing.T, failedPuts int64, change func(*Rank)) Result {
	t.Helper()
	return build(t, mixedInput(t, failedPuts, change))
}

func mixedInput(t *testing.T, failedPuts int64, change func(*Rank), slos ...SLO) Input {
	t.Helper()
	in := input(t, fake{ranks: 1, repeats: 1, requests: 2000, seed: 4, ttft: 30, change: func(r *Rank) {
		r.Workload = "s3"
		get := slices.IndexFunc(r.Metrics, func(m Metric) bool { return m.Name == "ttft" })
		r.Metrics[get].Name = "get"
		put := r.Metrics[get]
		put.Name = "put"
		r.Metrics = append(r.Metrics, put)
		failed := make([]int64, Batches)
		failed[3] = failedPuts
		r.Measured.Offered, r.Measured.Failed = r.Measured.Offered+failedPuts, failedPuts
		r.Operations = []Operation{{Name: "put", Succeeded: 1000, Failed: failedPuts, FailedBatches: failed}, {Name: "get", Succeeded: 1000}}
		r.Totals = []Total{{"bytes_read", 50_000_000, 40_000_000}, {"bytes_written", 10, 5}, {"GetObject", 1000, 900}}
		if change != nil {
			change(r)
		}
	}}, slos...)
	in.Checks = []CheckInput{{Service: "sim", Repeat: 1, Metric: "m", Total: "GetObject", Increase: 1000, Known: true, Clients: []string{"loadgen"}}}
	return in
}

// A failed write is infinitely late for writes and for all requests together, and says nothing of reads.
func TestFailuresBelongToTheirOperation(t *testing.T) {
	r := mixedOf(t, 100, nil)
	values := r.Clients[0].Values
	for metric, lost := range map[string]bool{"put": true, "e2e": true, "get": false} {
		v := Find(values, metric, "p99")
		if got := v.Value == nil; got != lost {
			t.Errorf("p99 of %s: %+v; want it to fall among the failures: %t", metric, *v, lost)
		}
	}
	if get, put := Find(values, "get", "p50"), Find(values, "put", "p50"); get.Requests != 2000 || put.Requests != 2100 || *put.Value <= *get.Value {
		t.Errorf("get %v of %d, put %v of %d requests", *get.Value, get.Requests, *put.Value, put.Requests)
	}
	if v := Find(values, "success_ratio", "value"); v.Requests != 2100 {
		t.Errorf("the success ratio is over %d requests", v.Requests)
	}
	if v := Find(values, "read_throughput", "value"); v.Unit != "B/s" || *v.Value != 40_000_000/r.Clients[0].Window {
		t.Errorf("read throughput %+v", v)
	}
	if Find(values, "output_token_throughput", "value") != nil {
		t.Error("a workload without tokens has a throughput of them")
	}
	if c := r.CrossChecks[0]; !c.Agrees || c.Clients != 1000 {
		t.Errorf("cross-check %+v", c)
	}
}

// A request that never ended is of no known operation, and so it counts for each.
func TestEndlessRequestsCountForEachOperation(t *testing.T) {
	values := mixedOf(t, 0, func(r *Rank) { r.Measured.Offered += 100 }).Clients[0].Values
	for _, metric := range []string{"put", "get", "e2e"} {
		if v := Find(values, metric, "p99"); v.Value != nil {
			t.Errorf("p99 of %s is %v, though 100 requests never ended", metric, *v.Value)
		}
	}
}

// Where all writes failed there is no histogram of them, and still something to say.
func TestAnOperationWithoutASuccess(t *testing.T) {
	values := mixedOf(t, 100, func(r *Rank) {
		r.Operations[0].Succeeded, r.Operations[1].Succeeded = 0, 2000
		r.Metrics = slices.DeleteFunc(r.Metrics, func(m Metric) bool { return m.Name == "put" })
	}).Clients[0].Values
	if v := Find(values, "put", "p50"); v == nil || v.Value != nil || v.Requests != 100 {
		t.Errorf("p50 of put: %+v", v)
	}
}

// steadily are n failures, one batch like the other.
func steadily(n int64) []int64 {
	out := make([]int64, Batches)
	for i := range n {
		out[i*Batches/n]++
	}
	return out
}

// A mix of which one kind fails throughout fails the run, unless an SLO speaks of that kind.
func TestAKindOfRequestsWithoutASuccess(t *testing.T) {
	const words = "not one of 100 put requests of loadgen succeeded: put http_5xx (503) SlowDown: see that sim is the server that the recipe means, and its log"
	tests := map[string]struct {
		reason  string
		puts    int64 // that succeeded
		slos    []SLO
		outcome string
		message string
	}{
		"no SLO":                   {"reads do not make up for it", 0, nil, Failed, words},
		"one write":                {"most failing is what an SLO is for", 1, nil, Passed, "no SLO"},
		"a latency of reads":       {"it is met, and says nothing of writes", 0, []SLO{atMost("get", "p50", 10)}, Failed, words},
		"a latency of reads, late": {"it is violated, and says nothing of writes", 0, []SLO{atMost("get_ttfb", "p50", 0.0001), atMost("get", "p50", 0.0001)}, Failed, words},
		"a latency of all, met":    {"the median does not see one request in twenty", 0, []SLO{atMost("e2e", "p50", 10)}, Failed, words},
		"a share of all, met":      {"it was set for something else", 0, []SLO{atLeast("success_ratio", 0.5)}, Failed, words},
		"a latency of writes":      {"failures violate it", 0, []SLO{atMost("put", "p50", 10)}, SLOViolated, "not p50(put) of loadgen"},
		"a latency of all":         {"failures violate it", 0, []SLO{atMost("e2e", "p99", 10)}, SLOViolated, "not p99(e2e) of loadgen"},
		"a share at most":          {"failures are what was asked for", 0, []SLO{atMost("success_ratio", "value", 0.99)}, Passed, "1 of 1 SLOs hold"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			r := build(t, mixedInput(t, 100, func(r *Rank) {
				r.Operations[0].Succeeded, r.Operations[0].FailedBatches = c.puts, steadily(100)
				r.Metrics = slices.DeleteFunc(r.Metrics, func(m Metric) bool { return m.Name == "put" })
				r.Errors = []ErrorCount{{Operation: "get", Kind: "corrupt", Count: 200, Sample: "torn"}, {Operation: "put", Kind: "http_5xx", Code: 503, Count: 100, Sample: "SlowDown."}}
			}, c.slos...))
			if r.Outcome != c.outcome || !strings.Contains(r.Message, c.message) {
				t.Errorf("%s: got %s: %s\nwant %s: %s", c.reason, r.Outcome, r.Message, c.outcome, c.message)
			}
			for _, v := range r.SLOs {
				if c.outcome == Failed && v.Verdict != NotJudged {
					t.Errorf("%s: %s is %s in a run that failed", c.reason, v.name(), v.Verdict)
				}
			}
		})
	}
}

// How bodies were protected, whether content was checked, and which attempts failed on the way to a success, is in the result
// of all ranks and repeats, and in its text.
func TestHowObjectsWereLoadedIsSaid(t *testing.T) {
	for _, c := range []struct{ payload, content, want string }{
		{"Unsigned", "Verify", "; payload Unsigned, content verified\n"},
		{"SHA256", "Discard", "; payload SHA256, content not verified\n"},
		{"CRC32C", "Verify", "; payload CRC32C, content verified\n"},
	} {
		t.Run(c.payload, func(t *testing.T) {
			in := input(t, fake{ranks: 2, repeats: 2, requests: 200, seed: 4, ttft: 30, change: func(r *Rank) {
				r.Workload, r.Payload, r.Content = "s3", c.payload, c.content
				r.Measured.Attempts += 4
				r.FailedAttempts = []ErrorCount{{Operation: "put", Kind: "http_5xx", Code: 503, Count: 3, Sample: "SlowDown"}, {Operation: "get", Kind: "reset", Count: 1}}
			}})
			r := build(t, in)
			client := r.Clients[0]
			if client.Payload != c.payload || client.Content != c.content {
				t.Errorf("payload %q, content %q, want %q and %q", client.Payload, client.Content, c.payload, c.content)
			}
			attempts := []ErrorCount{{Operation: "put", Kind: "http_5xx", Code: 503, Count: 12, Sample: "SlowDown"}, {Operation: "get", Kind: "reset", Count: 4}}
			if diff := cmp.Diff(attempts, client.FailedAttempts); diff != "" {
				t.Errorf("failed attempts (-want +got):\n%s", diff)
			}
			var out strings.Builder
			if err := Summary(&out, r); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{c.want, "  ! 16 of 816 attempts failed, and requests were tried again: 12 × put http_5xx (503), 4 × get reset\n"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in\n%s", want, out.String())
				}
			}
		})
	}
	if r := mixedOf(t, 0, nil); r.Clients[0].FailedAttempts != nil {
		t.Errorf("failed attempts of a load without any: %+v", r.Clients[0].FailedAttempts)
	}
}

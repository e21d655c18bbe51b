package results

import (
	"slices"
	"testing"
)

// mixedOf makes a result of reads and writes of which some writes failed.
func mixedOf(t *testing.T, failedPuts int64, change func(*Rank)) Result {
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
	}})
	in.Checks = []CheckInput{{Service: "sim", Repeat: 1, Metric: "m", Total: "GetObject", Increase: 1000, Known: true, Clients: []string{"loadgen"}}}
	return build(t, in)
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

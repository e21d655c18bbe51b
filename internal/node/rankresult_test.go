package node

import (
	"context"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// burst is a server that answers after 20 ms, and fails those requests of the measurement that are in the burst.
type burst struct {
	clock    load.Clock
	from, to uint64
}

func (b burst) Metrics() []string                                { return []string{"ttft"} }
func (b burst) Headline() string                                 { return "ttft" }
func (b burst) Operations() []string                             { return nil }
func (b burst) Totals() []string                                 { return nil }
func (b burst) Worker(context.Context, int) (load.Worker, error) { return b, nil }
func (b burst) Close()                                           {}
func (b burst) in(op *load.Op) bool                              { return op.Index >= b.from && op.Index < b.to }
func (b burst) Do(op *load.Op) {
	op.Sent = b.clock.Now()
	b.clock.WaitUntil(op.Sent+int64(20*time.Millisecond), nil)
	if op.Phase == load.Measure && b.in(op) {
		op.Fail(load.HTTP5xx, 503, "overloaded")
		return
	}
	op.SinceScheduled(0, b.clock.Now())
}

// 60 failures of 10,000 requests hold a p99 if they are independent. In one burst they are one event, which says little:
// the load tells, the result carries it, and the verdict knows.
func TestBurstOfFailuresDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := load.NewTimerClock()
		run, err := load.New(load.Options{
			Ranks: 1, Seed: 1, Clock: clock, Lengths: load.Lengths{Warmup: time.Second, Measure: 10 * time.Second},
			Open: &load.OpenLoop{Rate: 1000, Arrival: load.Constant, MaxInFlight: 100},
			Root: fstest.MapFS{"proc/self/task/1/schedstat": {Data: []byte("0 0 0\n")}},
		}, burst{clock, 5000, 5060})
		if err != nil {
			t.Fatal(err)
		}
		out, err := run.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out.Audit = load.Audit{Sound: true} // the garbage collector's pauses are real, and not what this is about
		c := &client{rank: &rank{name: "load"}, spec: &rundir.Client{Ranks: 1, Seed: 1, Inference: &rundir.Inference{}}}
		verdict := func(r results.Rank) results.Verdict {
			limit := 1.0
			all, err := results.Build(results.Input{
				Head:    results.Result{RepeatsPlanned: 1},
				Clients: []results.ClientInput{{Name: "load", Ranks: 1, Results: []results.Rank{r}}},
				SLOs:    []results.SLO{{Client: "load", Metric: "ttft", Statistic: "p99", AtMost: &limit}},
			})
			if err != nil {
				t.Fatal(err)
			}
			return all.SLOs[0]
		}
		r := c.result(1, out)
		if r.Measured.Offered != 10_000 || r.Measured.Failed != 60 {
			t.Fatalf("%+v, want 60 failures of 10,000", r.Measured)
		}
		if v := verdict(r); v.Verdict != results.Undecided {
			t.Errorf("a burst: %s: %s", v.Verdict, v.Why)
		}
		r.Operations[0].FailedBatches = nil
		if v := verdict(r); v.Verdict != results.Met {
			t.Errorf("without the batches: %s: %s; then this test shows nothing", v.Verdict, v.Why)
		}
	})
}

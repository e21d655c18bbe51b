package node

import (
	"assay.bench/internal/load"
	"assay.bench/internal/results"
)

// result turns what a load did into the file that is kept of it.
func (c *client) result(k int, out *load.Result) results.Rank {
	r := results.Rank{
		Client: c.name, Rank: c.number, Ranks: c.spec.Ranks, Repeat: k,
		Workload: workloadName(c.spec), Mode: out.Mode, Concurrency: out.Concurrency, Rate: out.Rate, Seed: c.spec.Seed,
		ScheduleHash: out.ScheduleHash, T0: out.T0, StartLate: out.StartLate,
		Warmup: out.Warmup, Window: out.Window, Cooldown: out.Cooldown, Batch: out.Batch,
		Truncated: out.Truncated, Reason: out.Reason,
		Measured: results.Counts(out.Measured), All: results.Counts(out.All),
		Metrics: make([]results.Metric, 0, len(out.Metrics)),
		Audit:   results.Audit(out.Audit),
	}
	for _, o := range out.Operations {
		r.Operations = append(r.Operations, results.Operation(o))
	}
	for _, t := range out.Totals {
		r.Totals = append(r.Totals, results.Total(t))
	}
	c.addStage(&r)
	if w := c.spec.S3; w != nil {
		if r.Payload, r.Content = w.Payload, "Verify"; w.Discard {
			r.Content = "Discard"
		}
	}
	for _, e := range out.Errors {
		r.Errors = append(r.Errors, results.ErrorCount(e))
	}
	if c.spec.Retries > 0 { // else each attempt is a request
		for _, e := range out.FailedAttempts {
			r.FailedAttempts = append(r.FailedAttempts, results.ErrorCount(e))
		}
	}
	for _, m := range out.Metrics {
		n := results.Metric{Name: m.Name, Unit: m.Unit, Count: m.Count, Sum: m.Sum, Min: m.Min, Max: m.Max,
			Histogram: m.Histogram}
		for _, b := range m.Batches {
			n.Batches = append(n.Batches, results.Batch(b))
		}
		r.Metrics = append(r.Metrics, n)
	}
	return r
}

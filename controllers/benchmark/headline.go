package benchmark

import (
	"fmt"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
)

// maxResults is the API's bound on status.results.
const maxResults = 64

// headline picks the numbers for the status: those of the SLOs first, then the usual ones of each client.
func headline(r results.Result) []v1alpha1.ResultValue {
	var out []v1alpha1.ResultValue
	seen := map[string]bool{}
	add := func(client string, v *results.Value) {
		if v == nil || len(out) == maxResults || seen[client+" "+v.Metric+" "+v.Statistic] {
			return
		}
		seen[client+" "+v.Metric+" "+v.Statistic] = true
		out = append(out, resultValue(client, *v))
	}
	for i := range r.SLOs {
		add(r.SLOs[i].Client, find(r, r.SLOs[i].Client, results.Headline{Metric: r.SLOs[i].Metric, Statistic: r.SLOs[i].Statistic}))
	}
	for _, c := range r.Clients {
		if len(c.Repeats) == 0 {
			continue // nothing was measured
		}
		for _, n := range results.Headlines() {
			add(c.Name, results.Find(c.Values, n.Metric, n.Statistic))
		}
	}
	return out
}

func find(r results.Result, client string, n results.Headline) *results.Value {
	for _, c := range r.Clients {
		if c.Name == client {
			return results.Find(c.Values, n.Metric, n.Statistic)
		}
	}
	return nil
}

func resultValue(client string, v results.Value) v1alpha1.ResultValue {
	return v1alpha1.ResultValue{
		Client: client, Metric: v.Metric, Statistic: v.Statistic, Unit: v.Unit,
		Value: results.Decimal(v.Value), Requests: v.Requests, Runs: int32(v.Runs),
		Low: results.Decimal(v.Low), High: results.Decimal(v.High), Interval: v.Interval, Note: reconcile.Clip(v.Note, 256),
	}
}

// primary is the first SLO's number with its interval, or the first client's throughput.
func primary(r results.Result) string {
	v := first(r)
	if v == nil || v.Value == nil {
		return ""
	}
	name := v.Statistic + "(" + v.Metric + ") "
	if v.Statistic == "value" {
		name = v.Metric + " "
	}
	out := name + v.Number()
	if v.Low != nil && v.High != nil {
		out += fmt.Sprintf(" [%s, %s]", results.Quantity(*v.Low, v.Unit), results.Quantity(*v.High, v.Unit))
	}
	return reconcile.Clip(out, 64)
}

// first is the first SLO's number, or the first throughput of the first client that is not 0.
func first(r results.Result) *results.Value {
	switch {
	case len(r.SLOs) > 0:
		return find(r, r.SLOs[0].Client, results.Headline{Metric: r.SLOs[0].Metric, Statistic: r.SLOs[0].Statistic})
	case len(r.Clients) == 0:
		return nil
	}
	for _, rate := range results.Rates() {
		if v := find(r, r.Clients[0].Name, results.Headline{Metric: rate, Statistic: "value"}); v != nil && v.Value != nil && *v.Value > 0 {
			return v
		}
	}
	return nil
}

// objectivesMet is how many SLOs hold, such as 4/5; "" without SLOs.
func objectivesMet(r results.Result) string {
	if len(r.SLOs) == 0 {
		return ""
	}
	met := 0
	for _, v := range r.SLOs {
		if v.Verdict == results.Met {
			met++
		}
	}
	return fmt.Sprintf("%d/%d", met, len(r.SLOs))
}

package benchmark

import (
	"fmt"
	"strconv"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
)

// maxResults is the API's bound on status.results.
const maxResults = 64

// number names a value of a client.
type number struct{ metric, statistic string }

// headlines are the numbers of a client that stand in a status, beside those that an SLO asks for.
func headlines() []number {
	return []number{
		{"ttft", "p50"}, {"ttft", "p99"}, {"e2e", "p50"}, {"e2e", "p99"}, {"tpot", "p50"}, {"itl_token", "p99"},
		{"request_throughput", "value"}, {"output_token_throughput", "value"}, {"success_ratio", "value"},
	}
}

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
		add(r.SLOs[i].Client, find(r, r.SLOs[i].Client, number{r.SLOs[i].Metric, r.SLOs[i].Statistic}))
	}
	for _, c := range r.Clients {
		if len(c.Repeats) == 0 {
			continue // nothing was measured
		}
		for _, n := range headlines() {
			add(c.Name, results.Find(c.Values, n.metric, n.statistic))
		}
	}
	return out
}

func find(r results.Result, client string, n number) *results.Value {
	for _, c := range r.Clients {
		if c.Name == client {
			return results.Find(c.Values, n.metric, n.statistic)
		}
	}
	return nil
}

func resultValue(client string, v results.Value) v1alpha1.ResultValue {
	return v1alpha1.ResultValue{
		Client: client, Metric: v.Metric, Statistic: v.Statistic, Unit: v.Unit,
		Value: decimal(v.Value), Requests: v.Requests, Runs: int32(v.Runs),
		Low: decimal(v.Low), High: decimal(v.High), Interval: v.Interval, Note: reconcile.Clip(v.Note, 256),
	}
}

// decimal writes a number with six significant digits and no exponent; "" for none.
func decimal(x *float64) string {
	if x == nil {
		return ""
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(*x, 'g', 6, 64), 64)
	if err != nil {
		return ""
	}
	return reconcile.Clip(strconv.FormatFloat(rounded, 'f', -1, 64), 32)
}

// primary is the first SLO's number with its interval, or the first client's throughput.
func primary(r results.Result) string {
	n, client := number{"output_token_throughput", "value"}, ""
	if len(r.Clients) > 0 {
		client = r.Clients[0].Name
	}
	if len(r.SLOs) > 0 {
		client, n = r.SLOs[0].Client, number{r.SLOs[0].Metric, r.SLOs[0].Statistic}
	}
	v := find(r, client, n)
	if v == nil || v.Value == nil {
		return ""
	}
	name := n.statistic + "(" + n.metric + ") "
	if n.statistic == "value" {
		name = n.metric + " "
	}
	out := name + v.Number()
	if v.Low != nil && v.High != nil {
		out += fmt.Sprintf(" [%s, %s]", results.Quantity(*v.Low, v.Unit), results.Quantity(*v.High, v.Unit))
	}
	return reconcile.Clip(out, 64)
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

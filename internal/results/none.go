package results

import (
	"fmt"
	"slices"
	"strings"
)

// noneSucceeded says what went wrong for a client without a single success, or without one of a kind of its requests,
// where no SLO of its own tells: its server is not the one that was meant, refuses them all, or the window is too short.
// It is "" where there is no such client.
func (r *Result) noneSucceeded() string {
	for i := range r.Clients {
		c := &r.Clients[i]
		switch {
		case c.Measured.Succeeded > 0:
			if words := r.noneOfAKind(c); words != "" {
				return words
			}
		case r.slosTell(c.Name, ""):
		case c.Measured.Offered == 0:
			return c.nothingDue()
		default:
			return c.allFailed("", c.Measured.Offered)
		}
	}
	return ""
}

// noneOfAKind is noneSucceeded for a client of whose requests some succeeded.
func (r *Result) noneOfAKind(c *ClientResult) string {
	for _, o := range c.Operations {
		if o.Succeeded == 0 && o.Failed > 0 && !r.slosTell(c.Name, o.Name) {
			return c.allFailed(o.Name, o.Failed)
		}
	}
	return ""
}

// slosTell says whether an SLO of the client speaks of the failures of an operation, or of all its requests for "": they
// violate one on a latency or on the success ratio, and meet an upper limit of the latter. A throughput without a success
// proves nothing, nor does an SLO without a request, or one on another operation.
func (r *Result) slosTell(client, operation string) bool {
	return slices.ContainsFunc(r.SLOs, func(v Verdict) bool {
		return v.Client == client && !isRate(v.Metric) && speaksOf(v.Metric, operation) &&
			(v.Verdict == Violated || v.Metric == "success_ratio" && v.Verdict == Met && v.AtMost != nil)
	})
}

// speaksOf says whether a failure of the operation is infinitely late, or one of the failures, in a metric.
func speaksOf(metric, operation string) bool {
	switch metric {
	case "e2e", "e2e_from_send", "success_ratio":
		return true
	}
	return operation == "" || isOf(metric, operation)
}

// nothingDue is said of a client that measured no request.
func (c *ClientResult) nothingDue() string {
	words := fmt.Sprintf("%s measured nothing: of its %s not one was due in the measured window of %s: make duration longer than a request takes",
		c.Name, plural(int(c.All.Offered), "request"), Quantity(c.Window, "s"))
	if c.Mode == "open" {
		words += ", or raise the rate"
	}
	return words
}

// allFailed is said of a client whose measured requests of an operation, or all for "", failed.
func (c *ClientResult) allFailed(operation string, requests int64) string {
	words := fmt.Sprintf("not one of %s of %s succeeded", plural(int(requests), strings.TrimLeft(operation+" request", " ")), c.Name)
	at := slices.IndexFunc(c.Errors, func(e ErrorCount) bool { return operation == "" || e.Operation == operation })
	if at >= 0 {
		words += ": " + strings.TrimSpace(kind(c.Errors[at])+" "+strings.TrimSuffix(firstLine(c.Errors[at].Sample), "."))
	}
	if at >= 0 && (c.Errors[at].Code == 401 || c.Errors[at].Code == 403) {
		return words + ": name in target.credentials a Secret with what " + c.Target + " accepts"
	}
	return words + ": see that " + c.Target + " is the server that the recipe means, and its log"
}

package results

import (
	"fmt"
	"slices"
	"strings"
)

// warn collects what a reader must know.
func (r *Result) warn() {
	if !r.Baseline {
		r.Warnings = append(r.Warnings, "the phases were scaled by "+r.TimeScale+": this result is never a baseline")
	}
	if r.SharedNode {
		r.Warnings = append(r.Warnings, "client and server ran on one node and shared its CPUs")
	}
	for _, c := range r.CrossChecks {
		switch {
		case c.Server == nil:
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s repeat %d: the server's %s could not be read", c.Service, c.Repeat, c.Metric))
		case !c.Agrees:
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s repeat %d: the server counted %.0f in %s, the clients %d", c.Service, c.Repeat, *c.Server, c.Metric, c.Clients))
		}
	}
	for _, s := range r.Services {
		if s.ScrapesDue > 0 && s.Coverage < 0.95 {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: only %.1f %% of the scrapes were good", s.Name, 100*s.Coverage))
		}
	}
	for _, c := range r.Clients {
		if c.Saturated {
			r.Warnings = append(r.Warnings, c.Name+": requests waited for maxInFlight: the server did not keep up with the rate")
		}
	}
}

// settle decides the outcome: what the infrastructure did comes before what the measurement is worth, and that before
// what it says.
func (r *Result) settle(in Input, byClient map[string][]part) {
	judged := in.Failure == nil && r.RepeatsWhole == r.RepeatsPlanned && len(r.Clients) > 0
	for _, s := range in.SLOs {
		parts := byClient[s.Client]
		v := judge(s, pool(parts), valuesOf(parts))
		if !judged {
			v.Verdict, v.Why = NotJudged, "the run is not whole"
		}
		r.SLOs = append(r.SLOs, v)
	}
	switch {
	case in.Failure != nil:
		r.Outcome, r.Message = in.Failure.Outcome, in.Failure.Message
	case r.RepeatsWhole < r.RepeatsPlanned:
		r.Outcome, r.Message = Partial, r.missing()
	case !r.sound():
		r.Outcome, r.Message = MeasurementInvalid, r.limits()
	default:
		r.Outcome, r.Message = r.verdict()
	}
}

func (r *Result) sound() bool {
	return !slices.ContainsFunc(r.Clients, func(c ClientResult) bool { return !c.Sound })
}

// missing says what is not whole, the first reason in words.
func (r *Result) missing() string {
	message := fmt.Sprintf("%d of %d repeats are whole", r.RepeatsWhole, r.RepeatsPlanned)
	for _, c := range r.Clients {
		for _, p := range c.Repeats {
			if !p.Whole {
				return fmt.Sprintf("%s; %s repeat %d: %s", message, c.Name, p.Repeat, p.Reason)
			}
		}
	}
	return message
}

// limits names the first limit of the client.
func (r *Result) limits() string {
	for _, c := range r.Clients {
		if !c.Sound && len(c.Limits) > 0 {
			return fmt.Sprintf("the client limited the result: %s %s", c.Name, c.Limits[0])
		}
	}
	return "the client limited the result"
}

func (r *Result) verdict() (outcome, message string) {
	met, violated := 0, []string{}
	for _, v := range r.SLOs {
		switch v.Verdict {
		case Met:
			met++
		case Violated:
			violated = append(violated, v.Statistic+"("+v.Metric+") of "+v.Client)
		}
	}
	count := fmt.Sprintf("%d of %d SLOs hold", met, len(r.SLOs))
	switch {
	case len(violated) > 0:
		return SLOViolated, count + "; not " + strings.Join(violated, ", ")
	case met < len(r.SLOs):
		return Undecided, count + "; the others are undecided"
	case len(r.SLOs) == 0:
		return Passed, "the run is whole; it has no SLO"
	}
	return Passed, count
}


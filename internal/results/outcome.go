package results

import (
	"fmt"
	"slices"
	"strings"
)

// leastCoverage is the share of good scrapes under which a service counts as not monitored.
const leastCoverage = 0.95

// warn collects what a reader must know.
func (r *Result) warn(clients []*client) {
	if r.scaled() {
		r.addWarningf("the phases were scaled by %s: this result is never a baseline", r.TimeScale)
	}
	if r.SharedNode && r.measured() {
		r.addWarningf("client and server ran on one node and shared its CPUs")
	}
	for _, c := range clients {
		for _, p := range c.parts {
			for _, rank := range p.ranks {
				for _, words := range rank.Warnings {
					r.addWarningf("%s repeat %d: %s", c.Name, p.repeat, words)
				}
			}
		}
	}
	for _, c := range r.CrossChecks {
		switch {
		case !r.measured(): // what ended the run before says enough, and what the clients had counted is not known
		case c.Server == nil:
			r.addWarningf("%s repeat %d: the server's %s could not be read", c.Service, c.Repeat, c.counter())
		case !c.Agrees:
			r.addWarningf("%s repeat %d: the server counted %s in %s, the clients %s",
				c.Service, c.Repeat, bound(*c.Server, ""), c.counter(), count(c.Clients))
		}
	}
	for _, s := range r.Services {
		if s.ScrapesDue > 0 && s.Coverage < leastCoverage {
			r.addWarningf("%s: only %s of %s scrapes were good", s.Name, count(s.ScrapesGood), count(s.ScrapesDue))
		}
	}
	for _, c := range r.Clients {
		if c.Saturated {
			r.addWarningf("%s: requests waited for maxInFlight: the server did not keep up with the rate", c.Name)
		}
		if c.Mode == "closed" && c.Concurrency > 0 && c.InFlight > 1.05*float64(c.Concurrency) {
			r.addWarningf("%s: by Little's law %s requests were in flight, with a concurrency of %d: the counts or the latencies are wrong",
				c.Name, digits(c.InFlight, 3), c.Concurrency)
		}
	}
	if r.Outcome == Partial && !r.sound() {
		r.addWarningf("%s", r.limits())
	}
}

// counter is the counter of the check, with the labels that it asks for.
func (c CrossCheck) counter() string {
	if c.Labels == "" {
		return c.Metric
	}
	return c.Metric + "{" + c.Labels + "}"
}

func (r *Result) addWarningf(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

func (r *Result) scaled() bool { return r.TimeScale != "" && r.TimeScale != "1" }

// settle decides the outcome: what the infrastructure did comes before what the measurement is worth, and that before
// what it says.
func (r *Result) settle(in Input, byName map[string]*client) {
	for _, s := range in.SLOs {
		c := byName[s.Client]
		if c == nil {
			c = &client{}
		}
		r.SLOs = append(r.SLOs, judge(s, c.pooled, c.values))
	}
	whole := len(r.Clients) > 0 && r.RepeatsWhole >= r.RepeatsPlanned
	why, none := "", r.noneSucceeded()
	switch {
	case in.Failure != nil:
		r.Outcome, r.Message, why = in.Failure.Outcome, in.Failure.Message, "the run did not end as planned"
	case !whole:
		r.Outcome, r.Message, why = Partial, r.missing(), "the run is not whole"
	case none != "":
		r.Outcome, r.Message, why = Failed, none, "a client has no request that succeeded, or none of one kind"
	case !r.sound():
		r.Outcome, r.Message, why = MeasurementInvalid, r.limits(), "the client limited the result"
	default:
		r.Outcome, r.Message = r.verdict()
	}
	for i := range r.SLOs {
		if why != "" {
			r.SLOs[i].Verdict, r.SLOs[i].Why = NotJudged, why
		}
	}
	r.Baseline = why == "" && !r.scaled()
}

// measured says whether any client measured anything.
func (r *Result) measured() bool {
	return slices.ContainsFunc(r.Clients, func(c ClientResult) bool { return c.Measured.Offered > 0 })
}

func (r *Result) sound() bool {
	return !slices.ContainsFunc(r.Clients, func(c ClientResult) bool { return !c.Sound })
}

// missing says what is not whole, the first reason in words.
func (r *Result) missing() string {
	if len(r.Clients) == 0 {
		return "the run has no client"
	}
	message := fmt.Sprintf("%d of %d repeats are whole", r.RepeatsWhole, r.RepeatsPlanned)
	for k := 1; k <= r.RepeatsPlanned; k++ {
		for _, c := range r.Clients {
			at := slices.IndexFunc(c.Repeats, func(p RepeatPart) bool { return p.Repeat == k })
			switch {
			case at < 0:
				return fmt.Sprintf("%s; %s left no result of repeat %d", message, c.Name, k)
			case !c.Repeats[at].Whole:
				return fmt.Sprintf("%s; %s repeat %d: %s", message, c.Name, k, c.Repeats[at].Reason)
			}
		}
	}
	return message
}

// limits names the first limit of the client.
func (r *Result) limits() string {
	for _, c := range r.Clients {
		if len(c.Limits) > 0 {
			return fmt.Sprintf("the client limited the result: %s %s", c.Name, c.Limits[0])
		}
	}
	return "the client limited the result"
}

// verdict is the outcome of a whole and sound run.
func (r *Result) verdict() (outcome, message string) {
	met, violated := 0, []string{}
	for _, v := range r.SLOs {
		switch v.Verdict {
		case Met:
			met++
		case Violated:
			violated = append(violated, v.name())
		}
	}
	hold := fmt.Sprintf("%d of %d SLOs hold", met, len(r.SLOs))
	switch {
	case len(violated) > 0:
		return SLOViolated, hold + "; not " + strings.Join(violated, ", ")
	case met < len(r.SLOs):
		return Undecided, hold + "; the others are undecided"
	case len(r.SLOs) == 0:
		return Passed, "the run is whole; it has no SLO"
	}
	return Passed, hold
}

// name is what the SLO is about, such as p99(ttft) of loadgen.
func (v Verdict) name() string {
	if v.Statistic == "value" {
		return v.Metric + " of " + v.Client
	}
	return v.Statistic + "(" + v.Metric + ") of " + v.Client
}

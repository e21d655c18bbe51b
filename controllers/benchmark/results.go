package benchmark

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// result makes result.json from the evidence. The same evidence gives the same bytes.
func (p *pass) result() (results.Result, []byte, error) {
	slos, err := objectives(p.bm)
	if err != nil {
		return results.Result{}, nil, err
	}
	e := p.seen.Evidence
	in := results.Input{Head: p.head(), Clients: clientInputs(p.bm, e), SLOs: slos, Checks: checks(e), Failure: p.failure(),
		Simulated: p.seen.Site != nil && p.seen.Site.Spec.Jobs.Sim != nil}
	if p.view.stop != nil && in.Failure == nil { // a failure says why the jobs were stopped
		in.Head.Warnings = append(in.Head.Warnings, p.view.stop.message)
	}
	r, err := results.Build(in)
	if err != nil {
		// A whole file with a broken histogram: nothing that was measured can be trusted, and the result says so.
		for i := range in.Clients {
			in.Clients[i].Results = nil
		}
		in.Failure = &results.Failure{Outcome: results.Failed, Message: err.Error()}
		if r, err = results.Build(in); err != nil {
			return r, nil, err
		}
	}
	b, err := results.Marshal(r)
	return r, b, err
}

// head is what is known of a run without its numbers.
func (p *pass) head() results.Result {
	run, e := p.run(), p.seen.Evidence
	out := results.Result{
		Benchmark: p.bm.Name, Namespace: p.bm.Namespace, Run: run.Name,
		Started: run.StartTime.UTC(), Ended: e.ended(),
		Seed: run.Seed, TimeScale: string(run.TimeScale),
		Site: string(p.bm.Spec.Site), Directory: run.Directory,
		SharedNode:     sharedNode(e),
		RepeatsPlanned: int(p.count()), Restart: string(p.bm.Spec.Repeats.Restart),
		Services: p.serviceResults(),
		SpecHash: run.SpecHash, Version: p.seen.Version,
	}
	if out.Ended.Before(out.Started) {
		out.Ended = out.Started
	}
	for _, name := range run.Jobs {
		out.Jobs = append(out.Jobs, p.jobResult(name))
	}
	for _, job := range e.Jobs {
		out.Warnings = append(append(out.Warnings, job.Broken...), job.endings()...)
	}
	return out
}

func (p *pass) jobResult(name string) results.Job {
	out := results.Job{Name: name, Reason: "Deleted"}
	job := p.seen.Jobs[name]
	if job == nil {
		return out
	}
	out.ID, out.Attempt, out.Nodes, out.Reason = job.Status.JobID, int(job.Status.Attempt), job.Status.Nodes, job.Status.Phase
	if n := len(job.Status.Attempts); n > 0 && reconcile.JobOver(job) {
		out.Reason = job.Status.Attempts[n-1].Reason
	}
	return out
}

// sharedNode says whether a service and a client ran on one host.
func sharedNode(e *Evidence) bool {
	served, loaded := map[string]bool{}, map[string]bool{}
	for _, job := range e.Jobs {
		for _, r := range job.Ranks {
			switch {
			case r.Status == nil || r.Status.Host == "":
			case job.isService(r.Component):
				served[r.Status.Host] = true
			default:
				loaded[r.Status.Host] = true
			}
		}
	}
	for host := range served {
		if loaded[host] {
			return true
		}
	}
	return false
}

func (e JobEvidence) isService(component string) bool {
	return e.Plan != nil && slices.ContainsFunc(e.Plan.Services, func(s rundir.Service) bool { return s.Name == component })
}

// serviceResults tells how each service ended and how well it was watched, over all its jobs.
func (p *pass) serviceResults() []results.ServiceResult {
	var out []results.ServiceResult
	for _, c := range components(p.bm) {
		if c.kind != reconcile.KindService {
			continue
		}
		one := results.ServiceResult{Name: string(c.name), Coverage: 1}
		for _, job := range p.seen.Evidence.Jobs {
			job.addService(&one)
		}
		if one.ScrapesDue > 0 {
			one.Coverage = float64(one.ScrapesGood) / float64(one.ScrapesDue)
		}
		out = append(out, one)
	}
	return out
}

// addService adds what one job knows of a service. The worst end of its ranks and jobs stands for all.
func (e JobEvidence) addService(one *results.ServiceResult) {
	if e.Plan == nil {
		return
	}
	for _, s := range e.Plan.Services {
		if s.Name == one.Name {
			one.Engine = s.Engine
		}
	}
	if used := e.Images[one.Name]; used != nil {
		one.Image = imageResult(used)
	}
	var endpoints []string
	for _, r := range e.Ranks {
		if r.Component != one.Name {
			continue
		}
		if r.Status != nil && r.Status.Endpoint != nil {
			endpoints = append(endpoints, joinHostPort(r.Status.Endpoint.Host, r.Status.Endpoint.Port))
		}
		if r.Status != nil && r.Status.GPUs != nil {
			c := r.Status.GPUs
			one.GPUs = append(one.GPUs, results.GPUCheck{
				Rank: r.Rank, Host: r.Status.Host, State: c.State, Message: c.Message, Given: c.Given, Seen: c.Seen,
			})
		}
		if reason, message := r.end(); reason != "" && (one.Outcome == "" || isCause(reason) && !isCause(one.Outcome)) {
			one.Outcome, one.Message = reason, message
		}
	}
	if len(endpoints) > 0 {
		one.Endpoint = endpoints[0]
	}
	if len(endpoints) > 1 {
		one.Endpoints = endpoints
	}
	for _, c := range e.Counters {
		if c.Service != one.Name {
			continue
		}
		for _, t := range c.Targets {
			one.ScrapesDue += t.Due
			one.ScrapesGood += t.Good
		}
	}
}

func joinHostPort(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

// clientInputs gathers what the ranks of each client measured, over all jobs.
func clientInputs(bm *v1alpha1.Benchmark, e *Evidence) []results.ClientInput {
	var out []results.ClientInput
	for i := range bm.Spec.Clients {
		c := &bm.Spec.Clients[i]
		in := results.ClientInput{
			Name: string(c.Name), Target: cmp.Or(c.Target.Service, c.Target.URL), Ranks: int(max(1, c.Instances)),
			Model: e.model(string(c.Name)),
		}
		for _, job := range e.Jobs {
			for _, r := range job.Results {
				if r.Client == in.Name {
					in.Results = append(in.Results, r)
				}
			}
		}
		out = append(out, in)
	}
	return out
}

// model is what a client asks for, as the node finds it: the plan names it, or the service has one, perhaps in another
// job. It is "" where the workload knows no model.
func (e *Evidence) model(client string) string {
	served := map[string]string{}
	for _, job := range e.Jobs {
		if job.Plan == nil {
			continue
		}
		for _, s := range job.Plan.Services {
			served[s.Name] = s.Model
		}
	}
	for _, job := range e.Jobs {
		if job.Plan == nil {
			continue
		}
		for _, c := range job.Plan.Clients {
			if c.Name == client && c.Inference != nil {
				return cmp.Or(c.Inference.Model, served[c.Target.Service])
			}
		}
	}
	return ""
}

// checks are the counters that the plan wants compared, for each repeat and service; ranks are added up.
func checks(e *Evidence) []results.CheckInput {
	targets := map[string][]string{}
	for _, job := range e.Jobs {
		if job.Plan == nil {
			continue
		}
		for _, c := range job.Plan.Clients {
			if c.Target.Service != "" && !slices.Contains(targets[c.Target.Service], c.Name) {
				targets[c.Target.Service] = append(targets[c.Target.Service], c.Name)
			}
		}
	}
	var out []results.CheckInput
	for _, job := range e.Jobs {
		if job.Plan == nil {
			continue
		}
		for _, s := range job.Plan.Services {
			for _, c := range s.CrossChecks {
				for k := range job.Plan.Repeats.Count {
					out = append(out, job.check(s, c, job.Plan.Repeats.First+k, targets[s.Name]))
				}
			}
		}
	}
	return out
}

func (e JobEvidence) check(s rundir.Service, c rundir.CrossCheck, repeat int, clients []string) results.CheckInput {
	out := results.CheckInput{
		Service: s.Name, Repeat: repeat, Metric: c.Metric, Labels: c.Labels, Total: c.Total, Tolerance: c.Tolerance, Clients: clients,
	}
	read, known := 0, false
	for i := range e.Counters {
		if e.Counters[i].Service != s.Name || e.Counters[i].Repeat != repeat {
			continue
		}
		if e.Counters[i].Read(c.Target) {
			read++
		}
		if sum, has := e.Counters[i].Increase(c); has {
			out.Increase += sum
			known = true
		}
	}
	// A rank that nobody talks to may have no series of the metric: that is zero, if another rank has one.
	out.Known = known && read == having(s, c.Target)
	return out
}

// having is how many ranks of a service have a target.
func having(s rundir.Service, target string) int {
	for _, sc := range s.Scrapes {
		if sc.Name == target && sc.Leader {
			return s.Ranks / max(1, s.Group)
		}
	}
	return s.Ranks
}

// failure is what ended the run before its time, or nil: a service that failed, a client that gave up, then what
// stopped the jobs, then that nothing was measured. What is merely missing makes a result partial.
func (p *pass) failure() *results.Failure {
	e, stop := p.seen.Evidence, p.view.stop
	some, whole := p.measured()
	fail := func(outcome, message string) *results.Failure {
		return &results.Failure{Outcome: outcome, Message: message}
	}
	if words := e.words(func(job JobEvidence, component, reason string) bool {
		return isCause(reason) && job.isService(component)
	}); words != "" {
		return fail(results.Failed, words)
	}
	if words := e.words(func(_ JobEvidence, _, reason string) bool {
		return reason == rundir.ExitReasonAborted
	}); words != "" {
		return fail(results.Failed, words)
	}
	if stop != nil && stop.reason != v1alpha1.ReasonFailed && !whole {
		return fail(stop.reason, stop.message)
	}
	if some {
		return nil
	}
	words := e.firstWords()
	if stop != nil {
		words = cmp.Or(words, stop.message)
	}
	return fail(results.Failed, cmp.Or(words, "nothing was measured"))
}

// measured says whether any rank measured anything, and whether all of them did, in every repeat, to the end.
func (p *pass) measured() (some, whole bool) {
	want, got := 0, 0
	for i := range p.bm.Spec.Clients {
		want += int(max(1, p.bm.Spec.Clients[i].Instances) * p.count())
	}
	for _, job := range p.seen.Evidence.Jobs {
		for _, r := range job.Results {
			some = some || r.Measured.Offered > 0
			if !r.Truncated {
				got++
			}
		}
	}
	return some, got >= want
}

// words are what the first rank with such an end says of it, or "".
func (e *Evidence) words(such func(job JobEvidence, component, reason string) bool) string {
	for _, job := range e.Jobs {
		for _, r := range job.Ranks {
			reason, message := r.end()
			if reason == "" || !such(job, r.Component, reason) {
				continue
			}
			kind := "client"
			if job.isService(r.Component) {
				kind = "service"
			}
			return fmt.Sprintf("%s %s: %s", kind, r.Component, reconcile.Sentence(reason, message))
		}
	}
	return ""
}

// firstWords are the first that a rank or a job had to say of an end that was not planned.
func (e *Evidence) firstWords() string {
	if words := e.words(func(_ JobEvidence, _, reason string) bool { return reason != rundir.ExitReasonEnded }); words != "" {
		return words
	}
	for _, job := range e.Jobs {
		if job.Exit != nil && job.Exit.Reason != rundir.ExitReasonEnded {
			return fmt.Sprintf("job %s: %s", job.Name, reconcile.Sentence(job.Exit.Reason, job.Exit.Message))
		}
	}
	return ""
}

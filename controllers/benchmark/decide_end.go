package benchmark

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
)

// hasEnded lets only a run pass that waits for no job any more.
func hasEnded(p *pass) bool { return p.view.ended }

// evidenceRead waits for a site that does not answer. Nothing is concluded from its silence.
func evidenceRead(p *pass) bool {
	if p.seen.Evidence != nil {
		return true
	}
	words := p.seen.Silent
	if words == "" {
		words = p.seen.Closed
	}
	p.progressing("the run has ended; its results are read once the site answers: " + words)
	p.says(phaseFinishing, "waits for the site, to read the results")
	p.lookAgain(again)
	return false
}

// lastCounters is how long after the load a kept service may take for its last scrape, which has 10 s.
const lastCounters = 15 * time.Second

// countersRead waits for the last counters of services that are kept: their jobs go on, so nothing else says that the
// counters are written, and the result is made once.
func countersRead(p *pass) bool {
	load := meta.FindStatusCondition(p.bm.Status.Conditions, v1alpha1.ConditionLoadComplete)
	if load == nil || load.Status != metav1.ConditionTrue || p.now.Sub(load.LastTransitionTime.Time) >= lastCounters {
		return true
	}
	for _, e := range p.seen.Evidence.Jobs {
		job := p.seen.Jobs[e.Name]
		if e.Plan == nil || !e.Plan.KeepServices || job == nil || reconcile.JobOver(job) {
			continue
		}
		last := e.Plan.Repeats.First + e.Plan.Repeats.Count - 1
		for _, s := range e.Plan.Services {
			if e.countersOf(s.Name, last) < s.Ranks {
				p.progressing("waits for the last scrape of service " + s.Name)
				p.says(phaseFinishing, "waits for the last scrape of service "+s.Name)
				p.lookAgain(soon)
				return false
			}
		}
	}
	return true
}

// countersOf is how many ranks of a service wrote the counters of a repeat.
func (e JobEvidence) countersOf(service string, repeat int) (ranks int) {
	for i := range e.Counters {
		if e.Counters[i].Service == service && e.Counters[i].Repeat == repeat {
			ranks++
		}
	}
	return ranks
}

// resultStored writes result.json until it has been seen as it should be.
func resultStored(p *pass) bool {
	r, b, err := p.result()
	if err != nil {
		p.stalled(v1alpha1.ReasonFailed, "the result cannot be made: "+err.Error())
		p.says(phaseFailed, err.Error())
		return false
	}
	p.end = &r
	if p.run().ResultHash = digest(b); p.seen.Written == p.run().ResultHash {
		return true
	}
	p.do(WriteResult{Path: resultPath(p.run().Directory), Content: b})
	if p.cannotWrite() {
		return false
	}
	p.progressing("the result is written")
	p.says(phaseFinishing, "writes the result")
	p.lookAgain(soon)
	return false
}

// completed tells the outcome.
func completed(p *pass) bool {
	r, s := *p.end, &p.bm.Status
	ended := metav1.NewTime(p.now.Truncate(second))
	s.Run.EndTime = &ended
	s.Results, s.Primary, s.SLO = headline(r), primary(r), objectivesMet(r)
	s.Runs = append(s.Runs, v1alpha1.EndedRun{
		Name: s.Run.Name, Jobs: firstOf(s.Run.Jobs, maxRunJobs), Directory: s.Run.Directory, Outcome: r.Outcome, EndTime: &ended,
	})
	if more := len(s.Runs) - maxRuns; more > 0 {
		s.Runs = append([]v1alpha1.EndedRun(nil), s.Runs[more:]...)
	}
	message := reconcile.Clip(r.Message, 1024)
	p.judged(r)
	p.cond.Ended(reconcile.Success(results.Succeeded(r.Outcome)), r.Outcome, message)
	s.Progress = fmt.Sprintf("%d/%d", r.RepeatsWhole, p.count())
	p.says(phaseOf(r.Outcome), message)
	p.event(reconcile.Event{
		Warning: r.Outcome != results.Passed, Reason: "RunEnded", Action: "Judge",
		Message: fmt.Sprintf("run %s: %s: %s", s.Run.Name, r.Outcome, message),
	})
	p.out.After = 0
	return true
}

// The API's bounds on the runs that are kept in the status.
const (
	maxRuns    = 10
	maxRunJobs = 200
)

func firstOf(list []string, n int) []string { return list[:min(n, len(list))] }

// judged writes SLOMet and what remains of the conditions of the run.
func (p *pass) judged(r results.Result) {
	if len(p.bm.Spec.SLOs) == 0 {
		return
	}
	words := objectivesMet(r) + " SLOs hold"
	switch r.Outcome {
	case results.Passed:
		p.cond.True(v1alpha1.ConditionSLOMet, r.Outcome, words)
	case results.SLOViolated:
		p.cond.False(v1alpha1.ConditionSLOMet, r.Outcome, words)
	case results.Undecided:
		p.cond.Unknown(v1alpha1.ConditionSLOMet, r.Outcome, words)
	default:
		p.cond.Unknown(v1alpha1.ConditionSLOMet, r.Outcome, "not judged: "+reconcile.Clip(r.Message, 1024))
	}
}

func phaseOf(outcome string) string {
	switch outcome {
	case results.Passed, results.SLOViolated, results.Undecided:
		return phaseComplete
	case results.MeasurementInvalid, results.Partial:
		return phaseInvalid
	}
	return phaseFailed
}

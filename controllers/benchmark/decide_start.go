package benchmark

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
)

// specHash is the SHA-256 of the spec without the fields that may change during a run.
func specHash(bm *v1alpha1.Benchmark) string {
	spec := bm.Spec.DeepCopy()
	spec.Suspend, spec.Cleanup = false, v1alpha1.Cleanup{}
	b, err := json.Marshal(spec)
	if err != nil {
		panic(err) // a struct of strings and numbers always marshals
	}
	return digest(b)
}

// wantsRun says that there is no run yet, or that the last one ended and the spec asks for another.
func wantsRun(bm *v1alpha1.Benchmark) bool {
	run := bm.Status.Run
	if run == nil {
		return true
	}
	return run.Ended() && (specHash(bm) != run.SpecHash || bm.Spec.Run > run.SpecRun)
}

// mayStart refuses a run that cannot go well, while the spec may still be changed.
func mayStart(p *pass) bool {
	if !wantsRun(p.bm) {
		return true
	}
	for _, way := range []func(*pass) (free bool){
		notSuspended,
		siteIsThere,
		siteAdmitsUs,
		parametersAreValid,
		doorIsOpen,
		nameIsFree,
	} {
		if !way(p) {
			return false
		}
	}
	return true
}

func notSuspended(p *pass) bool {
	if !p.bm.Spec.Suspend {
		return true
	}
	p.cond.Suspended("spec.suspend is true: no run starts")
	p.says(phaseSuspended, "waits for spec.suspend to be false")
	return false
}

func siteIsThere(p *pass) bool {
	if p.seen.Site != nil {
		return true
	}
	p.refuse(v1alpha1.ReasonSiteMissing, fmt.Sprintf("there is no Site %q in namespace %s: create it, or name another in spec.site", p.bm.Spec.Site, p.bm.Namespace))
	p.lookAgain(again)
	return false
}

// siteAdmitsUs passes on what only a person can lift.
func siteAdmitsUs(p *pass) bool {
	for _, c := range p.seen.Site.Status.Conditions {
		if c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue {
			p.refuse(c.Reason, fmt.Sprintf("Site %s: %s", p.bm.Spec.Site, c.Message))
			return false
		}
	}
	return true
}

func parametersAreValid(p *pass) bool {
	problems := plan.Check(p.bm, p.seen.Site)
	if _, err := reconcile.TimeScale(p.bm); err != nil {
		problems = append(problems, err)
	}
	if _, err := objectives(p.bm); err != nil {
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return true
	}
	p.refuse(v1alpha1.ReasonInvalidParameters, strings.ReplaceAll(errors.Join(problems...).Error(), "\n", "; "))
	return false
}

func doorIsOpen(p *pass) bool {
	words := p.seen.Closed
	if words == "" {
		words = p.seen.Silent
	}
	if words == "" {
		return true
	}
	p.progressing(fmt.Sprintf("waits for Site %s: %s", p.bm.Spec.Site, words))
	p.says(phaseQueued, fmt.Sprintf("waits for site %s", p.bm.Spec.Site))
	p.lookAgain(again)
	return false
}

func nameIsFree(p *pass) bool {
	if p.seen.Taken != "" {
		p.refuse(v1alpha1.ReasonInvalidParameters, p.seen.Taken+" exists and belongs to something else: rename the component or the Benchmark")
		return false
	}
	if p.seen.Start.Run == "" {
		p.refuse(v1alpha1.ReasonInvalidParameters, fmt.Sprintf("too many former runs named g%d of a Benchmark of this name are kept: remove some with assay prune", p.bm.Generation))
		return false
	}
	return true
}

// refuse stalls a Benchmark whose run does not start.
func (p *pass) refuse(reason, message string) {
	if p.bm.Status.Run != nil {
		p.notComplete(message)
	}
	p.stalled(reason, message)
	p.says(phaseInvalid, message)
}

// formerIsGone removes the children of the former run: the next run makes objects of the same names.
func formerIsGone(p *pass) bool {
	if !wantsRun(p.bm) || len(p.seen.Former) == 0 {
		return true
	}
	p.do(reconcile.Removal(p.seen.Former, reconcile.IsAbandoned(p.bm))...)
	p.notComplete("the next run begins once the jobs of the former one are gone")
	p.progressing("waits until the jobs of the former run are gone")
	p.says(phaseQueued, "ends the jobs of the former run")
	p.lookAgain(reconcile.RemovalPause(p.seen.Former))
	return false
}

// started stores a new run. What follows in the same pass is done only once it is stored.
func started(p *pass) bool {
	if !wantsRun(p.bm) {
		return true
	}
	run := &v1alpha1.RunStatus{
		Name:      p.seen.Start.Run,
		SpecHash:  specHash(p.bm),
		SpecRun:   p.bm.Spec.Run,
		Seed:      p.bm.Spec.Seed,
		TimeScale: v1alpha1.Decimal(p.bm.Annotations[v1alpha1.AnnotationTimeScale]),
		StartTime: metav1.NewTime(p.now.Truncate(second)),
		Directory: p.seen.Start.Directory,
	}
	if run.Seed == 0 {
		run.Seed = p.seen.Start.Seed
	}
	s := &p.bm.Status
	s.Run, s.Results, s.Primary, s.SLO, s.Progress = run, nil, "", "", ""
	p.notComplete("the run is under way")
	p.cond.False(v1alpha1.ConditionServicesReady, v1alpha1.ReasonWaiting, "the jobs are not made yet")
	p.cond.False(v1alpha1.ConditionLoadComplete, v1alpha1.ReasonWaiting, "the jobs are not made yet")
	p.cond.Unknown(v1alpha1.ConditionMonitored, v1alpha1.ReasonWaiting, "nothing was scraped yet")
	p.cond.Remove(v1alpha1.ConditionSLOMet)
	if len(p.bm.Spec.SLOs) > 0 {
		p.cond.Unknown(v1alpha1.ConditionSLOMet, v1alpha1.ReasonWaiting, "judged at the end of the run")
	}
	p.event(reconcile.Event{Reason: "RunStarted", Action: "Start", Message: fmt.Sprintf("run %s, seed %d", run.Name, run.Seed)})
	return true
}

// notComplete takes back what the conditions said of a former run.
func (p *pass) notComplete(words string) {
	p.cond.False(v1alpha1.ConditionComplete, v1alpha1.ReasonProgressing, words)
	p.cond.Unknown(v1alpha1.ConditionSucceeded, v1alpha1.ReasonProgressing, words)
}

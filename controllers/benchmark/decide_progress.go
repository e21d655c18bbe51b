package benchmark

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
)

const second = time.Second

// progressTold writes the conditions, phase, step and progress from what the jobs say. Its words change when something
// happens, never with the clock.
func progressTold(p *pass) bool {
	for _, tell := range []func(*pass){
		tellImages,
		tellServices,
		tellLoad,
		tellMonitored,
		tellProgress,
		tellStep,
	} {
		tell(p)
	}
	return true
}

// part is a component of the run and the newest job that it runs in.
type part struct {
	component
	job *v1alpha1.SlurmJob
	// status is what the job says of it; nil for nothing yet.
	status *v1alpha1.ComponentStatus
	// done are the repeats that it has closed, over all its jobs.
	done int32
}

// parts returns the components of a kind, each with its newest job.
func (p *pass) parts(kind string) []part {
	var out []part
	for _, c := range components(p.bm) {
		if c.kind != kind {
			continue
		}
		one := part{component: c}
		ref := c.object(p.bm)
		for _, job := range p.view.present {
			if !reconcile.JobRuns(job, ref) {
				continue
			}
			one.job, one.status = job, reconcile.JobEntry(job, ref)
			if one.status != nil {
				one.done += one.status.RepeatsDone
			}
		}
		out = append(out, one)
	}
	return out
}

// broke says that a component ended in a way that is a cause, not a consequence of another one's end.
func (s part) broke() bool {
	return s.status != nil && s.status.Exit != nil && isCause(s.status.Exit.Reason)
}

// isCause says whether an end is a failure of the component's own.
func isCause(reason string) bool {
	switch reason {
	case rundir.ExitReasonEnded, rundir.ExitReasonIdle, rundir.ExitReasonStopped, rundir.ExitReasonTimeLimit,
		rundir.ExitReasonClientLost, rundir.ExitReasonServiceLost, rundir.ExitReasonPeerLost, rundir.ExitReasonRequeued:
		return false
	}
	return true
}

func tellServices(p *pass) {
	all := p.parts(reconcile.KindService)
	if len(all) == 0 {
		p.cond.True(v1alpha1.ConditionServicesReady, v1alpha1.ReasonProbesPassed, "the benchmark has no services")
		return
	}
	for _, s := range all {
		switch {
		case s.broke():
			p.cond.False(v1alpha1.ConditionServicesReady, s.status.Exit.Reason, fmt.Sprintf("service %s: %s", s.name, reconcile.Sentence("", s.status.Exit.Message)))
			return
		case p.view.ended || s.status != nil && s.status.Exit != nil:
			p.cond.False(v1alpha1.ConditionServicesReady, v1alpha1.ReasonEnded, "the services have ended")
			return
		case s.status == nil || s.status.Phase == rundir.PhaseWaiting || s.status.Phase == "":
			p.cond.False(v1alpha1.ConditionServicesReady, v1alpha1.ReasonWaiting, fmt.Sprintf("service %s waits for its job", s.name))
			return
		case !s.status.Ready:
			p.cond.False(v1alpha1.ConditionServicesReady, v1alpha1.ReasonStarting, fmt.Sprintf("service %s starts", s.name))
			return
		}
	}
	p.cond.True(v1alpha1.ConditionServicesReady, v1alpha1.ReasonProbesPassed, fmt.Sprintf("%d of %d services are ready", len(all), len(all)))
}

func tellLoad(p *pass) {
	done, count := p.done(), p.count()
	words := fmt.Sprintf("%d of %d repeats are done", done, count)
	switch {
	case done >= count:
		p.cond.True(v1alpha1.ConditionLoadComplete, v1alpha1.ReasonEnded, words)
	case p.view.ended:
		p.cond.False(v1alpha1.ConditionLoadComplete, v1alpha1.ReasonPartial, words)
	case meta.IsStatusConditionTrue(p.bm.Status.Conditions, v1alpha1.ConditionServicesReady):
		p.cond.False(v1alpha1.ConditionLoadComplete, v1alpha1.ReasonMeasuring, words)
	default:
		p.cond.False(v1alpha1.ConditionLoadComplete, v1alpha1.ReasonWaiting, words)
	}
}

// tellMonitored speaks once there is enough to speak of, and not of a share that changes with each scrape.
func tellMonitored(p *pass) {
	all := p.parts(reconcile.KindService)
	if len(all) == 0 {
		p.cond.Unknown(v1alpha1.ConditionMonitored, v1alpha1.ReasonNoTargets, "there is no service to scrape")
		return
	}
	enough := false
	for _, s := range all {
		if s.status == nil {
			continue
		}
		low, known := reconcile.LowCoverage(s.status.Scrapes)
		if low {
			p.cond.False(v1alpha1.ConditionMonitored, v1alpha1.ReasonLowCoverage, fmt.Sprintf("service %s: fewer than 95 %% of the scrapes were good", s.name))
			return
		}
		enough = enough || known
	}
	if enough {
		p.cond.True(v1alpha1.ConditionMonitored, v1alpha1.ReasonCoverage, "at least 95 % of the scrapes were good")
	}
}

// count is the number of repeats, done how many of them every client has closed.
func (p *pass) count() int32 { return max(1, p.bm.Spec.Repeats.Count) }

func (p *pass) done() int32 {
	done := p.count()
	for _, c := range p.parts(reconcile.KindLoadClient) {
		done = min(done, c.done)
	}
	return done
}

// tellProgress writes the repeats that are done and the load that is still to come, rounded so that it stands still
// within a repeat.
func tellProgress(p *pass) {
	done, count := p.done(), p.count()
	p.bm.Status.Progress = fmt.Sprintf("%d/%d", done, count)
	if left := time.Duration(count-done) * p.loadLength(); left > 0 && !p.view.ended {
		p.bm.Status.Progress += " ~" + rough(left)
	}
}

// loadLength is how long one repeat's load takes.
func (p *pass) loadLength() time.Duration {
	scale, err := p.run().TimeScale.Float()
	if err != nil || scale == 0 {
		scale = 1
	}
	var longest time.Duration
	for i := range p.bm.Spec.Clients {
		c := &p.bm.Spec.Clients[i]
		longest = max(longest, c.Warmup.Or(0)+c.Duration.Or(0)+c.Cooldown.Or(0))
	}
	return time.Duration(float64(longest) * scale)
}

// rough writes a length of time as people say it.
func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", (d+second-1)/second)
	case d < 90*time.Minute:
		return fmt.Sprintf("%dm", (d+30*second)/time.Minute)
	}
	return fmt.Sprintf("%.1fh", d.Hours())
}

// tellStep says in plain words what happens right now.
func tellStep(p *pass) {
	if job, c := p.refusedJob(); job != nil {
		p.stalled(c.Reason, fmt.Sprintf("SlurmJob %s: %s", job.Name, c.Message))
		p.says(phaseInvalid, c.Message)
		return
	}
	if p.cannotWrite() {
		return
	}
	phase, step := p.step()
	p.says(phase, step)
	p.progressing(step)
}

// refusedJob is a job that waits for a person, and its condition that says for what.
func (p *pass) refusedJob() (*v1alpha1.SlurmJob, *metav1.Condition) {
	for _, job := range p.view.left {
		if c := reconcile.JobRefused(job); c != nil {
			return job, c
		}
	}
	return nil, nil
}

// step is the first of these that holds: a job waits, a service starts, a client loads, things end.
func (p *pass) step() (phase, step string) {
	if p.view.ended {
		return phaseFinishing, "reads the results"
	}
	if len(p.view.present) == 0 || len(p.view.missing) > 0 {
		return phaseStarting, "makes the jobs"
	}
	for _, job := range p.view.left {
		if reconcile.JobSilent(job) {
			return cmp.Or(p.bm.Status.Phase, phaseQueued), fmt.Sprintf("site %s does not answer; what runs there goes on", p.bm.Spec.Site)
		}
		if words := reconcile.JobWaits(job); words != "" && len(job.Spec.Images) == 0 {
			return phaseQueued, words
		}
	}
	if job := p.pulling(); job != nil {
		return pullStep(job)
	}
	done, count := p.done(), p.count()
	if done >= count {
		return phaseFinishing, "the services stop"
	}
	prefix, starting := "", phaseStarting
	if count > 1 {
		prefix = fmt.Sprintf("repeat %d of %d: ", done+1, count)
	}
	if done > 0 {
		starting = phaseRunning
	}
	for _, s := range p.parts(reconcile.KindService) {
		if s.status == nil || !s.status.Ready && s.status.Exit == nil {
			return starting, fmt.Sprintf("%sservice %s starts", prefix, s.name)
		}
	}
	return phaseRunning, prefix + p.loadWords(done)
}

// loadWords are about the client that is furthest behind.
func (p *pass) loadWords(done int32) string {
	for _, c := range p.parts(reconcile.KindLoadClient) {
		if c.done > done || c.status == nil {
			continue
		}
		switch c.status.Phase {
		case rundir.PhasePreparing:
			return strings.TrimSuffix("storing objects: "+c.status.Message, ": ")
		case rundir.PhaseCleaning:
			return "removing what was stored"
		case rundir.PhaseWarmup:
			return "warming up"
		case rundir.PhaseMeasuring:
			return "measuring"
		case rundir.PhaseCooldown:
			return "cooling down"
		case rundir.PhaseDraining:
			return "waiting for what is in flight"
		}
	}
	return "the clients get ready"
}

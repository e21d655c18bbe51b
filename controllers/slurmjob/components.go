package slurmjob

import (
	"cmp"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
)

// order is how far a rank has come within a repeat.
func order(phase string) int {
	return slices.Index([]string{
		rundir.PhaseWaiting, rundir.PhaseStarting, rundir.PhasePreparing, rundir.PhaseReady, rundir.PhaseWarmup, rundir.PhaseMeasuring,
		rundir.PhaseCooldown, rundir.PhaseDraining, rundir.PhaseCleaning, rundir.PhaseStopping, rundir.PhaseEnded,
	}, phase)
}

// part is one component of a plan and what its ranks wrote.
type part struct {
	name  string
	ranks int
	seen  []rankSight
}

// parts returns the components in the order of the spec: the i-th Service of the spec is the i-th of the plan, and so
// is the i-th LoadClient.
func parts(job *v1alpha1.SlurmJob, seen *world) []part {
	services, clients := 0, 0
	var out []part
	for _, ref := range job.Spec.Components {
		var p part
		switch {
		case ref.Kind == "Service" && services < len(seen.plan.Services):
			s := seen.plan.Services[services]
			p = part{name: s.Name, ranks: s.Ranks}
			services++
		case ref.Kind != "Service" && clients < len(seen.plan.Clients):
			c := seen.plan.Clients[clients]
			p = part{name: c.Name, ranks: c.Ranks}
			clients++
		}
		p.seen = seen.ranks[p.name]
		out = append(out, p)
	}
	return out
}

// components merges what the ranks wrote into one entry for each component of the spec.
func components(job *v1alpha1.SlurmJob, seen *world) []v1alpha1.ComponentStatus {
	if seen.plan == nil || !seen.read {
		return job.Status.Components
	}
	var out []v1alpha1.ComponentStatus
	for i, p := range parts(job, seen) {
		ref := job.Spec.Components[i]
		c := v1alpha1.ComponentStatus{Kind: ref.Kind, Name: ref.Name, Ranks: int32(p.ranks)}
		if old := entry(job.Status.Components, ref); old != nil {
			c.RepeatsDone, c.Exit, c.Endpoint, c.Endpoints = old.RepeatsDone, old.Exit, old.Endpoint, old.Endpoints
		}
		merge(&c, p, seen.plan.Repeats)
		out = append(out, c)
	}
	return out
}

func entry(list []v1alpha1.ComponentStatus, ref v1alpha1.ComponentReference) *v1alpha1.ComponentStatus {
	for i := range list {
		if list[i].Kind == ref.Kind && list[i].Name == ref.Name {
			return &list[i]
		}
	}
	return nil
}

// merge fills the entry of one component.
func merge(c *v1alpha1.ComponentStatus, p part, repeats rundir.Repeats) {
	c.Ready = p.ranks > 0
	var endpoints []string
	for i, r := range p.seen {
		c.Ready = c.Ready && r.status != nil && r.status.Ready
		if r.status == nil {
			continue
		}
		c.Heartbeat += r.status.Heartbeat
		if e := r.status.Endpoint; e != nil {
			endpoints = append(endpoints, net.JoinHostPort(e.Host, strconv.Itoa(e.Port)))
			if i == 0 {
				c.Endpoint = endpoints[0]
			}
		}
	}
	if c.Ready && len(endpoints) > 1 {
		c.Endpoints = endpoints
	}
	c.Scrapes, c.Live, c.GPUs = scrapes(p.seen), live(p.seen), gpus(p.seen)
	c.Phase = rundir.PhaseWaiting
	if s := speaker(p.seen); s != nil {
		c.Phase, c.Repeat, c.Message = s.Phase, int32(s.Repeat), reconcile.Clip(s.Message, 1024)
	}
	for int(c.RepeatsDone) < repeats.Count && done(p.seen, repeats.First+int(c.RepeatsDone)) {
		c.RepeatsDone++
	}
	if e := worst(p.seen); e != nil && (c.Exit == nil || badness(e) > badness(c.Exit)) {
		c.Exit = e
	}
}

// speaker returns the status that stands for all ranks: the first that failed, else the one that is furthest behind,
// which is nil for a rank that has not written yet.
func speaker(ranks []rankSight) *rundir.Status {
	if len(ranks) == 0 {
		return nil
	}
	behind := ranks[0].status
	for _, r := range ranks {
		if r.status != nil && r.status.Phase == rundir.PhaseFailed {
			return r.status
		}
		if r.status == nil || behind != nil && furtherBehind(r.status, behind) {
			behind = r.status
		}
	}
	return behind
}

// scrapes adds up what the ranks counted; nil when none counts.
func scrapes(ranks []rankSight) *v1alpha1.Scrapes {
	var out *v1alpha1.Scrapes
	for _, r := range ranks {
		if r.status == nil || r.status.Scrapes == nil {
			continue
		}
		if out == nil {
			out = &v1alpha1.Scrapes{}
		}
		out.Due += r.status.Scrapes.Due
		out.Good += r.status.Scrapes.Good
	}
	return out
}

// gpus says what the ranks' check of their GPUs came to: the first that is not verified speaks for all.
func gpus(ranks []rankSight) string {
	words := ""
	for _, r := range ranks {
		if r.status == nil || r.status.GPUs == nil {
			continue
		}
		words = r.status.GPUs.State
		if words != rundir.GPUVerified {
			return reconcile.Clip(reconcile.Sentence(words, r.status.GPUs.Message), 512)
		}
	}
	return words
}

// live adds up rates and counts and takes the worst latency; nil when no rank runs a load.
func live(ranks []rankSight) *v1alpha1.Live {
	var out *v1alpha1.Live
	var rate, p99 float64
	for _, r := range ranks {
		if r.status == nil || r.status.Live == nil {
			continue
		}
		if out == nil {
			out = &v1alpha1.Live{}
		}
		rate, p99 = rate+r.status.Live.Rate, max(p99, r.status.Live.P99)
		out.Requests += r.status.Live.Requests
		out.Errors += r.status.Live.Errors
	}
	if p99 > 0 || out != nil && out.Errors > 0 { // before the first request ended there is nothing to say
		out.Rate = rateWords(rate)
	}
	if p99 > 0 {
		out.P99 = latencyWords(p99)
	}
	return out
}

// furtherBehind says whether a has come less far than b.
func furtherBehind(a, b *rundir.Status) bool {
	return cmp.Or(cmp.Compare(a.Repeat, b.Repeat), cmp.Compare(order(a.Phase), order(b.Phase))) < 0
}

// done says whether every rank closed a repeat.
func done(ranks []rankSight, repeat int) bool {
	for _, r := range ranks {
		if r.repeats[repeat] == nil {
			return false
		}
	}
	return len(ranks) > 0
}

// worst returns the worst end of the ranks, nil while one of them has not ended and none has failed.
func worst(ranks []rankSight) *v1alpha1.ComponentExit {
	var out *v1alpha1.ComponentExit
	take := func(reason, message string, code int) {
		e := &v1alpha1.ComponentExit{Code: int32(code), Reason: word(reason), Message: reconcile.Clip(message, 1024)}
		if out == nil || badness(e) > badness(out) {
			out = e
		}
	}
	whole := true
	for _, r := range ranks {
		switch {
		case r.exit != nil:
			take(r.exit.Reason, r.exit.Message, r.exit.Code)
		case r.status != nil && r.status.Phase == rundir.PhaseEnded:
			take(cmp.Or(r.status.Reason, rundir.ExitReasonEnded), r.status.Message, rundir.ExitOK)
		case r.status != nil && r.status.Phase == rundir.PhaseFailed:
			take(cmp.Or(r.status.Reason, rundir.ExitReasonError), r.status.Message, rundir.ExitFailed)
		default:
			whole = false
		}
	}
	if out == nil || !whole && asPlanned(out) {
		return nil
	}
	return out
}

// asPlanned says whether an end is a good one: the node side knows the plan, and says so by the exit code.
func asPlanned(e *v1alpha1.ComponentExit) bool { return e.Code == rundir.ExitOK }

// badness orders ends: a cause is worse than what follows from a stop or from another component's end.
func badness(e *v1alpha1.ComponentExit) int {
	switch {
	case asPlanned(e) && e.Reason == rundir.ExitReasonEnded:
		return 0
	case asPlanned(e):
		return 1
	}
	switch e.Reason {
	case rundir.ExitReasonServiceLost, rundir.ExitReasonClientLost, rundir.ExitReasonPeerLost:
		return 2
	case rundir.ExitReasonStopped:
		return 3
	}
	return cause
}

// cause is the badness of an end that follows from no other.
const cause = 4

// The least time between two writes of a status that tells nothing new but this.
const (
	liveEvery      = 1500 * time.Millisecond
	heartbeatEvery = 10 * time.Second
)

// economy returns the entries to store, and when to look again if they are not the newest: a heartbeat alone is
// stored every heartbeatEvery, a live number every liveEvery, anything else at once.
func economy(old, fresh []v1alpha1.ComponentStatus, quiet time.Duration) ([]v1alpha1.ComponentStatus, time.Duration) {
	if reflect.DeepEqual(old, fresh) {
		return old, 0
	}
	if !reflect.DeepEqual(still(old, true), still(fresh, true)) {
		return fresh, 0
	}
	every := heartbeatEvery
	if !reflect.DeepEqual(still(old, false), still(fresh, false)) {
		every = liveEvery
	}
	if quiet >= every {
		return fresh, 0
	}
	return old, every - quiet
}

// still returns the entries without their heartbeats and scrapes, and without their live numbers too.
func still(list []v1alpha1.ComponentStatus, live bool) []v1alpha1.ComponentStatus {
	out := slices.Clone(list)
	for i := range out {
		out[i].Heartbeat, out[i].Scrapes = 0, nil
		if live {
			out[i].Live = nil
		}
	}
	return out
}

func rateWords(perSecond float64) string {
	return strconv.FormatFloat(perSecond, 'f', 1, 64) + "/s"
}

// latencyWords writes seconds as people read them: 196ms, 1.52s.
func latencyWords(seconds float64) string {
	switch {
	case seconds >= 1:
		return fmt.Sprintf("%.2fs", seconds)
	case seconds >= 0.01:
		return fmt.Sprintf("%.0fms", seconds*1e3)
	}
	return fmt.Sprintf("%.2fms", seconds*1e3)
}

// word makes a text fit for the reason of a condition.
func word(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s) && len(out) < 64; i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if letter || len(out) > 0 && (c >= '0' && c <= '9') {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return "Unknown"
	}
	return string(out)
}

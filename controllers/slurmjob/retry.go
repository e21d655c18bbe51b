package slurmjob

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// kind of end: whose doing it was, and what follows from it.
type kind struct {
	reason string
	class  v1alpha1.AttemptClass
	// nodes says that the nodes of the attempt are the trouble: the next attempts keep away from them.
	nodes bool
	// early says that it is the site's only as long as nothing had begun.
	early bool
}

// kinds are the ends that are not the job's own doing: its servers' exit codes, memory, time limit, readiness, or a
// request that is refused would end the next attempt likewise, so what stands in no line is Own.
//
// A work folder that a node cannot use is the node's doing while nothing has begun there, for this control plane has just
// written to it; a folder that is full then stops the next attempt with words that say so, and lets it go on once there is
// room. An image or a program that is missing, or a port that is taken, stays so.
func kinds() []kind {
	return []kind{
		{reason: v1alpha1.ReasonNodeFailure, class: v1alpha1.ClassSite, nodes: true},
		{reason: v1alpha1.ReasonBootFailure, class: v1alpha1.ClassSite, nodes: true},
		{reason: v1alpha1.ReasonLaunchFailure, class: v1alpha1.ClassSite, nodes: true},
		{reason: v1alpha1.ReasonWorkDirUnusable, class: v1alpha1.ClassSite, nodes: true, early: true},
		{reason: reasonStepLaunch, class: v1alpha1.ClassSite, nodes: true},
		{reason: v1alpha1.ReasonPreempted, class: v1alpha1.ClassSite},
		{reason: v1alpha1.ReasonRequeued, class: v1alpha1.ClassSite},
		{reason: v1alpha1.ReasonLost, class: v1alpha1.ClassSite},
		{reason: reasonHostRestarted, class: v1alpha1.ClassSite},
		{reason: v1alpha1.ReasonCancelled, class: v1alpha1.ClassPerson},
		{reason: rundir.ExitReasonStopped, class: v1alpha1.ClassPerson},
	}
}

const (
	// reasonHostRestarted is local's: this host was started anew.
	reasonHostRestarted = "HostRestarted"
	// reasonStepLaunch is a component's whose node could not start it, for one whose slurmd is gone.
	reasonStepLaunch = "StepLaunch"
)

// kindOf finds the kind of an end.
func kindOf(v verdict, begun bool) kind {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.reason == v.reason })
	switch {
	case v.succeeded:
		return kind{reason: v.reason}
	case i >= 0 && (!all[i].early || !begun):
		return all[i]
	case v.interrupted:
		return kind{reason: v.reason, class: v1alpha1.ClassSite}
	}
	return kind{reason: v.reason, class: v1alpha1.ClassOwn}
}

// mayTryAgain says whether another attempt follows, and where one would be due, why none does. A measurement is never
// resumed: the next attempt begins at the first repeat. Components of the run in other jobs cannot go back with it, so
// then a job that began is not tried again; nor is one that was lost after it began, for it may still run.
func (p *pass) mayTryAgain(a *v1alpha1.Attempt, k kind) (again bool, why string) {
	most := p.job.Spec.Run.Retries.OfSite()
	began := begun(p.status.Components)
	switch {
	case k.class != v1alpha1.ClassSite || isDeleting(p.job) || most == 0:
		return false, ""
	case k.reason == v1alpha1.ReasonLost && (began || a.StartTime != nil):
		return false, "it may still run, so no attempt follows"
	case len(p.job.Spec.Run.Peers) > 0 && began:
		return false, "no attempt follows, for what runs in other jobs cannot begin anew with it"
	case a.Number > most:
		return false, fmt.Sprintf("no attempt follows the %d that were made", a.Number)
	}
	return true, ""
}

// The pauses before attempts double from the first to the longest.
const (
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
)

// pauseBefore is how long an attempt from the second on waits. What jobs that ended together add to it differs by their
// keys, so that they do not all come back at once.
func pauseBefore(a *v1alpha1.Attempt) time.Duration { return pauseOf(int(a.Number)-2, a.Key) }

// pauseOf is the pause after so many others.
func pauseOf(others int, key string) time.Duration {
	pause := firstPause << min(max(0, others), 10)
	sum := sha256.Sum256([]byte(key))
	pause += pause / 4 * time.Duration(binary.BigEndian.Uint16(sum[:])) >> 16
	return min(pause, longestPause).Truncate(time.Second)
}

// tryAgain intends the next attempt, which begins from nothing.
func (p *pass) tryAgain(v verdict) {
	n := p.seen.next
	a := intend(n.number, n.key, n.process, p.now)
	a.NotBefore = stamp(p.now.Add(pauseBefore(&a)))
	a.Exclude = keptFrom(p.status.Attempts)
	p.status.Attempts = append(p.status.Attempts, a)
	if extra := len(p.status.Attempts) - keptAttempts; extra > 0 {
		p.status.Attempts = p.status.Attempts[extra:]
	}
	p.status.Directory, p.status.Components = n.directory, nil
	p.cond.Remove(v1alpha1.ConditionScheduled)
	p.cond.Remove(v1alpha1.ConditionRunning)
	p.event(true, "AttemptRetried", "Retry", fmt.Sprintf("attempt %d ended with %s; %s", n.number-1, word(v.reason), p.follows()))
	p.toldPause()
}

// keptAttempts are as many as the API keeps.
const keptAttempts = 10

// backsOff leaves the site some time after it ended an attempt, or took no job.
func backsOff(p *pass) bool {
	a := p.attempt()
	if handedIn(a) || a == nil || a.NotBefore == nil || !p.now.Before(a.NotBefore.Time) || len(p.seen.jobs) > 0 {
		return false
	}
	if p.told(v1alpha1.ConditionSubmitted, v1alpha1.ReasonSiteBusy) { // why is told, and stays true for so long
		p.again(max(time.Millisecond, a.NotBefore.Sub(p.now)))
		return true
	}
	p.toldPause()
	return true
}

// told says that a condition has this reason.
func (p *pass) told(kind, reason string) bool {
	c := meta.FindStatusCondition(p.status.Conditions, kind)
	return c != nil && c.Reason == reason
}

// toldPause writes the conditions of an attempt that waits for its time.
func (p *pass) toldPause() {
	message := p.follows()
	p.status.Phase = "Intended"
	p.cond.False(v1alpha1.ConditionSubmitted, v1alpha1.ReasonRetryWaits, message)
	p.cond.Progressing(v1alpha1.ReasonRetryWaits, message)
	p.again(max(time.Millisecond, p.attempt().NotBefore.Sub(p.now)))
}

// follows says when the newest attempt comes, why, and what it keeps away from.
func (p *pass) follows() string {
	a, why := p.attempt(), ""
	if n := len(p.status.Attempts); n > 1 {
		why = ": " + p.status.Attempts[n-2].Message
	}
	where := ""
	if len(a.Exclude) > 0 {
		where = ", away from " + strings.Join(a.Exclude, ",")
	}
	return reconcile.Clip(fmt.Sprintf("attempt %d follows in %d s%s%s", a.Number, int(pauseBefore(a).Seconds()), where, why), 1024)
}

// keptFrom are the nodes that could not run the attempts so far, the latest first until it would be too many. The nodes of
// an attempt count all or not at all: which of them it was is not told, and the batch system keeps away from a node that
// it knows to be down.
func keptFrom(attempts []v1alpha1.Attempt) []string {
	var out []string
	all := kinds()
	for i := range slices.Backward(attempts) {
		a := &attempts[i]
		if a.Class != v1alpha1.ClassSite || !slices.ContainsFunc(all, func(k kind) bool { return k.nodes && k.reason == a.Reason }) {
			continue
		}
		names, err := slurmbridge.NodeNames(a.Nodes, slurmbridge.MaxExclude)
		if err != nil {
			continue // too many, or the list was clipped
		}
		both := slices.Concat(out, names)
		slices.Sort(both)
		if both = slices.Compact(both); len(both) <= slurmbridge.MaxExclude {
			out = both
		}
	}
	return out
}

// withoutExclusion drops the nodes that a refused attempt keeps away from: what is left of the partition may be too
// little. Refused means that there is no job, so the attempt is handed in anew, under its key.
func (p *pass) withoutExclusion(refusal error) bool {
	a := p.attempt()
	if len(a.Exclude) == 0 {
		return false
	}
	message := fmt.Sprintf("the batch system takes no job that keeps away from %s, so attempt %d may get them: %v", strings.Join(a.Exclude, ","), a.Number, refusal)
	a.Exclude, a.Submits, a.SubmitTry, a.State = nil, 0, nil, v1alpha1.AttemptIntended
	p.event(true, "ExclusionDropped", "Retry", message)
	p.toldIntended(reconcile.Clip(message, 1024))
	p.do(Forget{Key: slurmbridge.Key(a.Key)}) // the answer was to another request
	p.again(time.Millisecond)
	return true
}

// blames says what the site did to a job, and which nodes have to do with it.
func blames(reason, list string, j slurmbridge.Job) string {
	of := "a node"
	if list != "" {
		of = "node " + list
		if names, err := slurmbridge.NodeNames(list, 1); err != nil || len(names) > 1 {
			of = "a node of " + reconcile.Clip(list, 256)
		}
	}
	switch reason {
	case v1alpha1.ReasonNodeFailure:
		return fmt.Sprintf("%s failed (job %s: %s)", of, j.ID, says(j))
	case v1alpha1.ReasonBootFailure:
		return fmt.Sprintf("%s did not come up (job %s: %s)", of, j.ID, says(j))
	case v1alpha1.ReasonLaunchFailure:
		return fmt.Sprintf("%s could not start job %s; often its prolog failed, and the site's staff can tell why", of, j.ID)
	case v1alpha1.ReasonPreempted:
		return fmt.Sprintf("the site gave the nodes of job %s to another one (%s); choose a QOS that is not preempted", j.ID, says(j))
	}
	return fmt.Sprintf("the site ended job %s: %s", j.ID, says(j))
}

package site

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// decision is what a pass over a Site ends with.
type decision = reconcile.Decision[v1alpha1.SiteStatus]

// The pace of a look at a site: while it is well, and while it is not. The janitor's first round is soon after the door
// opened: what was left behind before this process costs money by the second.
const (
	probeEvery  = 30 * time.Second
	probeAgain  = 5 * time.Second
	refusedSoon = time.Minute // a login node may shut out those who knock too often
	beatAgain   = 10 * time.Second
	firstSweep  = 15 * time.Second
	sweepAgain  = time.Minute
	inUseAgain  = 5 * time.Second
	momentLater = time.Millisecond
)

// pass is one decision in the making.
type pass struct {
	site *v1alpha1.Site
	seen *world
	now  time.Time
	cond reconcile.Conditions
	out  decision
}

// decide is the story of a site: the first step that has nothing to leave to the next ones ends it.
func decide(site *v1alpha1.Site, seen world, now time.Time) decision {
	p := &pass{site: site, seen: &seen, now: now}
	status := &site.Status
	status.ObservedGeneration = site.Generation
	status.Door, status.Jobs = seen.door, int32(seen.jobs)
	charge(site, &seen)
	p.cond = reconcile.Conditions{List: &status.Conditions, Generation: site.Generation, Now: now}
	for _, done := range []func(*pass) bool{
		deleted,   // let go of a site that nobody uses
		beats,     // tell who we are, whatever else is wrong
		unknown,   // a door that this program does not have
		refused,   // a door to this host, where that is not allowed
		shut,      // open it
		outdated,  // the spec changed: open it anew once no job needs the old door
		relimited, // how often it may be asked changed
		unprobed,  // look through it
		unusable,  // it does not answer, or the work folder cannot be used
		chores,    // sweep
		available, // it is what its spec asks for
	} {
		if done(p) {
			break
		}
	}
	if !site.DeletionTimestamp.IsZero() && !p.out.Release {
		p.cond.Progressing(v1alpha1.ReasonInUse, "is deleted once these SlurmJobs are gone: "+some(seen.users))
		p.again(inUseAgain)
	}
	p.out.Status = *status
	return p.out
}

func (p *pass) do(effects ...reconcile.Effect) { p.out.Do = append(p.out.Do, effects...) }

// again asks for another look, at the earliest time that a step asked for.
func (p *pass) again(after time.Duration) {
	after = max(after, momentLater)
	if p.out.After == 0 || after < p.out.After {
		p.out.After = after
	}
}

// deleted lets a site go when no SlurmJob refers to it. An abandoned one goes at once; its door stays open while a
// SlurmJob refers to it.
func deleted(p *pass) bool {
	if p.site.DeletionTimestamp.IsZero() {
		return false
	}
	abandon := p.site.Annotations[v1alpha1.AnnotationAbandon] == "true"
	if len(p.seen.users) > 0 && !abandon {
		return false
	}
	if len(p.seen.users) == 0 {
		p.do(Shut{})
	} else {
		p.out.Events = append(p.out.Events, reconcile.Event{Warning: true, Reason: "SiteAbandoned", Action: "Delete",
			Message: "deleted while these SlurmJobs refer to it: " + some(p.seen.users)})
		p.cond.Progressing(v1alpha1.ReasonDeleting, "abandoned while these SlurmJobs refer to it: "+some(p.seen.users))
	}
	p.out.Release = true
	return true
}

// beats tells others that this origin lives, for as long as a door is open: were it told by a site in good order only,
// assay gc on another host would take a control plane for dead whose token has expired, and end its jobs.
func beats(p *pass) bool {
	l := &p.seen.looks
	if !p.seen.open {
		return false
	}
	every := BeatEvery
	if l.unbeaten != nil {
		every = max(beatAgain, retryAfter(l.unbeaten))
	}
	wait := l.beaten.Add(every).Sub(p.now)
	if wait <= 0 {
		p.do(Beat{})
		wait = momentLater
	}
	p.again(wait)
	return false
}

// some names a few of many.
func some(names []string) string {
	const most = 10
	if extra := len(names) - most; extra > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), extra)
	}
	return strings.Join(names, ", ")
}

// untold removes what cannot be said of a site that nobody looks at.
func (p *pass) untold() {
	for _, c := range []string{v1alpha1.ConditionReachable, v1alpha1.ConditionCredentialsValid, v1alpha1.ConditionSynced} {
		p.cond.Remove(c)
	}
}

// unknown refuses a door that this program does not have.
func unknown(p *pass) bool {
	if p.seen.door != "" {
		return false
	}
	p.untold()
	p.cond.Stalled(v1alpha1.ReasonInvalidParameters, "spec.jobs asks for a door that this version of assay does not have")
	return true
}

// refused never opens a door to this host where that is not allowed.
func refused(p *pass) bool {
	if !p.seen.refused {
		return false
	}
	p.untold()
	p.cond.Stalled(v1alpha1.ReasonHostAccessRefused, fmt.Sprintf(
		"jobs.%s runs commands on the operator's host, or uses files of it: start the operator with --allow-host-sites, or name all that it needs in the Site and its Secret", p.seen.door))
	return true
}

// shut opens a door, and tries again after it failed.
func shut(p *pass) bool {
	if p.seen.open {
		return false
	}
	wait := p.seen.looks.probed.Add(retryAfter(p.seen.looks.failed)).Sub(p.now)
	if p.seen.looks.failed == nil || wait <= 0 || !p.seen.current {
		p.do(Open{}, Probe{})
		wait = momentLater
	}
	p.again(wait)
	if p.seen.looks.failed != nil {
		return unusable(p)
	}
	p.cond.Progressing(v1alpha1.ReasonProgressing, "opens the site")
	return true
}

// outdated opens the door anew after the spec changed. Under jobs that run only the way to the site may change, for their
// folders and their batch system are those of the old spec. Nothing new is started until then.
func outdated(p *pass) bool {
	switch {
	case p.seen.current:
		return false
	case p.seen.live == 0:
		p.do(Open{}, Probe{})
		p.again(momentLater)
		p.cond.Progressing(v1alpha1.ReasonProgressing, "opens the site anew, for its spec changed")
	case p.seen.elsewhere:
		p.again(probeAgain)
		p.waitsForJobs("")
	default:
		p.byAnotherWay()
	}
	return true
}

// waitsForJobs says that the spec means another place than that of the jobs that run.
func (p *pass) waitsForJobs(why string) {
	p.cond.Progressing(v1alpha1.ReasonWaiting, fmt.Sprintf("the new spec takes effect once %d jobs have ended; nothing new starts until then%s", p.seen.live, why))
}

// byAnotherWay opens the door anew under jobs that run: the old way may be gone, as that to a host that has got new keys.
func (p *pass) byAnotherWay() {
	err := p.seen.looks.failed
	wait := p.seen.looks.probed.Add(retryAfter(err)).Sub(p.now)
	if !p.seen.tried || wait <= 0 {
		p.do(Reopen{})
		wait = momentLater
	}
	p.again(wait)
	switch {
	case !p.seen.tried:
		p.cond.Progressing(v1alpha1.ReasonProgressing, "opens the site by another way, for its spec changed")
	case errors.Is(err, errElsewhere):
		p.waitsForJobs(": " + short(err))
	default:
		p.wrong(err, fmt.Sprintf("%s (the new spec does not open the site; jobs that run are followed by the way of before)", short(err)))
	}
}

// relimited has the door keep the limits of the spec. Nothing that runs has to wait for that.
func relimited(p *pass) bool {
	if p.seen.limits != p.site.Spec.Limits {
		p.do(Limit{})
	}
	return false
}

// unprobed looks through the door, at first and then ever again.
func unprobed(p *pass) bool {
	every := max(probeEvery, p.site.Spec.PollInterval.Or(0)) // a probe asks the batch system too
	if p.seen.looks.failed != nil {
		every = retryAfter(p.seen.looks.failed)
	}
	wait := p.seen.looks.probed.Add(every).Sub(p.now)
	if wait > 0 {
		p.again(wait)
		return false
	}
	p.do(p.probe()...)
	p.again(momentLater)
	if p.seen.looks.probed.IsZero() {
		p.cond.Progressing(v1alpha1.ReasonProgressing, "looks at the site")
		return true
	}
	return false
}

// probe is a look through the door. One that was refused is opened anew: the keys may have been replaced where they lie, and
// are read when a door is opened.
func (p *pass) probe() []reconcile.Effect {
	switch {
	case refusedReason(p.seen.looks.failed) == "":
		return []reconcile.Effect{Probe{}}
	case p.seen.live == 0:
		return []reconcile.Effect{Open{}, Probe{}}
	}
	return []reconcile.Effect{Reopen{}}
}

// retryAfter is how long to wait after a failed look.
func retryAfter(err error) time.Duration {
	if refusedReason(err) != "" || errors.Is(err, errElsewhere) {
		return refusedSoon
	}
	return probeAgain
}

// unusable says what is wrong with a site.
func unusable(p *pass) bool {
	err := p.seen.looks.failed
	if err == nil {
		return false
	}
	p.wrong(err, short(err))
	return true
}

// wrong writes why a site cannot be used, in words.
func (p *pass) wrong(err error, message string) {
	if errors.Is(err, slurmbridge.ErrWorkDir) {
		p.answers()
		p.cond.Stalled(v1alpha1.ReasonWorkDirUnusable, message)
		return
	}
	if reason := refusedReason(err); reason != "" {
		p.cond.Unknown(v1alpha1.ConditionReachable, reason, message)
		p.cond.False(v1alpha1.ConditionCredentialsValid, reason, message)
		p.cond.Unknown(v1alpha1.ConditionSynced, reason, message)
		p.cond.Stalled(reason, message)
		return
	}
	p.cond.False(v1alpha1.ConditionReachable, v1alpha1.ReasonSiteUnreachable, message)
	p.cond.Unknown(v1alpha1.ConditionSynced, v1alpha1.ReasonSiteUnreachable, message)
	p.cond.Progressing(v1alpha1.ReasonSiteUnreachable, message)
}

// refusedReason is the reason of what only a person can mend: the key of the host, or ours. It is "" for anything else.
func refusedReason(err error) string {
	switch {
	case errors.Is(err, slurmbridge.ErrHostKey):
		return v1alpha1.ReasonHostKeyRefused
	case errors.Is(err, slurmbridge.ErrCredentials):
		return v1alpha1.ReasonCredentialsRefused
	}
	return ""
}

// answers writes that the last look was good.
func (p *pass) answers() {
	p.cond.True(v1alpha1.ConditionReachable, v1alpha1.ReasonSiteAnswers, "the site answers")
	p.cond.True(v1alpha1.ConditionSynced, v1alpha1.ReasonSiteAnswers, "the last look at the site was good")
	switch {
	case p.seen.door != "ssh" && p.seen.door != "rest":
		p.cond.True(v1alpha1.ConditionCredentialsValid, v1alpha1.ReasonNoCredentialsNeeded, "the door "+p.seen.door+" needs no credentials")
	case p.seen.stale != nil:
		p.cond.True(v1alpha1.ConditionCredentialsValid, v1alpha1.ReasonCredentialsExpire, "the token is still valid, but "+short(p.seen.stale))
	case p.endsSoon():
		p.cond.True(v1alpha1.ConditionCredentialsValid, v1alpha1.ReasonCredentialsExpire, fmt.Sprintf(
			"the token expires within %.0f minutes, and nobody has renewed it: put a new one in its place, or let jobs.rest.refresh make them", expireSoon.Minutes()))
	default:
		p.cond.True(v1alpha1.ConditionCredentialsValid, v1alpha1.ReasonSiteAnswers, "the site took the credentials")
	}
}

// expireSoon is how long before its end a token should have been renewed: at half of its life, of which the shortest are
// some minutes.
const expireSoon = 2 * time.Minute

// endsSoon says that a token nears its end which is not ours to renew.
func (p *pass) endsSoon() bool {
	rest := p.site.Spec.Jobs.REST
	return rest != nil && rest.Refresh == nil && !p.seen.expires.IsZero() && p.seen.expires.Sub(p.now) < expireSoon
}

// short is an error as a message of a condition.
func short(err error) string {
	message := err.Error()
	if len(message) > 1024 {
		message = strings.ToValidUTF8(message[:1024], "")
	}
	return message
}

// chores are what an open site needs from time to time.
func chores(p *pass) bool {
	l := &p.seen.looks
	due := l.opened.Add(firstSweep)
	switch {
	case l.sweepFailed:
		due = l.swept.Add(sweepAgain)
	case !l.swept.IsZero():
		due = l.swept.Add(p.seen.sweepEvery)
	}
	if wait := due.Sub(p.now); wait > 0 {
		p.again(wait)
		return false
	}
	p.do(Sweep{})
	return false
}

// available says that the site can be used.
func available(p *pass) bool {
	p.answers()
	p.cond.Current(v1alpha1.ReasonSiteAnswers, "the site can be used")
	return true
}

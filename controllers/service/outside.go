package service

import (
	"context"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

const (
	// askEvery is the pause between two questions from outside.
	askEvery = 30 * time.Second
	// askTimeout is how long one server may take to answer, and roundTimeout all replicas of a service.
	askTimeout   = 5 * time.Second
	roundTimeout = 30 * time.Second
)

// Outside is how a service shows from outside its site. It is looked at only while the service is ready and its spec asks
// for that.
type Outside struct {
	// Closed says why the site cannot be asked now; "" when it can. NoTunnel says that it never can: its door has no SSH.
	Closed   string
	NoTunnel bool
	// Ask is the question, and Asking says that one is under way.
	Ask    AskOutside
	Asking bool
	// Heard is the newest answer to this very question; nil before the first.
	Heard *Answer
}

// AskOutside is the effect that asks the servers of a service from outside its site. It does not wait: the answer is seen
// by a later look.
type AskOutside struct {
	// Site is through whose connection, and Endpoints are whom: all replicas.
	Site      string
	Endpoints []string
	// Path is asked for by GET, and Status wanted; "" for a port that is only opened.
	Path   string
	Status int
	// Job and Repeat tell a server from the one before it at the same address.
	Job    string
	Repeat int32
}

func (a AskOutside) is(b AskOutside) bool {
	return slices.Equal(a.Endpoints, b.Endpoints) && a.Site == b.Site && a.Path == b.Path && a.Status == b.Status && a.Job == b.Job && a.Repeat == b.Repeat
}

// Answer is what came of a question.
type Answer struct {
	// At is when it came.
	At              time.Time
	Status          metav1.ConditionStatus
	Reason, Message string
}

// lookOutside tells how a service shows from outside; nil while nothing is to be asked.
func (k *Kind) lookOutside(ctx context.Context, s *v1alpha1.Service, job *v1alpha1.SlurmJob) *Outside {
	if !s.Spec.Readiness.Tunnel || !s.DeletionTimestamp.IsZero() {
		k.outside.forget(s.UID)
		return nil
	}
	if job == nil || !owned(s) && !fits(job, s) || reconcile.IsComplete(job.Status.Conditions) {
		return nil
	}
	entry := reconcile.JobEntry(job, v1alpha1.ComponentReference{Kind: reconcile.KindService, Name: s.Name})
	if entry == nil || !entry.Ready || entry.Exit != nil || entry.Endpoint == "" {
		return nil
	}
	o := &Outside{}
	door, err := k.deps.Doors.Door(s.Namespace, string(job.Spec.Site))
	if o.Closed = reconcile.Words(err); o.Closed != "" {
		return o
	}
	var site v1alpha1.Site
	if err := k.client.Get(ctx, types.NamespacedName{Namespace: s.Namespace, Name: string(job.Spec.Site)}, &site); err != nil {
		o.Closed = reconcile.Words(err)
		return o
	}
	o.NoTunnel = door.Dialer == nil
	o.Ask = question(s, &site, job, entry)
	o.Asking, o.Heard = k.outside.heard(s.UID, o.Ask)
	return o
}

// question is what a service is asked from outside.
func question(s *v1alpha1.Service, site *v1alpha1.Site, job *v1alpha1.SlurmJob, entry *v1alpha1.ComponentStatus) AskOutside {
	a := AskOutside{Site: string(job.Spec.Site), Endpoints: entry.Endpoints, Job: job.Name, Repeat: entry.Repeat}
	if len(a.Endpoints) == 0 {
		a.Endpoints = []string{entry.Endpoint}
	}
	if p := plan.OutsideProbe(s, site); p.Type == rundir.ProbeHTTP {
		a.Path, a.Status = p.Path, p.Status
	}
	return a
}

// reached tells how the service shows from outside, and has it asked when that is due. Nothing else depends on it.
func reached(p *pass) bool {
	const kind = v1alpha1.ConditionReachable
	o := p.seen.Outside
	switch {
	case !p.s.Spec.Readiness.Tunnel:
		p.cond.Remove(kind)
	case o == nil:
		p.cond.Unknown(kind, v1alpha1.ReasonWaiting, "it is asked from outside while it is ready")
	case o.Closed != "":
		p.cond.Unknown(kind, v1alpha1.ReasonSiteUnreachable, "it cannot be asked from outside now: "+o.Closed)
		p.out.After = again
	case o.NoTunnel:
		p.cond.Unknown(kind, v1alpha1.ReasonNoTunnel, "Site "+o.Ask.Site+" has no SSH connection to ask through: reach it by jobs.ssh, or by jobs.rest with files.ssh, or leave readiness.tunnel out")
	default:
		p.askWhenDue(o)
		if o.Heard == nil {
			p.cond.Unknown(kind, v1alpha1.ReasonWaiting, "it is asked from outside just now")
			break
		}
		p.cond.Set(kind, o.Heard.Status, o.Heard.Reason, reconcile.Clip(o.Heard.Message, 1024))
	}
	return true
}

func (p *pass) askWhenDue(o *Outside) {
	p.out.After = again
	if o.Asking {
		return
	}
	if o.Heard != nil {
		if left := o.Heard.At.Add(askEvery).Sub(p.cond.Now); left > 0 {
			p.out.After = left
			return
		}
	}
	p.do(o.Ask)
}

// outside remembers, by object, what was heard from outside. A new process asks again.
type outside struct {
	mu sync.Mutex
	by map[types.UID]*asked
}

// asked is the question that was asked last.
type asked struct {
	ask      AskOutside
	underWay bool
	answer   *Answer
	at       time.Time
}

func newOutside() *outside { return &outside{by: map[types.UID]*asked{}} }

// heard says whether a question to a service is under way, and what the newest answer to this one is.
func (o *outside) heard(uid types.UID, ask AskOutside) (asking bool, answer *Answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.by[uid]
	if a == nil {
		return false, nil
	}
	if a.ask.is(ask) {
		answer = a.answer
	}
	return a.underWay, answer
}

// begin notes that a question is under way; false when one is already. Services that nobody asked for long are forgotten:
// those of a Benchmark go without a word.
func (o *outside) begin(uid types.UID, ask AskOutside, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for other, a := range o.by {
		if !a.underWay && now.Sub(a.at) > 10*askEvery {
			delete(o.by, other)
		}
	}
	a := o.by[uid]
	if a == nil {
		a = &asked{}
		o.by[uid] = a
	}
	if a.underWay {
		return false
	}
	if !a.ask.is(ask) {
		a.answer = nil
	}
	a.ask, a.underWay, a.at = ask, true, now
	return true
}

// end notes an answer, unless nobody wants it any more.
func (o *outside) end(uid types.UID, answer Answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a := o.by[uid]; a != nil {
		a.underWay, a.answer, a.at = false, &answer, answer.At
	}
}

func (o *outside) forget(uid types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.by, uid)
}

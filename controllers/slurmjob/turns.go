package slurmjob

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

// turns decides who is handed in next at the sites that have limits. What is stored counts; what was decided and is not
// stored yet is remembered here, so that two who decide at the same time do not take the same turn.
type turns struct {
	mu    sync.Mutex
	sites map[types.NamespacedName]*siteTurns
}

// siteTurns is one site's. Its lock is held over the live read that a decision is made from.
type siteTurns struct {
	mu sync.Mutex
	// granted are let and perhaps not stored yet, hindered are held up by something else, asks are the claims of those who
	// asked and were not handed in.
	granted, hindered map[types.UID]bool
	asks              map[types.UID]claim
	// waiting are those that were refused a turn, in no order.
	waiting map[types.UID]waiting
	// seen is the newest line, and at when it was read: it may refuse, and never lets.
	seen line
	at   time.Time
}

// waiting is who waits for a turn.
type waiting struct {
	place place
	name  types.NamespacedName
}

func newTurns() *turns { return &turns{sites: map[types.NamespacedName]*siteTurns{}} }

func (t *turns) of(site types.NamespacedName) *siteTurns {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sites[site]
	if s == nil {
		s = &siteTurns{
			granted: map[types.UID]bool{}, hindered: map[types.UID]bool{},
			asks: map[types.UID]claim{}, waiting: map[types.UID]waiting{},
		}
		t.sites[site] = s
	}
	return s
}

// hasTurns says that the jobs of a site have to wait for each other.
func hasTurns(site *v1alpha1.Site) bool {
	return site.Spec.Limits.Jobs > 0 || site.Spec.Limits.GPUHours != ""
}

// lineHolds is how long a line that was read may refuse others: many ask at once, and one read is enough for all of them.
const lineHolds = time.Second

// turn says why a job may not be handed in yet, or nil: then its turn is kept for it until it is stored, or until
// something else holds it up.
func (k *Kind) turn(ctx context.Context, job *v1alpha1.SlurmJob, site *v1alpha1.Site, c claim) (*blocked, error) {
	if !hasTurns(site) {
		return nil, nil
	}
	s := k.turns.of(client.ObjectKeyFromObject(site))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks[job.UID] = c
	if s.hindered[job.UID] {
		delete(s.hindered, job.UID)
		s.at = time.Time{}
	}
	me, ok := placeOf(job, s.granted, s.hindered, s.asks)
	if !ok {
		return nil, nil
	}
	if age := k.Now().Sub(s.at); age >= 0 && age < lineHolds && me.rank == rankWaits {
		if b := s.seen.refuses(site, me, c); b != nil && !b.stalled {
			s.waiting[job.UID] = waiting{me, client.ObjectKeyFromObject(job)}
			return b, nil
		}
	}
	if err := k.read(ctx, s, site); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(s.seen.places, func(p place) bool { return p.uid == job.UID }); i >= 0 {
		me = s.seen.places[i]
	}
	if b := s.seen.refuses(site, me, c); b != nil {
		s.waiting[job.UID] = waiting{me, client.ObjectKeyFromObject(job)}
		return b, nil
	}
	s.granted[job.UID] = true
	s.at = time.Time{}
	delete(s.waiting, job.UID)
	k.wakeFront(s)
	return nil, nil
}

// read reads the line, live. The jobs first: what a Site took over from a job that went meanwhile is in the Site then.
func (k *Kind) read(ctx context.Context, s *siteTurns, site *v1alpha1.Site) error {
	var jobs v1alpha1.SlurmJobList
	if err := k.Live.List(ctx, &jobs, client.InNamespace(site.Namespace)); err != nil {
		return fmt.Errorf("SlurmJobs of site %s: %w", site.Name, err)
	}
	fresh := &v1alpha1.Site{}
	if err := k.Live.Get(ctx, client.ObjectKeyFromObject(site), fresh); err != nil {
		return fmt.Errorf("site %s: %w", site.Name, err)
	}
	s.prune(jobs.Items)
	s.seen, s.at = lineAt(fresh, jobs.Items, s.granted, s.hindered, s.asks), k.Now()
	return nil
}

// prune forgets what is stored by now, and who has gone.
func (s *siteTurns) prune(jobs []v1alpha1.SlurmJob) {
	open := map[types.UID]bool{}
	for i := range jobs {
		job := &jobs[i]
		if isDeleting(job) {
			continue
		}
		a := newest(job.Status.Attempts)
		open[job.UID] = !handedIn(a) && !ended(a)
		if a != nil {
			delete(s.granted, job.UID)
		}
	}
	for _, kept := range []map[types.UID]bool{s.granted, s.hindered} {
		for uid := range kept {
			if !open[uid] {
				delete(kept, uid)
			}
		}
	}
	for uid := range s.asks {
		if !open[uid] {
			delete(s.asks, uid)
		}
	}
	for uid := range s.waiting {
		if !open[uid] {
			delete(s.waiting, uid)
		}
	}
}

// hinder says that something but its turn holds a job up: it leaves the line.
func (k *Kind) hinder(job *v1alpha1.SlurmJob, site *v1alpha1.Site) {
	if !hasTurns(site) {
		return
	}
	s := k.turns.of(client.ObjectKeyFromObject(site))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hindered[job.UID] {
		return
	}
	s.hindered[job.UID] = true
	delete(s.granted, job.UID)
	delete(s.waiting, job.UID)
	s.at = time.Time{}
	k.wakeFront(s)
}

// freed says that a job of a site has ended.
func (k *Kind) freed(job *v1alpha1.SlurmJob) {
	s := k.turns.of(types.NamespacedName{Namespace: job.Namespace, Name: string(job.Spec.Site)})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = time.Time{}
	k.wakeFront(s)
}

// front is how many of those who wait are looked at when something changed: each that goes wakes the next ones.
const front = 2

// wakeFront has the first ones in line looked at.
func (k *Kind) wakeFront(s *siteTurns) {
	var all []waiting
	for _, w := range s.waiting {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b waiting) int { return before(a.place, b.place) })
	for _, w := range all[:min(front, len(all))] {
		k.memory.add(w.name)
	}
}

// owes says whether a Site that counts GPU-hours still has to take over what a job used, should the job go.
func owes(job *v1alpha1.SlurmJob, site *v1alpha1.Site) bool {
	return site != nil && site.Spec.Limits.GPUHours != "" && !slices.Contains(site.Status.Charged, string(job.UID))
}

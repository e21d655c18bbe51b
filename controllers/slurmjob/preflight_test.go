package slurmjob

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// asker is a batch system that answers preflights.
type asker struct {
	slurmbridge.Jobs

	asked int
	err   error
	takes time.Duration
}

func (a *asker) Preflight(context.Context, slurmbridge.Key, slurmbridge.Script) error {
	a.asked++
	<-time.After(a.takes)
	return a.err
}

// A request is asked about once in ten minutes, whatever the number of jobs that make it; a question that failed is asked
// again, and so is one whose answer is about now.
func TestPreflightOncePerRequest(t *testing.T) {
	now := noon
	k := New(Deps{Now: func() time.Time { return now }})
	a := &asker{}
	site := func(uid types.UID, generation int64) *v1alpha1.Site {
		return &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", UID: uid, Generation: generation}}
	}
	here := site("uid-1", 1)
	request := func(at *v1alpha1.Site, nodes int, dependency string) foretold {
		m := toMake()
		m.out.Script.Parts, m.out.Script.Dependency = []slurmbridge.Part{{Partition: "gpu", Nodes: nodes}}, dependency
		return k.foretell(t.Context(), at, slurmbridge.Door{Jobs: a}, m)
	}
	no := fmt.Errorf("%w: no such partition", slurmbridge.ErrRefused)
	away := fmt.Errorf("%w: not available", slurmbridge.ErrNodesAway)
	busy := fmt.Errorf("%w: QOSMaxSubmitJobPerUserLimit", slurmbridge.ErrNotNow)
	for _, s := range []struct {
		what       string
		later      time.Duration
		says       error
		site       *v1alpha1.Site
		nodes      int
		dependency string
		want       foretold
		asked      int
	}{
		{"the first", 0, nil, here, 1, "", foretold{}, 1},
		{"the same", 0, no, here, 1, "", foretold{}, 1},
		{"another", 0, nil, here, 2, "", foretold{}, 2},
		{"much later", preflightHolds + time.Second, no, here, 1, "", foretold{impossible: no}, 3},
		{"refused again", 0, nil, here, 1, "", foretold{impossible: no}, 3},
		{"the same after another job", 0, no, here, 2, "afterok:1", foretold{impossible: no}, 4},
		{"that dependency is refused, not this request", 0, nil, here, 2, "", foretold{}, 5},
		{"a Site that was made anew", 0, nil, site("uid-2", 1), 1, "", foretold{}, 6},
		{"a Site that was changed", 0, nil, site("uid-1", 2), 1, "", foretold{}, 7},
		{"a question that failed", 0, slurmbridge.ErrUnreachable, here, 3, "", foretold{}, 8},
		{"is asked again", 0, away, here, 3, "", foretold{away: away}, 9},
		{"nodes are away for some time", 0, busy, here, 3, "", foretold{away: away}, 9},
		{"nodes come back", awayHolds + time.Second, busy, here, 3, "", foretold{notNow: busy}, 10},
		{"others end", 0, nil, here, 3, "", foretold{}, 11},
	} {
		now, a.err = now.Add(s.later), s.says
		got := request(s.site, s.nodes, s.dependency)
		if got != s.want || a.asked != s.asked {
			t.Errorf("%s: %+v after %d questions, want %+v after %d", s.what, got, a.asked, s.want, s.asked)
		}
	}
	if got := k.foretell(t.Context(), here, slurmbridge.Door{}, toMake()); got != (foretold{}) {
		t.Errorf("a batch system without preflights: %+v", got)
	}
}

// Jobs that make the same request at the same time share a question, whatever its answer.
func TestPreflightIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Deps{Now: time.Now})
		busy := fmt.Errorf("%w: too many", slurmbridge.ErrNotNow)
		a := &asker{err: busy, takes: time.Second}
		here := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", UID: "uid-1"}}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got := k.foretell(t.Context(), here, slurmbridge.Door{Jobs: a}, toMake()); !errors.Is(got.notNow, busy) {
					t.Errorf("%+v, want what the batch system said", got)
				}
			})
		}
		wg.Wait()
		if a.asked != 1 {
			t.Errorf("%d questions, want one for all", a.asked)
		}
		impatient, cancel := context.WithCancel(t.Context())
		wg.Go(func() { k.foretell(t.Context(), here, slurmbridge.Door{Jobs: a}, toMake()) })
		synctest.Wait()
		cancel()
		if got := k.foretell(impatient, here, slurmbridge.Door{Jobs: a}, toMake()); got != (foretold{}) {
			t.Errorf("who cannot wait is told %+v", got)
		}
		wg.Wait()
	})
}

// A batch system that takes no such job now is left alone for longer and longer, and then gets the job of the same attempt,
// whether it said so to a preflight or to the submit.
func TestNotNow(t *testing.T) {
	busy := fmt.Errorf("%w: QOSMaxSubmitJobPerUserLimit: Job violates accounting/QOS policy", slurmbridge.ErrNotNow)
	const words = "the batch system takes no such job now: QOSMaxSubmitJobPerUserLimit: Job violates accounting/QOS policy (no more jobs may be handed in: it goes on when others end); it is tried again"
	ready := func(w *world) { w.made, w.written = toMake(), true }
	for name, c := range map[string]struct {
		submits  int32
		seen     func(*world)
		refusals int
		pause    [2]time.Duration
	}{
		"preflight, first":  {0, func(w *world) { w.said.notNow = busy }, 1, between(10, 14)},
		"submit, first":     {1, func(w *world) { w.answer.notNow = busy }, 1, between(10, 14)},
		"submit, third":     {1, func(w *world) { w.answer.notNow = busy }, 3, between(40, 52)},
		"submit, twentieth": {1, func(w *world) { w.answer.notNow = busy }, 20, between(300, 301)},
	} {
		t.Run(name, func(t *testing.T) {
			job := sj(try(v1alpha1.AttemptIntended, func(a *v1alpha1.Attempt) { a.Submits = c.submits }))
			first := decide(job, open(both(ready, c.seen, func(w *world) { w.refusals = c.refusals })), noon)
			if (len(first.Events) == 1) != (c.refusals == 1) {
				t.Errorf("events %v, want one for the first refusal", first.Events)
			}
			job.Status = first.Status
			a := newest(job.Status.Attempts)
			pause := a.NotBefore.Sub(noon)
			if a.Submits != 0 || a.State != v1alpha1.AttemptIntended || len(job.Status.Attempts) != 1 || pause < c.pause[0] || pause > c.pause[1] {
				t.Fatalf("%+v, want the same attempt after a pause of %v", a, c.pause)
			}
			for _, at := range []time.Duration{0, pause - time.Second} { // the same is told until the pause is over
				d := decide(job, open(both(ready, func(w *world) { w.answer.notNow = busy })), noon.Add(at))
				for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionSubmitted} {
					if c := meta.FindStatusCondition(d.Status.Conditions, kind); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonSiteBusy || c.Message != words {
						t.Errorf("after %s: %+v, want False SiteBusy: %s", at, c, words)
					}
				}
				if len(d.Do) > 0 || d.After != pause-at || reconcile.JobWaits(job) != words || kstatusOf(t, job) != status.InProgressStatus {
					t.Errorf("after %s: does %v, looks again in %s; want nothing before %s", at, d.Do, d.After, pause)
				}
			}
			d := decide(job, open(both(ready, func(w *world) { w.answer.notNow = busy })), noon.Add(pause))
			if a := newest(d.Status.Attempts); len(d.Do) != 1 || a.Submits != 1 || a.Key != string(key1) {
				t.Errorf("after the pause it does %v for %+v, want a submit under the same key", d.Do, a)
			}
		})
	}
}

// What this process remembers of refusals is forgotten once a job is taken.
func TestRefusalsAreCounted(t *testing.T) {
	k := New(Deps{Now: func() time.Time { return noon }})
	busy := fmt.Errorf("%w: too many", slurmbridge.ErrNotNow)
	for i, c := range []struct {
		says error
		want int
		// unclear is how many answers nobody knows.
		unclear int
	}{
		{busy, 1, 0},
		{busy, 2, 0},
		{slurmbridge.ErrUnreachable, 2, 0},
		{slurmbridge.ErrUnclear, 2, 1},
		{busy, 3, 1},
		{slurmbridge.ErrUnclear, 3, 2},
		{nil, 0, 0},
		{busy, 1, 0},
	} {
		k.submit(t.Context(), slurmbridge.Door{Jobs: &taker{err: c.says}}, Submit{Key: key1})
		if n := k.memory.of(key1); n.refusals != c.want || n.unclear != c.unclear || errors.Is(c.says, slurmbridge.ErrNotNow) != (n.answer.notNow != nil) || n.answer.refused != nil {
			t.Errorf("submit %d: %d refusals, %d unclear and %+v, want %d and %d", i, n.refusals, n.unclear, n.answer, c.want, c.unclear)
		}
	}
}

// taker is a batch system that answers submits.
type taker struct {
	slurmbridge.Jobs

	err error
}

func (t *taker) Submit(context.Context, slurmbridge.Key, slurmbridge.Script) error { return t.err }

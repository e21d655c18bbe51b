package conformance

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"assay.bench/slurmbridge"
)

const long = time.Minute

// life: held, released, running, ended, and every time in order.
func life(s *suite) {
	j := s.submit(Program{Takes: 3 * time.Second}) // as long as two looks at a busy site take
	if j.Phase != slurmbridge.Pending || !j.Held || j.Over() || j.ID == "" || j.Submitted.IsZero() || !j.Started.IsZero() {
		s.t.Errorf("after Submit: %+v, want a held job that waits", j)
	}
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	run := s.await(j.Key, "runs", running)
	if run.Held || run.Identity() != j.Identity() || run.Nodes == "" {
		s.t.Errorf("running: %+v, want the same identity as %s, not held, with its nodes", run, j.Identity())
	}
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if end.Phase != slurmbridge.Succeeded || end.ExitCode != 0 || end.State == "" || end.Reason == "" {
		s.t.Errorf("ended: %+v, want Succeeded with the batch system's word and a reason", end)
	}
	if end.Started.IsZero() || end.Ended.Before(end.Started) {
		s.t.Errorf("times out of order: %+v", end)
	}
	if again := s.look(j.Key); again != end {
		s.t.Errorf("an ended job changed: %+v, then %+v", end, again)
	}
}

func exitCode(s *suite) {
	j := s.start(Program{Takes: 100 * time.Millisecond, Code: 7})
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if end.Phase != slurmbridge.Failed || end.ExitCode != 7 || end.Signal != 0 {
		s.t.Errorf("ended: %+v, want Failed with exit code 7", end)
	}
}

// held: nothing runs before the release, and a second release changes nothing.
func held(s *suite) {
	first, second := s.submit(Program{}), s.submit(Program{Takes: 100 * time.Millisecond})
	s.must(s.Jobs.Release(s.t.Context(), second.ID))
	s.must(s.Jobs.Release(s.t.Context(), second.ID))
	s.await(second.Key, "ends", slurmbridge.Job.Over)
	if j := s.look(first.Key); j.Phase != slurmbridge.Pending || !j.Held {
		s.t.Errorf("the job that nobody released: %+v, want held", j)
	}
	s.must(s.Jobs.Release(s.t.Context(), second.ID))
	if j := s.look(second.Key); !j.Over() || j.Restarts != 0 {
		s.t.Errorf("an ended job after another release: %+v", j)
	}
	s.must(s.Jobs.Release(s.t.Context(), "999999999"))
}

func cancelPending(s *suite) {
	j := s.submit(Program{})
	s.must(s.Jobs.Cancel(s.t.Context(), j.ID))
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if end.Phase != slurmbridge.Failed || end.Reason != "Cancelled" {
		s.t.Errorf("ended: %+v, want Failed, Cancelled", end)
	}
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	if now := s.look(j.Key); now != end {
		s.t.Errorf("a release woke a cancelled job: %+v", now)
	}
}

func cancelRunning(s *suite) {
	j := s.start(Program{Takes: long})
	s.must(s.Jobs.Cancel(s.t.Context(), j.ID))
	s.must(s.Jobs.Cancel(s.t.Context(), j.ID))
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if end.Phase != slurmbridge.Failed || end.Reason != "Cancelled" {
		s.t.Errorf("ended: %+v, want Failed, Cancelled", end)
	}
}

// cancelStubborn: Cancel returns at once, and the job is not over before its processes are gone.
func cancelStubborn(s *suite) {
	j := s.start(Program{Takes: long, IgnoreTerm: true})
	begin := time.Now()
	s.must(s.Jobs.Cancel(s.t.Context(), j.ID))
	if took := time.Since(begin); took > s.Patience/4 {
		s.t.Errorf("Cancel took %s: it must not wait for the end", took)
	}
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if end.Reason != "Cancelled" {
		s.t.Errorf("ended: %+v, want Cancelled", end)
	}
}

func cancelEnded(s *suite) {
	j := s.start(Program{Takes: 100 * time.Millisecond})
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	s.must(s.Jobs.Cancel(s.t.Context(), j.ID))
	if now := s.look(j.Key); now != end {
		s.t.Errorf("Cancel changed an ended job: %+v, then %+v", end, now)
	}
	s.must(s.Jobs.Cancel(s.t.Context(), "999999999"))
}

// strays: a job is over only when what it left in other sessions is gone too.
func strays(s *suite) {
	j := s.start(Program{Takes: 100 * time.Millisecond, Stray: true})
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if end.Phase != slurmbridge.Succeeded {
		s.t.Errorf("ended: %+v, want Succeeded: what a job leaves behind is not its exit code", end)
	}
	c := s.start(Program{Takes: long, Stray: true, IgnoreTerm: true})
	s.must(s.Jobs.Cancel(s.t.Context(), c.ID))
	s.await(c.Key, "ends", slurmbridge.Job.Over)
}

func find(s *suite) {
	a, b, c := s.submit(Program{}), s.submit(Program{}), s.submit(Program{})
	jobs, err := s.Jobs.Find(s.t.Context(), a.Key, c.Key, s.key())
	s.must(err)
	if len(jobs) != 2 || jobs[0].Key != a.Key || jobs[1].Key != c.Key {
		s.t.Errorf("Find of two known keys and an unknown one: %+v", jobs)
	}
	none, err := s.Jobs.Find(s.t.Context(), s.key())
	if err != nil || len(none) != 0 {
		s.t.Errorf("Find of an unknown key: %v, %v; want nothing and no error", none, err)
	}
	if jobs, err = s.Jobs.Find(s.t.Context()); err != nil || len(jobs) != 0 {
		s.t.Errorf("Find of no key: %v, %v; want nothing and no error", jobs, err)
	}
	all, err := s.Jobs.List(s.t.Context())
	s.must(err)
	if got := keysOf(all); !slices.Equal(got, []slurmbridge.Key{a.Key, b.Key, c.Key}) {
		s.t.Errorf("List: %v, want the three in the order of their submit", got)
	}
}

func keysOf(jobs []slurmbridge.Job) []slurmbridge.Key {
	var out []slurmbridge.Key
	for _, j := range jobs {
		out = append(out, j.Key)
	}
	return out
}

// duplicates: a batch system does not mind two jobs of one name, so both have to be seen.
func duplicates(s *suite) {
	key := s.key()
	first := s.submitAs(key, s.script(Program{Takes: long}))
	s.must(s.Jobs.Submit(s.t.Context(), key, s.script(Program{Takes: long})))
	jobs, err := s.Jobs.Find(s.t.Context(), key)
	s.must(err)
	if len(jobs) != 2 || jobs[0].ID != first.ID || jobs[1].ID == first.ID {
		s.t.Fatalf("Find after two submits: %+v, want both, the oldest first", jobs)
	}
	// Ending one of them must not touch the other.
	for _, j := range jobs {
		s.must(s.Jobs.Release(s.t.Context(), j.ID))
	}
	both := func() []slurmbridge.Job {
		now, err := s.Jobs.Find(s.t.Context(), key)
		s.must(err)
		return now
	}
	s.eventually("both run", func() bool { now := both(); return running(now[0]) && running(now[1]) }, func() any { return both() })
	s.must(s.Jobs.Cancel(s.t.Context(), jobs[1].ID))
	s.eventually("the second ends", func() bool { return both()[1].Over() }, func() any { return both() })
	if now := both(); !running(now[0]) {
		s.t.Errorf("the first job after the second was cancelled: %+v, want it to run", now[0])
	}
	s.must(s.Jobs.Cancel(s.t.Context(), first.ID))
	s.eventually("the first ends", func() bool { return both()[0].Over() }, func() any { return both() })
}

func origins(s *suite) {
	s.needs(s.Other != nil, "Other")
	const foreign = "feedc0de"
	other := s.Other(s.t, foreign)
	mine, theirs := s.submit(Program{}), s.keyOf(foreign)
	s.must(other.Submit(s.t.Context(), theirs, s.script(Program{})))
	jobs, err := s.Jobs.List(s.t.Context())
	s.must(err)
	if got := keysOf(jobs); !slices.Equal(got, []slurmbridge.Key{mine.Key}) {
		s.t.Errorf("List: %v, want only our own %s", got, mine.Key)
	}
	jobs, err = other.List(s.t.Context())
	s.must(err)
	if got := keysOf(jobs); !slices.Equal(got, []slurmbridge.Key{theirs}) {
		s.t.Fatalf("List of the other origin: %v, want only %s", got, theirs)
	}
	s.must(s.Jobs.Cancel(s.t.Context(), jobs[0].ID))
	if jobs, err = other.Find(s.t.Context(), theirs); err != nil || len(jobs) != 1 || jobs[0].Over() {
		s.t.Errorf("after our Cancel of their job: %+v, %v; want it untouched", jobs, err)
	}
	if err := s.Jobs.Submit(s.t.Context(), theirs, s.script(Program{})); !errors.Is(err, slurmbridge.ErrRefused) {
		s.t.Errorf("Submit under a key of another origin: %v, want ErrRefused", err)
	}
}

// timeLimit: a job that does not end is ended by the batch system, and says so.
func timeLimit(s *suite) {
	script := s.script(Program{Takes: long + 2*s.ShortLimit})
	script.TimeLimit = s.ShortLimit
	j := s.submitAs(s.key(), script)
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	end := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if end.Phase != slurmbridge.Failed || end.Reason != "TimeLimit" {
		s.t.Errorf("ended: %+v, want Failed, TimeLimit", end)
	}
	if ran := end.Ended.Sub(end.Started); ran < s.ShortLimit-time.Second {
		s.t.Errorf("it ran for %s of %s", ran, s.ShortLimit)
	}
}

// fence: of two jobs in one folder, the second does no work.
func fence(s *suite) {
	script := s.script(Program{Takes: 300 * time.Millisecond})
	first := s.submitAs(s.key(), script)
	s.must(s.Jobs.Release(s.t.Context(), first.ID))
	if s.Files != nil {
		log := path.Join(script.Directory, "job.log")
		s.eventually("job.log", func() bool {
			got, err := s.Files.Read(s.t.Context(), log)
			return err == nil && got[log] != nil
		}, func() any { return log })
	}
	s.await(first.Key, "ends", slurmbridge.Job.Over)
	second := s.submitAs(s.key(), script)
	s.must(s.Jobs.Release(s.t.Context(), second.ID))
	end := s.await(second.Key, "ends", slurmbridge.Job.Over)
	if end.Phase != slurmbridge.Failed || end.ExitCode != 75 {
		s.t.Errorf("the second job: %+v, want exit code 75", end)
	}
}

// refused: what cannot be submitted is refused for good, and leaves no job.
func refused(s *suite) {
	key, script := s.key(), s.script(Program{})
	script.Comment = "two\nlines"
	if err := s.Jobs.Submit(s.t.Context(), key, script); !errors.Is(err, slurmbridge.ErrRefused) {
		s.t.Errorf("Submit: %v, want ErrRefused", err)
	}
	if err := s.Jobs.Submit(s.t.Context(), "assay-me", s.script(Program{})); !errors.Is(err, slurmbridge.ErrRefused) {
		s.t.Errorf("Submit under a bad key: %v, want ErrRefused", err)
	}
	if jobs, err := s.Jobs.List(s.t.Context()); err != nil || len(jobs) != 0 {
		s.t.Errorf("List: %v, %v; want nothing", jobs, err)
	}
}

// contextOver: a call whose context ended says nothing about any job.
func contextOver(s *suite) {
	s.submit(Program{})
	if jobs, err := s.Jobs.List(s.ended()); !errors.Is(err, slurmbridge.ErrUnreachable) {
		s.t.Errorf("List: %v, %v; want ErrUnreachable", jobs, err)
	}
}

// reopen: jobs outlive assay, are known by the next process and end as ever. An ended job is looked for at once: batch
// systems forget it soon.
func reopen(s *suite) {
	done := s.start(Program{Takes: 50 * time.Millisecond, Code: 3})
	end := s.await(done.Key, "ends", slurmbridge.Job.Over)
	s.Jobs = s.Reopen(s.t)
	if now := s.look(done.Key); now != end {
		s.t.Errorf("an ended job after a restart: %+v, want %+v", now, end)
	}
	held, run := s.submit(Program{Takes: 50 * time.Millisecond}), s.start(Program{Takes: 300 * time.Millisecond, Code: 4})
	s.Jobs = s.Reopen(s.t)
	if now := s.look(run.Key); now.Identity() != run.Identity() || now.Phase == slurmbridge.Pending {
		s.t.Errorf("a running job after a restart: %+v, want %s", now, run.Identity())
	}
	if e := s.await(run.Key, "ends", slurmbridge.Job.Over); e.ExitCode != 4 {
		s.t.Errorf("the adopted job: %+v, want exit code 4", e)
	}
	if now := s.look(held.Key); !now.Held || now.Identity() != held.Identity() {
		s.t.Errorf("a held job after a restart: %+v", now)
	}
	s.must(s.Jobs.Release(s.t.Context(), held.ID))
	if e := s.await(held.Key, "ends", slurmbridge.Job.Over); e.Phase != slurmbridge.Succeeded {
		s.t.Errorf("the held job: %+v, want Succeeded", e)
	}
}

// past: accounting knows a job that was held to its end as well as one that ran, or says that there is none.
func past(s *suite) {
	accounting, ok := s.Jobs.(slurmbridge.Accountant)
	s.needs(ok, "Accountant")
	waiting, ran := s.submit(Program{}), s.start(Program{Takes: 50 * time.Millisecond, Code: 3})
	since := waiting.Submitted.Add(-time.Minute)
	s.must(s.Jobs.Cancel(s.t.Context(), waiting.ID))
	want := []slurmbridge.Job{s.await(waiting.Key, "ends", slurmbridge.Job.Over), s.await(ran.Key, "ends", slurmbridge.Job.Over)}
	var got []slurmbridge.Job
	var err error
	s.eventually("accounting knows both ends", func() bool {
		got, err = accounting.Past(s.t.Context(), since, waiting.Key, ran.Key)
		return s.NoAccounting && errors.Is(err, slurmbridge.ErrNoAccounting) || err == nil && len(got) == 2 && got[0].Over() && got[1].Over()
	}, func() any { return fmt.Sprint(got, err) })
	if s.NoAccounting {
		if err == nil {
			s.t.Errorf("accounting: %+v, want ErrNoAccounting", got)
		}
		return
	}
	for i, w := range want {
		if g := got[i]; g.Identity() != w.Identity() || g.Key != w.Key || g.Phase != w.Phase || g.Reason != w.Reason || g.ExitCode != w.ExitCode {
			s.t.Errorf("accounting: %+v, want %+v", g, w)
		}
	}
	if again, err := accounting.Past(s.t.Context(), since, s.key()); err != nil || len(again) > 0 {
		s.t.Errorf("Past of an unknown key: %+v, %v; want nothing and no error", again, err)
	}
}

func many(s *suite) {
	n := s.Many
	if n == 0 {
		n = 50
	}
	script := s.script(Program{})
	want := make([]slurmbridge.Key, n)
	for i := range want {
		want[i] = s.key()
		s.must(s.Jobs.Submit(s.t.Context(), want[i], script))
	}
	jobs, err := s.Jobs.List(s.t.Context())
	s.must(err)
	if got := keysOf(jobs); !slices.Equal(got, want) {
		s.t.Errorf("List of %d jobs has %d, or not in their order", n, len(got))
	}
	ids := map[string]bool{}
	for _, j := range jobs {
		ids[j.ID] = true
	}
	if len(ids) != n {
		s.t.Errorf("%d ids for %d jobs", len(ids), n)
	}
	some := []slurmbridge.Key{want[0], want[n/2], want[n-1]}
	found, err := s.Jobs.Find(s.t.Context(), some...)
	if got := keysOf(found); err != nil || !slices.Equal(got, some) {
		s.t.Errorf("Find: %v, %v; want %v", got, err, some)
	}
}

// concurrent: callers do not disturb each other, and no two jobs get one id.
func concurrent(s *suite) {
	const n = 8
	keys, scripts := make([]slurmbridge.Key, n), make([]slurmbridge.Script, n)
	for i := range n {
		keys[i], scripts[i] = s.key(), s.script(Program{Takes: 20 * time.Millisecond})
	}
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			errs[i] = s.Jobs.Submit(s.t.Context(), keys[i], scripts[i])
			jobs, err := s.Jobs.Find(s.t.Context(), keys[i])
			if err == nil && len(jobs) != 1 {
				err = fmt.Errorf("job %d: found %d", i, len(jobs))
			}
			if err == nil {
				err = errors.Join(s.Jobs.Release(s.t.Context(), jobs[0].ID), s.Jobs.Release(s.t.Context(), jobs[0].ID))
			}
			errs[i] = errors.Join(errs[i], err)
		})
	}
	wg.Wait()
	s.must(errors.Join(errs...))
	for _, k := range keys {
		if e := s.await(k, "ends", slurmbridge.Job.Over); e.Phase != slurmbridge.Succeeded {
			s.t.Errorf("%+v, want Succeeded: a second start would have met the claim", e)
		}
	}
}

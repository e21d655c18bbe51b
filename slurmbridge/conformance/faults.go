package conformance

import (
	"errors"
	"path"
	"time"

	"assay.bench/slurmbridge"
)

// lostReply: the job is in although the submit failed, and it is found by its key.
func lostReply(s *suite) {
	s.needs(s.Faults.LoseReply != nil, "LoseReply")
	key, script := s.key(), s.script(Program{Takes: 50 * time.Millisecond})
	s.Faults.LoseReply()
	err := s.Jobs.Submit(s.t.Context(), key, script)
	if err == nil || errors.Is(err, slurmbridge.ErrRefused) {
		s.t.Errorf("Submit: %v, want an error that leaves open whether the job exists", err)
	}
	j := s.look(key)
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	s.await(key, "ends", slurmbridge.Job.Over)
}

// noise: what a site prints beside its answers changes nothing.
func noise(s *suite) {
	s.needs(s.Faults.Noise != nil, "Noise")
	s.Faults.Noise(true)
	life(s)
	exitCode(s)
}

// truncated: half an answer is no answer.
func truncated(s *suite) {
	s.needs(s.Faults.Truncate != nil, "Truncate")
	j := s.submit(Program{})
	s.submit(Program{})
	for range 20 {
		s.Faults.Truncate()
		if jobs, err := s.Jobs.List(s.t.Context()); !errors.Is(err, slurmbridge.ErrUnreachable) || len(jobs) > 0 {
			s.t.Fatalf("List of a cut answer: %v, %v; want ErrUnreachable and no job", jobs, err)
		}
		s.Faults.Truncate()
		if jobs, err := s.Jobs.Find(s.t.Context(), j.Key); !errors.Is(err, slurmbridge.ErrUnreachable) || len(jobs) > 0 {
			s.t.Fatalf("Find with a cut answer: %v, %v; want ErrUnreachable and no job", jobs, err)
		}
	}
	if jobs, err := s.Jobs.List(s.t.Context()); err != nil || len(jobs) != 2 {
		s.t.Errorf("List afterwards: %v, %v; want both jobs", jobs, err)
	}
}

// purged: a forgotten job is no error, and the others are still known.
func purged(s *suite) {
	s.needs(s.Faults.Purge != nil, "Purge")
	gone, stays := s.start(Program{Takes: 50 * time.Millisecond}), s.submit(Program{})
	s.await(gone.Key, "ends", slurmbridge.Job.Over)
	s.Faults.Purge(gone.ID)
	jobs, err := s.Jobs.Find(s.t.Context(), gone.Key, stays.Key)
	if err != nil || len(jobs) != 1 || jobs[0].Key != stays.Key {
		s.t.Errorf("Find: %+v, %v; want only the job that waits", jobs, err)
	}
	s.must(s.Jobs.Cancel(s.t.Context(), gone.ID))
	s.must(s.Jobs.Release(s.t.Context(), gone.ID))
}

// outage: every call says that the site does not answer, and afterwards everything is as it was.
func outage(s *suite) {
	s.needs(s.Faults.Outage != nil, "Outage")
	j, script := s.submit(Program{}), s.script(Program{})
	s.Faults.Outage(true)
	ctx := s.t.Context()
	_, list := s.Jobs.List(ctx)
	_, found := s.Jobs.Find(ctx, j.Key)
	errs := map[string]error{
		"List": list, "Find": found, "Submit": s.Jobs.Submit(ctx, s.key(), script),
		"Release": s.Jobs.Release(ctx, j.ID), "Cancel": s.Jobs.Cancel(ctx, j.ID),
	}
	if p, ok := s.Jobs.(slurmbridge.Prober); ok {
		errs["Probe"] = p.Probe(ctx, s.WorkDir)
	}
	for verb, err := range errs {
		if !errors.Is(err, slurmbridge.ErrUnreachable) || errors.Is(err, slurmbridge.ErrRefused) {
			s.t.Errorf("%s in an outage: %v, want ErrUnreachable", verb, err)
		}
	}
	s.Faults.Outage(false)
	if now := s.look(j.Key); now != j {
		s.t.Errorf("after the outage: %+v, want %+v", now, j)
	}
}

// clockOff: a batch system's clock that is an hour off changes no job's fate.
func clockOff(s *suite) {
	s.needs(s.Faults.SkewClock != nil, "SkewClock")
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		s.Faults.SkewClock(d)
		j := s.start(Program{Takes: 50 * time.Millisecond})
		if e := s.await(j.Key, "ends", slurmbridge.Job.Over); e.Phase != slurmbridge.Succeeded || e.Ended.Before(e.Started) {
			s.t.Errorf("with the clock %s off: %+v, want Succeeded with times in order", d, e)
		}
	}
}

// nodeLost: the site's fault is told from the job's own.
func nodeLost(s *suite) {
	s.needs(s.Faults.LoseNode != nil, "LoseNode")
	s.breaksOne(1)
	j := s.start(Program{Takes: long})
	s.Faults.LoseNode(j.ID)
	if e := s.await(j.Key, "ends", slurmbridge.Job.Over); e.Phase != slurmbridge.Interrupted || e.Reason != "NodeFailure" {
		s.t.Errorf("ended: %+v, want Interrupted, NodeFailure", e)
	}
}

// awaitClaim waits until a running job has claimed its folder: it makes the link current after that.
func (s *suite) awaitClaim(script slurmbridge.Script) {
	if s.Files == nil {
		return
	}
	plan := path.Join(path.Dir(script.Directory), "current", "plan.json")
	s.eventually("a claim", func() bool {
		got, err := s.Files.Read(s.t.Context(), plan)
		return err == nil && got[plan] != nil
	}, func() any { return plan })
}

// requeue: a second start of one job does no work.
func requeue(s *suite) {
	s.needs(s.Faults.Requeue != nil, "Requeue")
	script := s.script(Program{Takes: long})
	j := s.submitAs(s.key(), script)
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	s.await(j.Key, "runs", running)
	s.awaitClaim(script)
	s.Faults.Requeue(j.ID)
	e := s.await(j.Key, "ends", slurmbridge.Job.Over)
	if e.Phase != slurmbridge.Failed || e.ExitCode != 76 || e.Restarts != 1 || e.ID != j.ID { // Slurm gives it a new submit time
		s.t.Errorf("ended: %+v, want exit code 76 and one restart of the same job", e)
	}
}

// prologFailed: the batch system's own hold is told from ours by its restarts and its words.
func prologFailed(s *suite) {
	s.needs(s.Faults.FailProlog != nil, "FailProlog")
	s.breaksOne(2)
	j := s.submit(Program{})
	s.Faults.FailProlog(j.ID)
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	h := s.await(j.Key, "waits again", func(j slurmbridge.Job) bool { return j.Restarts == 1 && j.Phase == slurmbridge.Pending })
	if h.Message == j.Message {
		s.t.Errorf("after a failed prolog: %+v, want words of its own, not %q", h, j.Message)
	}
}

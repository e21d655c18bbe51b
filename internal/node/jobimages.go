package node

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"syscall"

	"assay.bench/internal/rundir"
)

// pullImages puts the plan's images into the site's store before anything starts. It returns why that failed, or nil.
func (b *batch) pullImages() *ending {
	if len(b.job.plan.Images) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	var signals sync.WaitGroup
	signals.Go(func() { b.endPullsBySignal(over, cancel) })
	p := &puller{world: b.world, job: b.job, owner: newLockOwner(b.world), beat: lockBeat, poll: lockPoll, stale: lockStale,
		sayf: b.sayf, log: b.log}
	var err error
	for _, pull := range b.job.plan.Images {
		if err = p.one(ctx, pull); err != nil {
			break
		}
	}
	close(over)
	signals.Wait()
	if err == nil {
		err = context.Cause(ctx) // a signal that came too late for the pull is for what would follow
	}
	if err == nil {
		return nil
	}
	return asEnding(err)
}

// endPullsBySignal ends the pulls when the job is told to end, or that its time limit is near.
func (b *batch) endPullsBySignal(over <-chan struct{}, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-over:
			return
		case sig := <-b.world.Signals:
			b.log("Signal", "signal", sig.String())
			if sig == syscall.SIGUSR1 {
				cancel(endf(rundir.ExitReasonTimeLimit, "the time limit of %s came while %s was pulled: raise %s",
					b.job.plan.TimeLimit.D(), b.job.plan.Images[0].URI, b.limitField()))
				continue
			}
			cancel(endf(rundir.ExitReasonStopped, "the job was told to end while it pulled its images"))
		}
	}
}

// limitField is where people set the time limit of the job.
func (b *batch) limitField() string {
	if len(b.job.plan.Services) > 0 {
		return "resources.timeLimit of the service"
	}
	return "images.resources.timeLimit of the Site"
}

// refuse ends a job that cannot start its components: each has an end, so that nobody waits for it.
func (b *batch) refuse(end *ending) int {
	b.sayf("%s: %s", end.reason, end.message)
	b.log("JobEnded", "code", end.code, "reason", end.reason)
	now := b.world.Now()
	var errs []error
	for _, dir := range b.rankFolders() {
		st := rundir.Status{Version: rundir.Version, Heartbeat: 1, Phase: rundir.PhaseFailed, Reason: end.reason, Message: end.message,
			Repeat: b.job.plan.Repeats.First, Host: b.world.Hostname, PID: b.world.PID, Time: now.UTC()}
		errs = append(errs, writeExit(rundir.Repeat(dir, st.Repeat), end, now), writeExit(dir, end, now), writeJSON(filepath.Join(dir, rundir.StatusFile), st))
	}
	if err := errors.Join(append(errs, writeExit(b.job.dir, end, now))...); err != nil {
		b.sayf("%v", err)
	}
	return end.code
}

// rankFolders are those of all ranks of the plan.
func (b *batch) rankFolders() []string {
	var out []string
	add := func(name string, ranks int) {
		for rank := range ranks {
			out = append(out, rundir.Rank(b.job.dir, name, rank))
		}
	}
	for _, s := range b.job.plan.Services {
		add(s.Name, s.Ranks)
	}
	for _, c := range b.job.plan.Clients {
		add(c.Name, c.Ranks)
	}
	return out
}

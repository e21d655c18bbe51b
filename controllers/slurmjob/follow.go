package slurmjob

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// kept is the job of an attempt among those under its key, oldest first: the one whose id is stored, else the oldest.
func kept(a *v1alpha1.Attempt, jobs []slurmbridge.Job) (slurmbridge.Job, bool) {
	if len(jobs) == 0 {
		return slurmbridge.Job{}, false
	}
	if a.JobID == "" {
		return jobs[0], true
	}
	// A job that the batch system started again is listed with a new submit time, sometimes beside its old record. The
	// key is the same, so the id says enough here; the newest record counts.
	for _, j := range slices.Backward(jobs) {
		if j.ID == a.JobID && j.Cluster == a.Cluster {
			return j, true
		}
	}
	return slurmbridge.Job{}, false
}

// record stores what the batch system says of the attempt's job.
func record(a *v1alpha1.Attempt, j slurmbridge.Job) {
	a.Submits = max(a.Submits, 1)
	a.Lookups, a.MissingSince = 0, nil
	a.JobID, a.Cluster = reconcile.Clip(j.ID, 64), reconcile.Clip(j.Cluster, 64)
	a.SubmitTime = keep(a.SubmitTime, j.Submitted)
	a.StartTime = keep(a.StartTime, j.Started)
	if j.Nodes != "" { // one that is in the queue again has none, and what it had may be the trouble
		a.Nodes = reconcile.Clip(j.Nodes, 1024)
	}
	if j.Over() {
		a.EndTime = keep(a.EndTime, j.Ended)
		code := int32(j.ExitCode)
		a.ExitCode = &code
	}
}

// adopted takes the job under the key as ours.
func adopted(p *pass) bool {
	a := p.attempt()
	j, _ := kept(a, p.seen.jobs)
	if a.JobID == "" {
		p.event(false, v1alpha1.ReasonSubmitted, "Submit", fmt.Sprintf("the batch system holds job %s", j.ID))
	}
	record(a, j)
	p.batch = j
	p.cancelDuplicates(a)
	p.cond.True(v1alpha1.ConditionSubmitted, v1alpha1.ReasonSubmitted, "the batch system holds job "+a.JobID)
	p.mergeComponents()
	return false
}

// eventDuplicate is the reason of the event of a job that was doubled.
const eventDuplicate = "DuplicateJobCancelled"

// cancelDuplicates ends every other job under the key.
func (p *pass) cancelDuplicates(a *v1alpha1.Attempt) {
	if a.JobID == "" {
		return
	}
	others := slices.DeleteFunc(alive(p.seen.jobs), func(j slurmbridge.Job) bool { return j.ID == a.JobID && j.Cluster == a.Cluster })
	if len(others) == 0 {
		return
	}
	for _, j := range others {
		p.do(Cancel{Key: slurmbridge.Key(a.Key), ID: j.ID})
	}
	p.again(p.seen.patience.gap)
	// The message makes the event happen once for each set of duplicates.
	if text := reconcile.Clip("a duplicate was cancelled: "+ids(others), 1024); a.Message != text {
		a.Message = text
		p.event(true, eventDuplicate, "Cancel", fmt.Sprintf("cancels %s: the key %s belongs to job %s", ids(others), a.Key, a.JobID))
	}
}

// mergeComponents stores what the ranks wrote, as often as it is worth a write.
func (p *pass) mergeComponents() {
	fresh := components(p.job, p.seen)
	kept, after := economy(p.status.Components, fresh, p.seen.quiet)
	p.status.Components = kept
	if after > 0 {
		p.again(after)
	}
}

// beats says whether a rank wrote since the stored status.
func (p *pass) beats() bool {
	return heartbeats(components(p.job, p.seen)) > heartbeats(p.status.Components)
}

func heartbeats(list []v1alpha1.ComponentStatus) (sum int64) {
	for i := range list {
		sum += list[i].Heartbeat
	}
	return sum
}

// requeuedOnHold ends a job that the batch system put on hold after it could not start it.
func requeuedOnHold(p *pass) bool {
	j, a := p.batch, p.attempt()
	if j.Phase != slurmbridge.Pending || !j.Held || j.Restarts == 0 {
		return false
	}
	if a.CancelTime == nil {
		a.CancelTime = stamp(p.now)
	}
	if j.Reason == v1alpha1.ReasonLaunchFailure {
		a.Reason = v1alpha1.ReasonLaunchFailure // the job's end does not tell it
	}
	message := fmt.Sprintf("the batch system could not start job %s and holds it (%s); it is cancelled", j.ID, j.Message)
	p.cond.False(v1alpha1.ConditionScheduled, v1alpha1.ReasonRequeued, message)
	p.cond.Progressing(v1alpha1.ReasonRequeued, message)
	p.do(Cancel{Key: slurmbridge.Key(a.Key), ID: j.ID})
	p.again(p.seen.patience.gap)
	return true
}

// held releases the hold that the submit set. Its id is stored before, in this very pass. The hold counts as released
// once the job is seen without it, so a crash before the release leaves nothing waiting for ever; a hold that comes
// after that is a person's, and stays.
func held(p *pass) bool {
	j, a := p.batch, p.attempt()
	if j.Phase != slurmbridge.Pending || !j.Held || a.Released {
		return false
	}
	a.State = v1alpha1.AttemptSubmitted
	if heldByOthers(j) {
		p.waitsFor(j)
		p.again(p.seen.patience.gap)
		return true
	}
	p.status.Phase = "Submitted"
	p.cond.False(v1alpha1.ConditionScheduled, v1alpha1.ReasonSubmitted, fmt.Sprintf("job %s is released", j.ID))
	message := fmt.Sprintf("job %s is with the batch system", j.ID)
	if p.seen.doErr != nil {
		message = reconcile.Clip(fmt.Sprintf("%s; %v", message, p.seen.doErr), 1024)
	}
	p.cond.Progressing(v1alpha1.ReasonSubmitted, message)
	p.do(Release{Key: slurmbridge.Key(a.Key), ID: j.ID})
	p.again(p.seen.patience.gap)
	return true
}

// waits tells why a job waits, in the batch system's own words.
func waits(p *pass) bool {
	j, a := p.batch, p.attempt()
	if j.Phase != slurmbridge.Pending {
		p.status.Waiting, p.status.ExpectedStart = "", nil
		return false
	}
	a.State, a.Released = v1alpha1.AttemptQueued, true
	p.waitsFor(j)
	p.again(time.Minute) // the poller tells of a change
	if hopeless(j) && p.seen.hopelessFor < p.seen.patience.hopeless {
		p.again(p.seen.patience.gap)
	}
	return true
}

// hopeless says that a job waits for what never comes.
func hopeless(j slurmbridge.Job) bool {
	return j.Phase == slurmbridge.Pending && j.Reason == v1alpha1.ReasonUnschedulable
}

// heldByOthers says that the site's staff put a job on hold, or Slurm did when its reservation was deleted. That hold is
// theirs to lift.
func heldByOthers(j slurmbridge.Job) bool {
	return j.Message == "JobHeldAdmin" || j.Message == "ReservationDeleted"
}

// waitsFor writes that a job is in the queue.
func (p *pass) waitsFor(j slurmbridge.Job) {
	p.status.Phase, p.status.Waiting = "Queued", reconcile.Clip(waitingFor(j.Message), 512)
	reason := v1alpha1.ReasonQueued
	if j.Reason != "" {
		reason = word(j.Reason)
	}
	p.status.ExpectedStart = expected(p.status.ExpectedStart, j.Expected, p.now)
	message := fmt.Sprintf("job %s waits", j.ID)
	if j.Message != "" {
		message += ": " + p.status.Waiting
	}
	if at := p.status.ExpectedStart; at != nil {
		message += at.UTC().Format("; it is expected to start at 2006-01-02 15:04 UTC")
	}
	p.cond.False(v1alpha1.ConditionScheduled, reason, message)
	p.cond.Remove(v1alpha1.ConditionRunning) // it may have run before it was put back into the queue
	if hopeless(j) && p.seen.hopelessFor >= p.seen.patience.hopeless {
		p.cond.Stalled(reason, fmt.Sprintf("job %s never starts: %s; give it up, or have the site change what hinders it", j.ID, p.status.Waiting))
		return
	}
	p.cond.Progressing(reason, message)
}

// expected is when the batch system expects a job to start, or nil. It thinks again every half a minute: what it said first
// stays while it says about the same, which is within a minute or a tenth of the time to go.
func expected(stored *metav1.Time, at, now time.Time) *metav1.Time {
	if !at.After(now) {
		return nil
	}
	if stored != nil && stored.Sub(at).Abs() <= max(time.Minute, at.Sub(now)/10) {
		return stored
	}
	return &metav1.Time{Time: at.Truncate(time.Second)}
}

// runs follows a job on its nodes. A state that we do not know changes nothing but the message.
func runs(p *pass) bool {
	j, a := p.batch, p.attempt()
	if j.Over() {
		return false
	}
	if j.Phase != slurmbridge.Running {
		p.cond.Progressing(string(slurmbridge.Unknown), fmt.Sprintf("job %s is in the state %q, which assay does not know", j.ID, reconcile.Clip(j.State, 64)))
		p.again(p.seen.patience.gap)
		return true
	}
	if a.State != v1alpha1.AttemptRunning {
		p.event(false, "JobStarted", "Run", strings.TrimSuffix(fmt.Sprintf("job %s runs on %s", j.ID, a.Nodes), " on "))
	}
	a.State, a.Released = v1alpha1.AttemptRunning, true
	p.status.Phase = "Running"
	message := strings.TrimSuffix(fmt.Sprintf("job %s runs on %s", j.ID, reconcile.Clip(a.Nodes, 256)), " on ")
	if p.seen.planErr != nil {
		message += reconcile.Clip(fmt.Sprintf("; its plan cannot be read: %v", p.seen.planErr), 512)
	}
	p.cond.True(v1alpha1.ConditionScheduled, v1alpha1.ReasonRunning, message)
	if j.Reason == v1alpha1.ReasonSuspended {
		message = strings.TrimSuffix(fmt.Sprintf("the site has suspended job %s on %s", j.ID, reconcile.Clip(a.Nodes, 256)), " on ") + "; all of it stands still until it is resumed"
		p.cond.False(v1alpha1.ConditionRunning, v1alpha1.ReasonSuspended, message)
		p.cond.Progressing(v1alpha1.ReasonSuspended, message)
	} else {
		p.cond.True(v1alpha1.ConditionRunning, v1alpha1.ReasonRunning, message)
		p.cond.Progressing(v1alpha1.ReasonRunning, message)
	}
	if want := leaseAt(p.now, rundir.WantRun); p.seen.lease != want {
		p.do(WriteControl{Key: slurmbridge.Key(a.Key), Directory: p.status.Directory, Lease: want})
	}
	p.again(leaseEvery / 2)
	return true
}

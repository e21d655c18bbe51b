package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"assay.bench/slurmbridge"
)

// startGrace is how long a runner may take to claim its job before another one is started.
const startGrace = 5 * time.Second

// look reads a job's folder. ok is false when the job is not of this origin, or is gone.
func (h *Host) look(id string) (j slurmbridge.Job, ok bool, err error) {
	h.mu.Lock()
	j, known := h.ended[id]
	h.mu.Unlock()
	if !known {
		rec, err := h.load(id)
		if err != nil || rec.Key.Origin() != h.origin {
			return j, false, err
		}
		if j, err = h.state(id, rec); err != nil {
			return j, false, err
		}
	}
	if !j.Over() {
		return j, true, nil
	}
	expired := h.o.Now().Sub(j.Ended) > h.o.Remember
	h.mu.Lock()
	h.ended[id] = j
	if expired {
		delete(h.ended, id)
	}
	delete(h.tried, id)
	h.mu.Unlock()
	switch {
	case !expired:
		return j, true, nil
	case h.onlyLooks:
		return j, false, nil
	}
	return j, false, h.forget(id)
}

// state tells where a job stands, and starts or settles what a crash left half done.
func (h *Host) state(id string, rec record) (slurmbridge.Job, error) {
	host, err := os.Hostname()
	if err != nil {
		return slurmbridge.Job{}, err
	}
	j := slurmbridge.Job{ID: id, Key: rec.Key, Submitted: rec.Submitted}
	owner, err := os.Readlink(h.path(id, "runner"))
	if errors.Is(err, fs.ErrNotExist) {
		return h.pending(id, rec, j)
	}
	if err != nil {
		return j, err
	}
	if owner != cancelled {
		j.Nodes, j.Started = host, h.started(id, rec)
	}
	if done, err := h.over(id, &j); done || err != nil {
		return j, err
	}
	runner, ok := parseProcess(owner)
	if ok && runner.alive(h.boot) {
		j.State, j.Phase, j.Reason = "RUNNING", slurmbridge.Running, "Running"
		return j, nil
	}
	return h.withoutRunner(id, rec, j, owner, ok && runner.boot == h.boot)
}

func (h *Host) pending(id string, rec record, j slurmbridge.Job) (slurmbridge.Job, error) {
	j.State, j.Phase = "PENDING", slurmbridge.Pending
	if !exists(h.path(id, "released")) {
		j.Held, j.Reason, j.Message = true, "Held", "JobHeldUser"
		return j, nil
	}
	j.Reason, j.Message = "Queued", "Starting"
	h.mu.Lock()
	recent := time.Since(h.tried[id]) < startGrace
	h.mu.Unlock()
	if recent || h.onlyLooks {
		return j, nil
	}
	return j, h.start(id, rec)
}

// over fills in how the job ended, if it did.
func (h *Host) over(id string, j *slurmbridge.Job) (bool, error) {
	e, found, err := h.loadEnd(id)
	if err != nil || !found {
		return false, err
	}
	e.tell(j)
	return true, nil
}

// tell says in the words of the batch system how the job ended.
func (e ending) tell(j *slurmbridge.Job) {
	j.State, j.Ended, j.ExitCode, j.Signal = e.State, time.Unix(0, e.Time).UTC(), e.Code, e.Signal
	if j.Ended.Before(j.Started) {
		j.Ended = j.Started
	}
	switch e.State {
	case "COMPLETED":
		j.Phase, j.Reason = slurmbridge.Succeeded, "Completed"
	case "CANCELLED":
		j.Phase, j.Reason = slurmbridge.Failed, "Cancelled"
	case "TIMEOUT":
		j.Phase, j.Reason, j.Message = slurmbridge.Failed, "TimeLimit", "the time limit of the job came"
	case "FAILED":
		j.Phase, j.Reason, j.Message = slurmbridge.Failed, "NonZeroExit", fmt.Sprintf("exit code %d", e.Code)
	case "RUNNER_KILLED":
		j.Phase, j.Reason, j.Message = slurmbridge.Failed, "RunnerKilled", "the process that watched the job was killed; its exit code is not known"
	case "REBOOTED":
		j.Phase, j.Reason, j.Message = slurmbridge.Interrupted, "HostRestarted", "the host was started anew while the job ran"
	default:
		j.Phase, j.Reason = slurmbridge.Unknown, "Unknown"
	}
}

// withoutRunner settles a job whose runner is gone: it runs until its last process ended, and then failed, for nobody
// saw how.
func (h *Host) withoutRunner(id string, rec record, j slurmbridge.Job, owner string, sameBoot bool) (slurmbridge.Job, error) {
	left, err := survivors(rec.Key, id, h.leader(id))
	if err != nil {
		return j, err
	}
	// The runner may have written its last word since we looked.
	if done, err := h.over(id, &j); done || err != nil {
		return j, err
	}
	if sameBoot && (len(left) > 0 || h.isReaping(id) || h.mayBegin(id)) {
		j.State, j.Phase, j.Reason = "RUNNING", slurmbridge.Running, "RunnerKilled"
		j.Message = fmt.Sprintf("the process that watched the job was killed; %d of its processes go on", len(left))
		late := rec.TimeLimit > 0 && !j.Started.IsZero() && h.o.Now().Sub(j.Started) > rec.TimeLimit
		if !h.onlyLooks && (late || exists(h.path(id, "cancel"))) {
			h.reap(id, rec)
		}
		return j, nil
	}
	e := ending{State: "RUNNER_KILLED"}
	if !sameBoot {
		e.State = "REBOOTED"
	}
	if owner == cancelled || exists(h.path(id, "cancel")) {
		e.State = "CANCELLED"
	}
	if h.onlyLooks {
		e.Time = h.o.Now().UnixNano()
		e.tell(&j)
		return j, nil
	}
	h.tidy(id, rec)
	if err := h.writeEnd(id, e); err != nil {
		// A full disk does not make the job any less over: that is said all the same, and found out again after a restart.
		e.Time = h.o.Now().UnixNano()
		e.tell(&j)
		return j, nil //nolint:nilerr // the job is over, whether or not that could be written down
	}
	_, err = h.over(id, &j)
	return j, err
}

// mayBegin says that a runner was killed so soon after its claim that the first process of its job may be on its way,
// without a mark yet.
func (h *Host) mayBegin(id string) bool {
	claim, err := os.Lstat(h.path(id, "runner"))
	return err == nil && !exists(h.path(id, "started")) && h.o.Now().Sub(claim.ModTime()) < startGrace
}

// leader is the first process of a job that started on this boot; its pid is 0 when that is not known.
func (h *Host) leader(id string) process {
	p, _, ok := h.first(id)
	owner, err := os.Readlink(h.path(id, "runner"))
	if !ok || err != nil || !strings.HasSuffix(owner, "."+h.boot) {
		return process{}
	}
	p.boot = h.boot
	return p
}

// started is when the job's first process began, or its runner while that is all there is; never before the submit.
func (h *Host) started(id string, rec record) time.Time {
	_, at, ok := h.first(id)
	if !ok {
		info, err := os.Lstat(h.path(id, "runner"))
		if err != nil {
			return time.Time{}
		}
		at = info.ModTime().UTC()
	}
	if at.Before(rec.Submitted) {
		return rec.Submitted
	}
	return at
}

// first is the job's first process and when it began.
func (h *Host) first(id string) (p process, at time.Time, ok bool) {
	b, err := os.ReadFile(h.path(id, "started"))
	if err != nil {
		return p, at, false
	}
	return parseStarted(string(b))
}

// parseStarted reads "pid start time", the start in ticks since boot and the time in Unix nanoseconds.
func parseStarted(s string) (p process, at time.Time, ok bool) {
	var ns int64
	if _, err := fmt.Sscan(s, &p.pid, &p.start, &ns); err != nil || p.pid < 1 {
		return process{}, at, false
	}
	return p, time.Unix(0, ns).UTC(), true
}

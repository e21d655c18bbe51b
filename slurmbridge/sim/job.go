package sim

import (
	"fmt"
	"path"
	"slices"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// job is one record of the batch system, and its processes while it runs.
type job struct {
	id     string
	key    slurmbridge.Key
	script slurmbridge.Script
	need   int

	state, message            string
	held                      bool
	restarts                  int
	submitted, started, ended time.Time
	code, signal              int

	// life counts the starts: what was planned for an earlier one is void.
	life int
	// plan and ranks while assay-node runs.
	plan  *rundir.Plan
	ranks []*rank
	// ending is the state that the job will have once its processes are gone; "" while nothing ends it.
	ending string
	// told says that a signal was passed on: TERM or TimeLimit.
	told string
	// done says that every rank has ended; foreign that the plan names components of other runs.
	done, foreign bool
	// lost says that its node is gone: its processes do nothing more.
	lost bool
}

// Program is what a program does that a script names in place of assay-node.
type Program struct {
	// Takes is how long it runs, Code is its exit code.
	Takes time.Duration
	Code  int
	// IgnoreTerm makes it go on after TERM, until KILL.
	IgnoreTerm bool
}

// Program installs a program at a path. A script whose Node is any other path plays its plan.json as assay-node would.
func (c *Cluster) Program(path string, p Program) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.programs[path] = p
}

func (j *job) over() bool    { return !j.ended.IsZero() }
func (j *job) running() bool { return !j.started.IsZero() && !j.over() && j.state != "PENDING" }

// describe is the job as the batch system tells it.
func (c *Cluster) describe(j *job) slurmbridge.Job {
	skew := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Add(c.faults.skew).UTC().Truncate(time.Second)
	}
	out := slurmbridge.Job{
		ID: j.id, Key: j.key, Cluster: "sim", State: j.state, Message: j.message, Held: j.held, Restarts: j.restarts,
		Submitted: skew(j.submitted), Started: skew(j.started), Ended: skew(j.ended), ExitCode: j.code, Signal: j.signal,
	}
	out.Phase, out.Reason = meaning(j)
	if !j.started.IsZero() {
		out.Nodes = nodeList(j)
	}
	return out
}

func nodeList(j *job) string {
	if j.need == 1 {
		return "sim-" + j.id + "-0"
	}
	return fmt.Sprintf("sim-%s-[0-%d]", j.id, j.need-1)
}

func meaning(j *job) (slurmbridge.Phase, string) {
	switch j.state {
	case "PENDING":
		if j.held && j.message == launchFailed {
			return slurmbridge.Pending, "LaunchFailure"
		}
		if j.held {
			return slurmbridge.Pending, "Held"
		}
		return slurmbridge.Pending, "Queued"
	case "RUNNING":
		return slurmbridge.Running, "Running"
	case "COMPLETING":
		return slurmbridge.Running, "Finalizing"
	case "COMPLETED":
		return slurmbridge.Succeeded, "Completed"
	case "FAILED":
		return slurmbridge.Failed, "NonZeroExit"
	case "CANCELLED":
		return slurmbridge.Failed, "Cancelled"
	case "TIMEOUT":
		return slurmbridge.Failed, "TimeLimit"
	case "NODE_FAIL":
		return slurmbridge.Interrupted, "NodeFailure"
	}
	return slurmbridge.Unknown, "Unknown"
}

// schedule starts jobs in the order of their submit, as long as the next one fits.
func (c *Cluster) schedule() {
	blocked := false
	for _, j := range c.jobs {
		if j.over() || j.state != "PENDING" || j.held {
			continue
		}
		if blocked {
			j.message = "Priority"
			continue
		}
		if j.need > c.free {
			blocked, j.message = true, "Resources"
			continue
		}
		c.start(j)
	}
}

// launchFailed are the words for a job that waits because its nodes could not start it.
const launchFailed = "launch failed requeued held"

// start gives a job its nodes, unless their prolog fails: then the batch system itself holds the job.
func (c *Cluster) start(j *job) {
	if c.faults.prologs > 0 {
		c.faults.prologs--
		j.held, j.message, j.restarts = true, launchFailed, j.restarts+1
		return
	}
	if c.faults.launches > 0 {
		c.faults.launches--
		j.started = c.now
		if c.faults.launches%2 == 0 { // Slurm 22.05 writes into the job's log, later versions make none
			c.appendLinef(path.Join(path.Clean(j.script.Directory), rundir.JobLogFile), "Error running slurm prolog: %d", 1)
		}
		c.finish(j, "CANCELLED", 0)
		return
	}
	c.free -= j.need
	j.life++
	j.state, j.message, j.started, j.ending, j.told, j.lost = "RUNNING", "None", c.now, "", "", false
	c.counts.Started[j.key]++
	if limit := j.script.TimeLimit; limit > 0 {
		if notice := j.script.Notice; notice > 0 {
			c.later(j, limit-notice, func() { c.notice(j) })
		}
		c.later(j, limit, func() { c.terminate(j, "TIMEOUT") })
	}
	c.begin(j)
}

// later plans something for the present life of a job.
func (c *Cluster) later(j *job, d time.Duration, do func()) {
	life := j.life
	c.after(d, func() {
		if j.life == life && !j.over() && j.state != "PENDING" {
			do()
		}
	})
}

// finish ends a job that has processes or none.
func (c *Cluster) finish(j *job, state string, code int) {
	if j.over() {
		return
	}
	if j.running() {
		c.free += j.need
	}
	j.state, j.message, j.held, j.ended, j.code = state, "None", false, c.now, code
	if code > 128 {
		j.signal = code - 128
	}
	c.active = slices.DeleteFunc(c.active, func(a *job) bool { return a == j })
	c.schedule()
}

// cancel ends a job: at once when it waits, with TERM and KILL when it runs.
func (c *Cluster) cancel(j *job) {
	if j.over() {
		return
	}
	if !j.running() {
		c.finish(j, "CANCELLED", 0)
		return
	}
	c.terminate(j, "CANCELLED")
}

// terminate sends TERM, and KILL after the kill wait.
func (c *Cluster) terminate(j *job, state string) {
	if j.ending != "" {
		return
	}
	j.ending, j.state, j.told = state, "COMPLETING", "TERM"
	if state == "TIMEOUT" {
		j.told = rundir.ExitReasonTimeLimit
	}
	c.later(j, c.o.KillWait, func() {
		c.loseProcesses(j)
		c.finish(j, state, 128+9)
	})
	c.signalTerm(j)
}

// exit is the end of job.sh: its last file, then the job's state.
func (c *Cluster) exit(j *job, reason, message string, code int) {
	if reason != "" {
		p := path.Join(j.script.Directory, rundir.ExitFile)
		if _, there := c.files[p]; !there {
			c.writeJSON(p, rundir.Exit{Version: rundir.Version, Reason: reason, Code: code, Message: message, Time: c.now.UTC()})
		}
	}
	switch {
	case j.ending != "":
		c.finish(j, j.ending, code)
	case code == 0:
		c.finish(j, "COMPLETED", 0)
	default:
		c.finish(j, "FAILED", code)
	}
}

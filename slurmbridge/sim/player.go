package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.bench/internal/rundir"
)

// begin plays job.sh and the start of assay-node.
func (c *Cluster) begin(j *job) {
	dir := path.Clean(j.script.Directory)
	c.appendLinef(path.Join(dir, rundir.JobLogFile), "simulated job %s: nothing here was measured", j.id)
	claim := path.Join(dir, rundir.ClaimLink)
	switch owner, claimed := c.links[claim]; {
	case claimed && owner == j.id:
		c.exitSoon(j, rundir.ExitReasonRequeued, "the batch system started this job again; a measurement is never resumed", rundir.ExitRequeued)
		return
	case claimed:
		c.exitSoon(j, "", "", rundir.ExitClaimed)
		return
	}
	c.links[claim] = j.id
	c.moveCurrent(dir)
	c.counts.Worked[j.key]++
	if p, ok := c.programs[j.script.Node]; ok {
		c.run(j, p)
		return
	}
	b, ok := c.files[path.Join(dir, rundir.PlanFile)]
	if !ok {
		c.exitSoon(j, rundir.ExitReasonError, dir+" holds no "+rundir.PlanFile, rundir.ExitFailed)
		return
	}
	plan, err := rundir.ParsePlan(b)
	if _, other := errors.AsType[*rundir.VersionError](err); other {
		c.exitSoon(j, rundir.ExitReasonUnknownPlan, err.Error(), rundir.ExitUnknownPlan)
		return
	}
	if err != nil {
		c.exitSoon(j, rundir.ExitReasonError, err.Error(), rundir.ExitFailed)
		return
	}
	c.play(j, plan, b)
}

// moveCurrent lets current point to the attempt, if that is higher.
func (c *Cluster) moveCurrent(dir string) {
	link := path.Join(path.Dir(dir), rundir.CurrentLink)
	old, _ := strconv.Atoi(c.links[link]) // no link, or no number: 0
	if n, err := strconv.Atoi(path.Base(dir)); err == nil && n > old {
		c.links[link] = path.Base(dir)
	}
}

// scriptTakes is how long job.sh itself takes.
const scriptTakes = 20 * time.Millisecond

func (c *Cluster) exitSoon(j *job, reason, message string, code int) {
	c.later(j, c.scaled(scriptTakes), func() { c.exit(j, reason, message, code) })
}

// run plays a program that is not assay-node. Its length is not scaled: it stands for something that is watched.
func (c *Cluster) run(j *job, p Program) {
	c.later(j, p.Takes, func() {
		reason, message := rundir.ExitReasonEnded, ""
		if p.Code != 0 {
			reason, message = rundir.ExitReasonError, fmt.Sprintf("assay-node ended with exit code %d", p.Code)
		}
		c.exit(j, reason, message, p.Code)
	})
}

// play pulls the images of the plan and starts every component.
func (c *Cluster) play(j *job, plan *rundir.Plan, text []byte) {
	dir := path.Clean(j.script.Directory)
	j.plan = plan
	for p := range c.files {
		if strings.HasPrefix(p, path.Join(dir, rundir.SecretsDir)+"/") {
			delete(c.files, p)
		}
	}
	sum := sha256.Sum256(text)
	c.pull(j, plan.Images, func() { c.staff(j, plan, hex.EncodeToString(sum[:])) })
}

// staff starts the ranks of a job.
func (c *Cluster) staff(j *job, plan *rundir.Plan, planHash string) {
	dir := path.Clean(j.script.Directory)
	for i := range plan.Services {
		for n := range plan.Services[i].Ranks {
			c.addRank(j, plan.Services[i].Name, n, &plan.Services[i], nil, planHash)
		}
	}
	for i := range plan.Clients {
		for n := range plan.Clients[i].Ranks {
			c.addRank(j, plan.Clients[i].Name, n, nil, &plan.Clients[i], planHash)
		}
	}
	if len(j.ranks) == 0 {
		c.exitSoon(j, rundir.ExitReasonEnded, "", rundir.ExitOK)
		return
	}
	j.foreign, j.done = looksAbroad(plan), false
	c.active = append(c.active, j)
	c.controlled(dir)
	for _, r := range slices.Clone(j.ranks) {
		if r.over() {
			continue
		}
		if r.service != nil {
			c.startServer(r)
		} else {
			c.startClient(r)
		}
	}
	c.settle(j)
}

func (c *Cluster) addRank(j *job, name string, n int, s *rundir.Service, cl *rundir.Client, planHash string) {
	r := &rank{
		job: j, name: name, n: n, service: s, client: cl, dir: rundir.Rank(path.Clean(j.script.Directory), name, n),
		repeat: j.plan.Repeats.First, began: c.now, advanced: c.now, busy: c.now, closed: map[int]rundir.Exit{}, totals: map[int][]total{},
		pid: 1000 + int(draw(c.o.Seed, j.id, j.life, name, n)%30000),
	}
	j.ranks = append(j.ranks, r)
	c.ranks[r.dir] = r
	c.appendLinef(path.Join(r.dir, rundir.LogFile), "simulated rank %d of %s begins", n, name)
	c.writeJSON(path.Join(r.dir, rundir.ProvenanceFile), map[string]any{
		"version": 1, "host": r.host(), "simulated": true, "seed": c.o.Seed, "planHash": planHash,
		"image": c.usedImage(s),
	})
}

// loseProcesses stops every rank where it stands: no file of it changes any more, its heartbeat least of all.
func (c *Cluster) loseProcesses(j *job) {
	j.lost = true
	c.active = slices.DeleteFunc(c.active, func(a *job) bool { return a == j })
	for _, r := range j.ranks {
		if !r.over() && r.frozen.IsZero() {
			r.frozen = c.now
			c.after(lostAfter, func() { c.settle(j) })
		}
	}
}

// signalTerm is TERM to the job's script: assay-node ends every component and writes what there is.
func (c *Cluster) signalTerm(j *job) {
	if j.lost {
		return
	}
	if p, ok := c.programs[j.script.Node]; ok {
		if !p.IgnoreTerm {
			c.exitSoon(j, j.reasonTold(), "the job was told to end", 128+15)
		}
		return
	}
	if len(j.ranks) == 0 {
		c.exitSoon(j, j.reasonTold(), "the job was told to end while it pulled its images", rundir.ExitFailed)
		return
	}
	for _, r := range slices.Clone(j.ranks) {
		c.endRank(r, rundir.Exit{Reason: j.reasonTold(), Code: rundir.ExitFailed, Message: "ended by signal terminated", Truncated: true})
	}
	c.settle(j)
}

// reasonTold is the reason of what ends because its job does.
func (j *job) reasonTold() string {
	if j.told == rundir.ExitReasonTimeLimit {
		return rundir.ExitReasonTimeLimit
	}
	return rundir.ExitReasonStopped
}

// notice is USR1 before the time limit: the ranks know why they will be ended.
func (c *Cluster) notice(j *job) {
	if j.ending == "" {
		j.told = rundir.ExitReasonTimeLimit
	}
}

// controlled obeys the control.json of an attempt.
func (c *Cluster) controlled(dir string) {
	control, err := rundir.ParseControl(c.files[path.Join(dir, rundir.ControlFile)])
	if err != nil {
		return // a node never needs it
	}
	for _, j := range slices.Clone(c.active) {
		if path.Clean(j.script.Directory) != dir {
			continue
		}
		for _, r := range slices.Clone(j.ranks) {
			if r.sequence != control.Sequence {
				r.sequence, r.advanced = control.Sequence, c.now
			}
			r.drain = r.drain || control.Want == rundir.WantDrain
			if control.Want == rundir.WantStop {
				c.endRank(r, rundir.Exit{Reason: rundir.ExitReasonStopped, Code: r.stopCode(), Message: "control.json asked to stop", Truncated: true})
			}
		}
		c.settle(j)
	}
}

// settle lets every rank of a job's run look at the others, until nobody has anything to do.
func (c *Cluster) settle(of *job) {
	for changed := true; changed; {
		changed = false
		for _, j := range slices.Clone(c.active) {
			if !j.foreign && j.plan.RunDirectory != of.plan.RunDirectory {
				continue
			}
			for _, r := range slices.Clone(j.ranks) {
				if !r.over() && r.frozen.IsZero() && c.look(r) {
					changed = true
				}
			}
			changed = c.finishIfDone(j) || changed
		}
	}
}

// look lets a rank act on what the others did; it tells whether it acted.
func (c *Cluster) look(r *rank) bool {
	if r.service != nil {
		return c.lookAsService(r)
	}
	return c.lookAsClient(r)
}

// looksAbroad says that a plan names components of other runs.
func looksAbroad(p *rundir.Plan) bool {
	return slices.ContainsFunc(slices.Concat(p.AllServices, p.AllClients), func(comp rundir.Component) bool {
		return comp.Job != "" && path.Dir(path.Clean(comp.Job)) != path.Clean(p.RunDirectory)
	})
}

// finishIfDone ends a job whose ranks have all ended.
func (c *Cluster) finishIfDone(j *job) bool {
	if len(j.ranks) == 0 || j.done || slices.ContainsFunc(j.ranks, func(r *rank) bool { return !r.over() }) {
		return false
	}
	j.done = true
	reason, message, code := rundir.ExitReasonEnded, "", rundir.ExitOK
	var failed []string
	for _, r := range j.ranks {
		if r.exit.Code != rundir.ExitOK {
			code = rundir.ExitFailed
			failed = append(failed, fmt.Sprintf("%s/%d: %s", r.name, r.n, r.exit.Reason))
		}
	}
	if code != rundir.ExitOK {
		reason, message = rundir.ExitReasonError, strings.Join(failed, ", ")
		if j.told != "" && j.ending != "" {
			reason = j.reasonTold()
		}
	}
	c.exitSoon(j, reason, message, code)
	return true
}

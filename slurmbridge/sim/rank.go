package sim

import (
	"path"
	"path/filepath"
	"slices"
	"time"

	"assay.bench/internal/rundir"
)

// lostAfter is how long a heartbeat may stand still before others act.
const lostAfter = 60 * time.Second

// rank is one running instance of a component.
type rank struct {
	job     *job
	name    string
	n       int
	service *rundir.Service // one of these
	client  *rundir.Client
	dir     string
	pid     int

	phase, reason, message string
	repeat                 int
	ready                  bool
	t0                     time.Time
	serverPID              int
	// began is when the rank started; writes counts the changes of its status.
	began  time.Time
	writes int64
	// frozen is when its node was lost.
	frozen time.Time
	// life voids what was planned before the rank changed its mind.
	life   int
	closed map[int]rundir.Exit
	// totals are what a client counted in each repeat.
	totals map[int][]total
	exit   *rundir.Exit

	// sequence of control.json and when it advanced; drain once it asked for that.
	sequence int64
	advanced time.Time
	drain    bool
	// busy is when a client last used a service; checking says that its idle check is planned; kept that it has made all
	// repeats.
	busy     time.Time
	checking bool
	kept     bool
}

func (r *rank) over() bool { return r.exit != nil }

func (r *rank) host() string { return "sim-" + r.job.id + "-0" }

// planned runs something in the rank's own time, unless the rank has turned to something else since.
func (c *Cluster) planned(r *rank, d time.Duration, do func()) {
	r.life++
	life := r.life
	c.later(r.job, d, func() {
		if r.life == life && !r.over() && r.frozen.IsZero() {
			do()
			c.settle(r.job)
		}
	})
}

func (r *rank) turn(phase string) {
	r.phase = phase
	r.writes++
}

// beats is how often a rank writes its status: as assay-node does.
func (r *rank) beats() time.Duration {
	if r.service != nil && r.phase == rundir.PhaseReady {
		return 10 * time.Second
	}
	return 2 * time.Second
}

// statusOf is status.json as the rank would have written it last.
func (c *Cluster) statusOf(r *rank) rundir.Status {
	now := c.now
	if !r.frozen.IsZero() {
		now = r.frozen
	}
	beats := int64(now.Sub(r.began) / r.beats())
	if r.over() {
		now, beats = r.exit.Time, int64(r.exit.Time.Sub(r.began)/(2*time.Second))
	}
	s := rundir.Status{
		Version: rundir.Version, Heartbeat: r.writes*1000 + beats, Phase: r.phase, Reason: r.reason, Message: r.message,
		Repeat: r.repeat, Ready: r.ready, Host: r.host(), PID: r.pid, ServerPID: r.serverPID, Time: now.UTC().Truncate(time.Second),
	}
	if !r.t0.IsZero() {
		s.T0 = r.t0.UnixNano()
	}
	if r.service != nil {
		c.describeService(r, &s, now)
	} else {
		c.describeClient(r, &s, now)
	}
	return s
}

func (c *Cluster) describeService(r *rank, s *rundir.Status, now time.Time) {
	if r.ready && r.service.Leads(r.n) {
		s.Endpoint = &rundir.Endpoint{
			Host: r.host(), Ports: map[string]int{}, Protocol: r.service.Protocol, Model: r.service.Model,
			Authenticated: r.service.Authenticated,
		}
		for i, p := range r.service.Ports {
			number := p.Number
			if number == 0 {
				number = 20000 + int(draw(c.o.Seed, r.dir, r.repeat, i)%20000)
			}
			s.Endpoint.Ports[p.Name] = number
			if i == 0 {
				s.Endpoint.Port = number
			}
		}
	}
	if scrapes := r.scrapes(); len(scrapes) > 0 {
		due := int64(c.unscaled(now.Sub(r.began))/time.Second) * int64(len(scrapes))
		s.Scrapes = &rundir.Scrapes{Due: due, Good: due}
	}
}

// scrapes are the targets that the rank has.
func (r *rank) scrapes() []rundir.Scrape {
	return slices.DeleteFunc(slices.Clone(r.service.Scrapes), func(s rundir.Scrape) bool { return s.Leader && !r.service.Leads(r.n) })
}

func (c *Cluster) describeClient(r *rank, s *rundir.Status, now time.Time) {
	switch r.phase {
	case rundir.PhaseWarmup, rundir.PhaseMeasuring, rundir.PhaseCooldown, rundir.PhaseDraining:
	default:
		return
	}
	// As of the last beat, so that the file changes when assay-node's would.
	elapsed := c.unscaled(now.Sub(r.t0).Truncate(r.beats()))
	total := r.client.Warmup.D() + r.client.Duration.D() + r.client.Cooldown.D()
	rate := c.rateOf(r)
	s.Live = &rundir.Live{
		Rate: rate, P99: 0.5, Requests: int64(rate * elapsed.Seconds()), Elapsed: elapsed.Seconds(), Total: total.Seconds(),
	}
}

// unscaled is the length in the plan's time.
func (c *Cluster) unscaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.o.Speed)
}

// endRank ends a rank, and the repeat that it is in.
func (c *Cluster) endRank(r *rank, e rundir.Exit) {
	if r.over() || !r.frozen.IsZero() {
		return
	}
	e.Truncated = e.Truncated && r.loads()
	if _, done := r.closed[r.repeat]; !done {
		c.closeRepeat(r, e)
	}
	e.Version, e.Time = rundir.Version, c.now.UTC()
	r.exit, r.ready, r.serverPID = &e, false, 0
	r.life++
	r.reason, r.message = e.Reason, e.Message
	r.turn(rundir.PhaseEnded)
	if e.Code != rundir.ExitOK {
		r.phase = rundir.PhaseFailed
	}
	c.writeJSON(path.Join(r.dir, rundir.ExitFile), e)
	c.appendLinef(path.Join(r.dir, rundir.LogFile), "%s %s", e.Reason, e.Message)
}

// closeRepeat writes what a rank leaves of the present repeat.
func (c *Cluster) closeRepeat(r *rank, e rundir.Exit) {
	dir := rundir.Repeat(r.dir, r.repeat)
	if r.service != nil {
		c.writeJSON(path.Join(dir, rundir.CountersFile), c.countersOf(r))
	} else if !r.t0.IsZero() && !c.now.Before(r.t0) {
		c.files[path.Join(dir, rundir.ResultFile)] = c.resultOf(r, e)
	}
	e.Version, e.Time = rundir.Version, c.now.UTC()
	r.closed[r.repeat] = e
	c.writeJSON(path.Join(dir, rundir.ExitFile), e)
}

// components of the whole run, this job's when the plan lists no others.
func (j *job) services() []rundir.Component {
	if len(j.plan.AllServices) > 0 {
		return slices.Clone(j.plan.AllServices)
	}
	var out []rundir.Component
	for _, s := range j.plan.Services {
		out = append(out, rundir.Component{Name: s.Name, Ranks: s.Ranks, Group: s.Group})
	}
	return out
}

func (j *job) clients() []rundir.Component {
	if len(j.plan.AllClients) > 0 {
		return j.plan.AllClients
	}
	var out []rundir.Component
	for _, s := range j.plan.Clients {
		out = append(out, rundir.Component{Name: s.Name, Ranks: s.Ranks})
	}
	return out
}

// dirOf is the folder of a rank of the run, in this job or in another.
func (c *Cluster) dirOf(j *job, comp rundir.Component, n int) string {
	attempt := path.Clean(j.script.Directory)
	if comp.Job != "" {
		attempt = c.resolve(filepath.Join(comp.Job, rundir.CurrentLink))
	}
	return rundir.Rank(attempt, comp.Name, n)
}

func (j *job) lastRepeat() int { return j.plan.Repeats.First + j.plan.Repeats.Count - 1 }

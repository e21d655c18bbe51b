package sim

import (
	"maps"
	"path"
	"time"

	"assay.bench/slurmbridge"
)

type faultState struct {
	outage                                   bool
	loseReplies, truncate, prologs, launches int
	skew                                     time.Duration
	noise                                    bool
	reuse                                    string
}

// Outage makes every call fail until it is lifted. The cluster goes on.
func (c *Cluster) Outage(on bool) { c.change(func(f *faultState) { f.outage = on }) }

// LoseReplies lets the next n submits in and loses the answers.
func (c *Cluster) LoseReplies(n int) { c.change(func(f *faultState) { f.loseReplies = n }) }

// Truncate cuts the next n answers to List and Find.
func (c *Cluster) Truncate(n int) { c.change(func(f *faultState) { f.truncate = n }) }

// Noise makes the site's commands print to standard error beside their answers.
func (c *Cluster) Noise(on bool) { c.change(func(f *faultState) { f.noise = on }) }

// SkewClock sets the batch system's clock off by d.
func (c *Cluster) SkewClock(d time.Duration) { c.change(func(f *faultState) { f.skew = d }) }

// FailPrologs lets the prolog of the next n starts fail: the batch system requeues and holds these jobs.
func (c *Cluster) FailPrologs(n int) { c.change(func(f *faultState) { f.prologs = n }) }

// FailLaunches lets the prolog of the next n starts fail as it does for jobs that may not be requeued: the batch system
// cancels these jobs, and says not by whom.
func (c *Cluster) FailLaunches(n int) { c.change(func(f *faultState) { f.launches = n }) }

func (c *Cluster) change(f func(*faultState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	f(&c.faults)
}

// Purge makes the batch system forget every ended job.
func (c *Cluster) Purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	c.drop((*job).over)
}

// Vanish makes the batch system forget a job that still runs; its processes go on.
func (c *Cluster) Vanish(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	c.drop(func(j *job) bool { return j.id == id })
}

// detect is how long the batch system takes to see that a node is gone.
const detect = 5 * time.Second

// LoseNode takes the nodes of a running job away: its processes are gone at once, the batch system says so later.
func (c *Cluster) LoseNode(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	j := c.byID[id]
	if j == nil || !j.running() {
		return
	}
	c.loseProcesses(j)
	c.later(j, c.scaled(detect), func() { c.finish(j, "NODE_FAIL", 0) })
}

// Requeue loses the processes of a running job and starts the same job again, as the batch system does after a node
// failure when it may.
func (c *Cluster) Requeue(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	j := c.byID[id]
	if j == nil || !j.running() {
		return
	}
	c.loseProcesses(j)
	c.free += j.need
	j.state, j.message, j.started = "PENDING", "BeginTime", time.Time{}
	j.restarts++
	j.life++
	life := j.life
	c.after(c.scaled(detect), func() {
		if j.life == life {
			c.schedule()
		}
	})
}

// FailComponent lets every rank of a component that starts from now on end with a reason of package rundir, such as
// ReadinessTimeout. An empty reason ends this.
func (c *Cluster) FailComponent(component, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	c.fail[component] = reason
}

// Counts is what a cluster was asked and did since New.
type Counts struct {
	// Calls by verb.
	List, Find, Past, Submit, Release, Cancel, Read, Write, Open int64
	// Submits that were accepted, by key.
	Submits map[slurmbridge.Key]int
	// Started counts the starts of jobs by key, Worked those that made the claim and began to work.
	Started, Worked map[slurmbridge.Key]int
	// Pulls counts the images that were put into the store.
	Pulls int
}

func newCounts() Counts {
	return Counts{Submits: map[slurmbridge.Key]int{}, Started: map[slurmbridge.Key]int{}, Worked: map[slurmbridge.Key]int{}}
}

// Counts returns a copy of the counts so far.
func (c *Cluster) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	out := c.counts
	out.Submits, out.Started, out.Worked = maps.Clone(out.Submits), maps.Clone(out.Started), maps.Clone(out.Worked)
	return out
}

// Link returns the target of a claim or current.
func (c *Cluster) Link(p string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	target, ok := c.links[path.Clean(p)]
	return target, ok
}

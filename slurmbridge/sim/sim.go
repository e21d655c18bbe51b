// Package sim is a batch system in memory, for tests and for trying recipes out: a cluster with a queue, and the node
// side of every job that runs on it. Nothing is measured; the numbers in its results are seeded inventions.
//
// Time passes by Options.Now. There is no goroutine: every call first plays what was due until then, in order. What a
// job has seen depends on the seed and on the times of the calls alone.
package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"assay.bench/slurmbridge"
)

// Options of a cluster. All may be zero.
type Options struct {
	// Seed of everything that is random.
	Seed uint64
	// Nodes of the cluster; 0 takes 16.
	Nodes int
	// Speed divides the lengths of what nodes do by themselves: starting, phases of a load, stopping. Time limits, idle
	// timeouts and heartbeats stay as they are, for they watch others. 0 takes 1.
	Speed float64
	// KillWait is the time between TERM and KILL; 0 takes 10 s.
	KillWait time.Duration
	// Remember is how long an ended job is listed; 0 takes 1 h.
	Remember time.Duration
	// Accounts says that the cluster keeps accounts of its jobs, which Past reads.
	Accounts bool
	// Now is the clock; nil takes time.Now.
	Now func() time.Time
}

// Cluster is a simulated cluster with its shared file system. Site opens a door to it.
type Cluster struct {
	o Options

	mu    sync.Mutex
	queue events
	now   time.Time // of the event that is played, or of the call
	jobs  []*job    // in the order of their submit
	// forgotten are those that only the accounts know.
	forgotten []*job
	byID      map[string]*job
	active    []*job // with ranks that may act
	free      int
	lastID    int
	files     map[string][]byte
	// links are claims and currents: path to target.
	links map[string]string
	// ranks by their folder, to see each other.
	ranks    map[string]*rank
	programs map[string]Program
	fail     map[string]string
	faults   faultState
	counts   Counts
	cache    map[histKey]histSet
}

// New makes an empty cluster.
func New(o Options) *Cluster {
	o.Nodes = cmp.Or(o.Nodes, 16)
	o.Speed = cmp.Or(o.Speed, 1)
	o.KillWait = cmp.Or(o.KillWait, 10*time.Second)
	o.Remember = cmp.Or(o.Remember, time.Hour)
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the clock of a cluster that nobody gave one
	}
	return &Cluster{
		o: o, free: o.Nodes, lastID: 1000,
		byID: map[string]*job{}, files: map[string][]byte{}, links: map[string]string{},
		ranks: map[string]*rank{}, programs: map[string]Program{}, fail: map[string]string{},
		counts: newCounts(), cache: map[histKey]histSet{},
	}
}

// Site is a control plane's door to a cluster. It implements slurmbridge.Jobs, Accountant, Files and Prober.
type Site struct {
	c      *Cluster
	origin string
}

// Site opens the door for the control plane of an origin.
func (c *Cluster) Site(origin string) *Site {
	return &Site{c: c, origin: slurmbridge.Origin8(origin)}
}

// Cluster is the cluster behind the door.
func (s *Site) Cluster() *Cluster { return s.c }

// enter begins a call: it plays what is due and tells whether the site answers.
func (c *Cluster) enter(ctx context.Context, counter *int64) error {
	c.advance(c.o.Now())
	*counter++
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
	}
	if c.faults.outage {
		return fmt.Errorf("%w: connection refused", slurmbridge.ErrUnreachable)
	}
	return nil
}

// List returns the jobs of this origin, oldest first.
func (s *Site) List(ctx context.Context) ([]slurmbridge.Job, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.List); err != nil {
		return nil, err
	}
	return c.answer(func(j *job) bool { return j.key.Origin() == s.origin })
}

// Find returns the jobs of this origin under the keys, oldest first.
func (s *Site) Find(ctx context.Context, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.Find); err != nil {
		return nil, err
	}
	return c.answer(func(j *job) bool { return j.key.Origin() == s.origin && slices.Contains(keys, j.key) })
}

// answer lists the remembered jobs that match, over the wire.
func (c *Cluster) answer(match func(*job) bool) ([]slurmbridge.Job, error) {
	var out []slurmbridge.Job
	for _, j := range c.jobs {
		if match(j) {
			out = append(out, c.describe(j))
		}
	}
	return c.print(out).parse()
}

// Submit takes a job, held.
func (s *Site) Submit(ctx context.Context, key slurmbridge.Key, script slurmbridge.Script) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.Submit); err != nil {
		return err
	}
	if _, err := script.Render(key); err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrRefused, err)
	}
	if key.Origin() != s.origin {
		return fmt.Errorf("%w: key %s is not of origin %s", slurmbridge.ErrRefused, key, s.origin)
	}
	if n := nodesOf(script); n > c.o.Nodes {
		return fmt.Errorf("%w: %d nodes of %d: Requested node configuration is not available", slurmbridge.ErrRefused, n, c.o.Nodes)
	}
	j := &job{
		id: c.nextID(), key: key, script: script, need: nodesOf(script),
		state: "PENDING", held: true, message: "JobHeldUser", submitted: c.now,
	}
	c.jobs = append(c.jobs, j)
	c.byID[j.id] = j
	c.counts.Submits[key]++
	if c.faults.loseReplies > 0 {
		c.faults.loseReplies--
		return fmt.Errorf("%w: Socket timed out on send/recv operation", slurmbridge.ErrUnreachable)
	}
	return nil
}

func (c *Cluster) nextID() string {
	if id := c.faults.reuse; id != "" {
		c.faults.reuse = ""
		return id
	}
	c.lastID++
	return strconv.Itoa(c.lastID)
}

func nodesOf(s slurmbridge.Script) int {
	n := 0
	for _, p := range s.Parts {
		n += max(1, p.Nodes)
	}
	return n
}

// Release lets a held job into the queue.
func (s *Site) Release(ctx context.Context, id string) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.Release); err != nil {
		return err
	}
	if j := c.byID[id]; j != nil && j.key.Origin() == s.origin && j.held {
		j.held, j.message = false, "Priority"
		c.schedule()
	}
	return nil
}

// Cancel ends a job.
func (s *Site) Cancel(ctx context.Context, id string) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.Cancel); err != nil {
		return err
	}
	if j := c.byID[id]; j != nil && j.key.Origin() == s.origin {
		c.cancel(j)
	}
	return nil
}

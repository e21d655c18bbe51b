package node

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"assay.bench/internal/rundir"
)

// DefaultLostAfter is how long a rank's heartbeat may stand still.
const DefaultLostAfter = 60 * time.Second

// peer is another rank, seen through its files. Times are those of this process's monotonic clock.
type peer struct {
	name string
	rank int
	dir  string
	// leads says that it is the rank of a server that clients talk to.
	leads bool
	// status is the newest one that could be read; nil before the first.
	status *rundir.Status
	// changed is when its heartbeat last advanced.
	changed time.Time
}

// peersOf lists the ranks of components.
func peersOf(j *job, cs []rundir.Component) []*peer {
	var out []*peer
	for _, c := range cs {
		for rank := range c.Ranks {
			out = append(out, &peer{name: c.Name, rank: rank, dir: j.rankDir(c, rank), leads: c.Leads(rank)})
		}
	}
	return out
}

// look reads the status. What is missing or cannot be read changes nothing.
func (p *peer) look(now time.Time) {
	b, err := os.ReadFile(filepath.Join(p.dir, rundir.StatusFile))
	if err != nil {
		return
	}
	s, err := rundir.ParseStatus(b)
	if err != nil {
		return
	}
	// The folder may lead to a newer attempt whose heartbeat begins anew: any change counts.
	if p.status == nil || s.Heartbeat != p.status.Heartbeat || s.PID != p.status.PID {
		p.changed = now
	}
	p.status = s
}

// over says that the rank has ended, as planned or not.
func (p *peer) over() bool {
	return p.status != nil && (p.status.Phase == rundir.PhaseEnded || p.status.Phase == rundir.PhaseFailed)
}

// lost says that the rank lived once and its heartbeat stands still.
func (p *peer) lost(now time.Time, after time.Duration) bool {
	return p.status != nil && !p.over() && now.Sub(p.changed) > after
}

// leaving says that a client ends a repeat early: it removes what it stored, and then it is over.
func (p *peer) leaving(repeat int) bool {
	return p.status != nil && p.status.Phase == rundir.PhaseCleaning && p.status.Reason != "" && p.status.Repeat == repeat
}

// fate is the reason of a rank that cannot go on without this one: what a whole run was told is no loss of one rank, and
// each rank may learn of it first.
func (p *peer) fate(lost string) string {
	if p.status.Reason == rundir.ExitReasonStopped || p.status.Reason == rundir.ExitReasonTimeLimit {
		return p.status.Reason
	}
	return lost
}

// measures says that a client is between its T0 and the end of its load.
func (p *peer) measures() bool {
	return p.loads() && p.status.Phase != rundir.PhasePreparing && p.status.Phase != rundir.PhaseCleaning
}

// loads says that a client uses its service: it is between its T0 and the end of its load, or stores or removes objects.
func (p *peer) loads() bool {
	if p.status == nil {
		return false
	}
	switch p.status.Phase {
	case rundir.PhaseWarmup, rundir.PhaseMeasuring, rundir.PhaseCooldown, rundir.PhaseDraining,
		rundir.PhasePreparing, rundir.PhaseCleaning:
		return true
	}
	return false
}

// closed returns the exit of a repeat, or nil when there is none yet.
func (p *peer) closed(repeat int) *rundir.Exit {
	b, err := os.ReadFile(filepath.Join(rundir.Repeat(p.dir, repeat), rundir.ExitFile))
	if err != nil {
		return nil
	}
	e, err := rundir.ParseExit(b)
	if err != nil {
		return nil
	}
	return e
}

// control follows control.json. It is never needed: what cannot be read changes nothing.
type control struct {
	path string

	mu       sync.Mutex
	want     string
	sequence int64
	advanced time.Time
}

// controlEvery is how often control.json is read.
const controlEvery = 2 * time.Second

func newControl(dir string, now time.Time) *control {
	return &control{path: filepath.Join(dir, rundir.ControlFile), want: rundir.WantRun, advanced: now}
}

// look reads the file and returns what is wanted now.
func (c *control) look(now time.Time) string {
	b, err := os.ReadFile(c.path)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return c.want
	}
	got, err := rundir.ParseControl(b)
	if err != nil {
		return c.want
	}
	if got.Sequence != c.sequence {
		c.sequence, c.advanced = got.Sequence, now
	}
	c.want = got.Want
	return c.want
}

// idle is how long the sequence has stood still.
func (c *control) idle(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.advanced)
}

// ticks are the instants to look at something, until ctx ends.
func ticks(ctx context.Context, every time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				if !yield(now) {
					return
				}
			}
		}
	}
}

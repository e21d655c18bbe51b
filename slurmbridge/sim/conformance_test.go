package sim_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/sim"
)

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestTransport(t *testing.T) {
	left := map[string]string{"dial": "there is nobody to connect to"}
	conformance.Run(t, left, func(t *testing.T) conformance.Harness {
		const origin = "0123abcd"
		clock := newClock()
		c := sim.New(sim.Options{Seed: 1, Now: clock.Now, Accounts: true})
		site, programs := c.Site(origin), 0
		return conformance.Harness{
			Jobs: site, Files: site, Origin: origin, WorkDir: "/work",
			Program: func(_ *testing.T, p conformance.Program) string {
				programs++
				name := fmt.Sprintf("/bin/program%d", programs)
				c.Program(name, sim.Program{Takes: p.Takes, Code: p.Code, IgnoreTerm: p.IgnoreTerm})
				return name
			},
			Reopen:      func(*testing.T) slurmbridge.Jobs { return c.Site(origin) },
			Other:       func(_ *testing.T, origin string) slurmbridge.Jobs { return c.Site(origin) },
			BadWorkDirs: func(*testing.T) map[string]string { return nil }, // all of its file system is ours
			Step:        func() { clock.Move(20 * time.Millisecond) },
			ShortLimit:  10 * time.Second,
			Many:        10_000,
			Faults: conformance.Faults{
				LoseReply: func() { c.LoseReplies(1) }, Noise: c.Noise, Truncate: func() { c.Truncate(1) }, Purge: func(string) { c.Purge() },
				Outage: c.Outage, SkewClock: c.SkewClock, LoseNode: c.LoseNode, Requeue: c.Requeue, FailProlog: func(string) { c.FailPrologs(1) },
			},
		}
	})
}

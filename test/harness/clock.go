package harness

import (
	"sync"
	"time"
)

// Clock is the time of a World's cluster: real time, that a test may hold and move forward.
type Clock struct {
	mu   sync.Mutex
	lead time.Duration
	held time.Time
}

// Now is the cluster's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Time {
	if !c.held.IsZero() {
		return c.held
	}
	return time.Now().Add(c.lead)
}

// Hold stops the clock: whatever the cluster does by itself stands still.
func (c *Clock) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = c.now()
}

// Go lets the clock run again, from where it stands.
func (c *Clock) Go() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held.IsZero() {
		c.lead, c.held = time.Until(c.held), time.Time{}
	}
}

// Advance moves the clock forward at once, whether or not it is held.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lead += d
	if !c.held.IsZero() {
		c.held = c.held.Add(d)
	}
}

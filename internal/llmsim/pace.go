package llmsim

import (
	"context"
	"sync"
	"time"
)

// slowdown is the factor on all latencies when running of limit prompts are answered at once, given that at full load.
func slowdown(full float64, running, limit int) float64 {
	if limit <= 1 {
		return full
	}
	return 1 + (full-1)*float64(running-1)/float64(limit-1)
}

func scale(d time.Duration, factor float64) time.Duration { return time.Duration(float64(d) * factor) }

// stall is the one time in which no answer leaves.
type stall struct {
	Stall
	once     sync.Once
	from, to time.Time
}

// begin tells that a request has come. The first one fixes the times of the stall.
func (s *stall) begin(now time.Time) {
	s.once.Do(func() { s.from, s.to = now.Add(s.After), now.Add(s.After+s.Length) })
}

// shift returns when something that is due at t leaves. Only after begin.
func (s *stall) shift(t time.Time) time.Time {
	if t.Before(s.from) || !t.Before(s.to) {
		return t
	}
	return s.to
}

// pauser waits for instants, one after the other.
type pauser struct {
	stall *stall
	timer *time.Timer
}

func newPauser(s *stall) *pauser {
	p := &pauser{stall: s, timer: time.NewTimer(time.Hour)}
	p.timer.Stop()
	return p
}

// until returns at t, or after the stall when t lies in it, or early with the cause when ctx ends.
func (p *pauser) until(ctx context.Context, t time.Time) error {
	for {
		// The present is what counts for the stall: a token may be due just before it and get here just after its start.
		now := time.Now()
		if !now.Before(t) {
			t = p.stall.shift(now)
		}
		if !now.Before(t) {
			return context.Cause(ctx)
		}
		p.timer.Reset(t.Sub(now))
		select {
		case <-ctx.Done():
			p.timer.Stop()
			return context.Cause(ctx)
		case <-p.timer.C:
		}
	}
}

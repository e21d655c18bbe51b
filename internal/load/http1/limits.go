package http1

import (
	"math"
	"time"

	"assay.bench/internal/load"
)

// Limits are the instants at which an attempt has taken too long; Never for none.
type Limits struct {
	// First content, and the end.
	First, Total int64
	// Idle is the longest time between two pieces of content, a length.
	Idle int64

	last int64 // the last content; 0 before the first
}

// Never is the instant of a limit that is not set.
const Never = math.MaxInt64

// Timeouts are lengths that run from the instant at which an attempt was sent, Idle from the last content; 0 for none.
type Timeouts struct{ First, Idle, Total time.Duration }

// From gives the limits of an attempt that is sent at an instant.
func (t Timeouts) From(sent int64) Limits {
	l := Limits{First: after(sent, t.First), Total: after(sent, t.Total), Idle: Never}
	if t.Idle > 0 {
		l.Idle = int64(t.Idle)
	}
	return l
}

func after(at int64, d time.Duration) int64 {
	if d <= 0 {
		return Never
	}
	return at + int64(d)
}

// Due is the instant at which the attempt fails if nothing more comes.
func (l *Limits) Due() int64 {
	if l.last == 0 {
		return min(l.First, l.Total)
	}
	if l.Idle == Never {
		return l.Total
	}
	return min(l.last+l.Idle, l.Total)
}

// Kind is the failure of an attempt for which nothing more came by its due instant.
func (l *Limits) Kind() load.Kind {
	switch {
	case l.Due() == l.Total:
		return load.TimeoutTotal
	case l.last == 0:
		return load.TimeoutFirst
	}
	return load.TimeoutIdle
}

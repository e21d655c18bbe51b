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

	first   int64 // the length of First
	last    int64 // the last content; 0 before the first
	sending int64 // the last piece of a long request that was taken; 0 when none is being sent
}

// Never is the instant of a limit that is not set.
const Never = math.MaxInt64

// Timeouts are lengths that run from the instant at which an attempt was sent, Idle from the last content; 0 for none. While
// a long request is sent piece by piece, Idle runs from the last piece and First not at all.
type Timeouts struct{ First, Idle, Total time.Duration }

// From gives the limits of an attempt that is sent at an instant.
func (t Timeouts) From(sent int64) Limits {
	l := Limits{First: after(sent, t.First), Total: after(sent, t.Total), Idle: Never, first: int64(t.First)}
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

// Await lets the wait for the first content begin at an instant: only now is the request ready, or sent whole.
func (l *Limits) Await(at int64) { l.First, l.sending = after(at, time.Duration(l.first)), 0 }

// Due is the instant at which the attempt fails if nothing more comes, or nothing more is taken.
func (l *Limits) Due() int64 {
	since := max(l.last, l.sending)
	if since == 0 {
		return min(l.First, l.Total)
	}
	if l.Idle == Never {
		return l.Total
	}
	return min(since+l.Idle, l.Total)
}

// Kind is the failure of an attempt for which nothing more came, or was taken, by its due instant.
func (l *Limits) Kind() load.Kind {
	switch {
	case l.Due() == l.Total:
		return load.TimeoutTotal
	case l.last == 0 && l.sending == 0:
		return load.TimeoutFirst
	}
	return load.TimeoutIdle
}

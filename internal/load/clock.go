package load

import "time"

// Clock tells and waits for instants in nanoseconds on one monotonic timeline. It is safe for concurrent use.
type Clock interface {
	Now() int64
	// WaitUntil returns true at the instant t, at once if t is past, and false as soon as stop is closed.
	WaitUntil(t int64, stop <-chan struct{}) bool
	// Deadline is the instant t as the net package takes it.
	Deadline(t int64) time.Time
}

// TimerClock is a Clock on Go's own timers: about a millisecond late on a real machine, exact in a synctest bubble. It is
// made at the instant of one second.
type TimerClock struct{ base time.Time }

// NewTimerClock starts a TimerClock.
func NewTimerClock() TimerClock { return TimerClock{base: time.Now()} }

// Now is one second more than the time since the clock was made: 0 is no instant.
func (c TimerClock) Now() int64 { return int64(time.Second + time.Since(c.base)) }

// Deadline is the instant t with a monotonic reading.
func (c TimerClock) Deadline(t int64) time.Time { return c.base.Add(time.Duration(t) - time.Second) }

// WaitUntil waits on a timer.
func (c TimerClock) WaitUntil(t int64, stop <-chan struct{}) bool {
	if closed(stop) {
		return false
	}
	wait := t - c.Now()
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(time.Duration(wait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

//go:build !linux

package load

// SystemClock is Go's monotonic clock where there is no timerfd. Its stamps mean nothing to another process.
type SystemClock struct{ TimerClock }

// NewClock starts a SystemClock; Close ends it.
func NewClock() (*SystemClock, error) { return &SystemClock{NewTimerClock()}, nil }

// Close does nothing.
func (*SystemClock) Close() error { return nil }

package load

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func systemClock(tb testing.TB) *SystemClock {
	tb.Helper()
	clock, err := NewClock()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := clock.Close(); err != nil {
			tb.Error(err)
		}
	})
	return clock
}

func monotonic(tb testing.TB) int64 {
	tb.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		tb.Fatal(err)
	}
	return ts.Nano()
}

// A stamp lies between two readings of CLOCK_MONOTONIC around it, but for the error of the calibration.
func TestSystemClockIsMonotonic(t *testing.T) {
	const exact = int64(2 * time.Microsecond)
	clock := systemClock(t)
	for range 1000 {
		before := monotonic(t)
		now := clock.Now()
		after := monotonic(t)
		if now < before-exact || now > after+exact {
			t.Fatalf("the clock says %d between %d and %d", now, before, after)
		}
	}
	if at := clock.Now() + int64(time.Hour); time.Until(clock.Deadline(at)).Round(time.Minute) != time.Hour {
		t.Errorf("the deadline in an hour is in %v", time.Until(clock.Deadline(at)))
	}
}

func TestSystemClockWaits(t *testing.T) {
	clock := systemClock(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for k := range 5 {
				at := clock.Now() + int64((i*7+k*13)%40)*int64(time.Millisecond)/4
				if !clock.WaitUntil(at, nil) {
					t.Error("a wait without stop was stopped")
				}
				if now := clock.Now(); now < at {
					t.Errorf("woken %v early", time.Duration(at-now))
				}
			}
		})
	}
	wg.Wait()
	if len(clock.waiting) != 0 {
		t.Errorf("%d waiters are left", len(clock.waiting))
	}
}

func TestSystemClockStops(t *testing.T) {
	clock := systemClock(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if clock.WaitUntil(clock.Now()+int64(time.Hour), stop) {
				t.Error("a stopped wait says that its instant came")
			}
		})
	}
	for clock.lenWaiting() < 20 {
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
	if clock.WaitUntil(clock.Now()-1, stop) {
		t.Error("after stop nothing is waited for, not even the past")
	}
	if n := clock.lenWaiting(); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
}

func (c *SystemClock) lenWaiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// The audit of a real process finds its threads, and calls it sound when it did nothing.
func TestAuditOfThisProcess(t *testing.T) {
	a := newAuditor(os.DirFS("/"), Limits{})
	a.begin(0)
	a.look(int64(time.Hour))
	if a.failure != nil {
		t.Fatal(a.failure)
	}
	if len(a.threads) == 0 {
		t.Error("no threads")
	}
}

// BenchmarkSendLag compares the send lag of an open loop at 2,000/s with the lag of a bare absolute-deadline timer.
func BenchmarkSendLag(b *testing.B) {
	const rate, length = 2000, 2 * time.Second
	clock := systemClock(b)
	for b.Loop() {
		bare := bareLag(b, rate, length)
		s := &server{clock: clock, serve: func(context.Context, *Op) {}}
		r, err := New(Options{Ranks: 1, Clock: clock, Root: machine(), Lengths: Lengths{Measure: length},
			Open: &OpenLoop{Rate: rate, Arrival: Constant, MaxInFlight: 64}}, s)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		if got, want := len(s.seen), rate*int(length/time.Second); got != want {
			b.Fatalf("%d requests of %d", got, want)
		}
		lag := &r.recorder.lag
		b.ReportMetric(float64(bare[len(bare)/2])/1e3, "bare-p50-µs")
		b.ReportMetric(float64(bare[len(bare)*99/100])/1e3, "bare-p99-µs")
		b.ReportMetric(float64(lag.quantile(0.5))/1e3, "p50-µs")
		b.ReportMetric(float64(lag.quantile(0.99))/1e3, "p99-µs")
	}
}

// bareLag is how late clock_nanosleep with absolute deadlines wakes a thread that does nothing else, in ascending order.
func bareLag(tb testing.TB, rate int, length time.Duration) []int64 {
	tb.Helper()
	lags := make(chan []int64)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		list := make([]int64, rate*int(length/time.Second))
		start := monotonic(tb)
		for i := range list {
			at := start + int64(i+1)*int64(time.Second)/int64(rate)
			ts := unix.NsecToTimespec(at)
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
			list[i] = monotonic(tb) - at
		}
		lags <- list
	}()
	list := <-lags
	slices.Sort(list)
	return list
}

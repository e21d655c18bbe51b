package load

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOpenLoopSendsEverySlotAtItsInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Open = &OpenLoop{Rate: 100, Arrival: Poisson, MaxInFlight: 50}
		o.Start = clock.Now() + int64(3*time.Second)
		s := &server{clock: clock, serve: takes(clock, 20*time.Millisecond)}
		out := run(t, o, s)

		var want []Request
		for _, slot := range slots(o.schedule(), 0, 1) {
			want = append(want, Request{Phase: slot.Phase, Index: slot.Index, Scheduled: o.Start + slot.At})
		}
		slices.SortFunc(s.seen, func(a, b Request) int { return int(a.Scheduled - b.Scheduled) })
		if diff := cmp.Diff(want, s.seen); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if m := metric(t, out, MetricSendLag); m.Max != 0 {
			t.Errorf("send lag max %v on fake time, want 0", time.Duration(m.Max))
		}
		if m := metric(t, out, MetricE2E); m.Min != int64(20*time.Millisecond) || m.Max != m.Min {
			t.Errorf("e2e from %v to %v, want 20ms", time.Duration(m.Min), time.Duration(m.Max))
		}
		// Only the garbage collector's pauses are of real time here, and long where the cores are busy.
		limits := slices.DeleteFunc(out.Audit.Violations, func(v string) bool { return strings.HasPrefix(v, "a garbage collection") })
		if len(limits) > 0 || out.Audit.Saturated || out.Truncated {
			t.Errorf("violations %q saturated %t truncated %t", limits, out.Audit.Saturated, out.Truncated)
		}
	})
}

func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Open = &OpenLoop{Rate: 10, Arrival: Constant, MaxInFlight: 100}
		wait := takes(clock, 1500*time.Millisecond)
		s := &server{clock: clock, serve: func(ctx context.Context, op *Op) {
			wait(ctx, op)
			op.Count(0, op.Sent, 3)
			op.Count(1, op.Sent+int64(time.Second), 1)
			op.Count(1, clock.Now(), 1)
			if op.Index%10 == 9 {
				op.Fail(HTTP5xx, 503, "busy")
			}
		}}
		out := run(t, o, s)
		// Due in [1 s, 11 s): 100, one in ten fails. Ended in it: due in [0, 9.5), of the 95 the indices 9 in the warm-up
		// and 9, 19, ..., 79 in the measurement fail. First tokens in it are due in [0, 10), second ones in [0, 9.5).
		want := Counts{Offered: 100, Sent: 100, Succeeded: 90, Failed: 10, Attempts: 100, Completed: 86}
		if diff := cmp.Diff(want, out.Measured); diff != "" {
			t.Errorf("measured (-want +got):\n%s", diff)
		}
		want.Offered, want.Sent, want.Attempts = 120, 120, 120
		want.Succeeded, want.Failed = 108, 12
		if diff := cmp.Diff(want, out.All); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		totals := []Total{{Name: "in", All: 360, Window: 300}, {Name: "out", All: 240, Window: 195}}
		if diff := cmp.Diff(totals, out.Totals); diff != "" {
			t.Errorf("totals (-want +got):\n%s", diff)
		}
		failed := make([]int64, Batches)
		for due := 900 * time.Millisecond; due < 10*time.Second; due += time.Second {
			failed[int64(due)/out.Batch]++
		}
		operations := []Operation{{Succeeded: 90, Failed: 10, FailedBatches: failed}}
		if diff := cmp.Diff(operations, out.Operations); diff != "" {
			t.Errorf("operations (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]ErrorCount{{Kind: "http_5xx", Code: 503, Count: 10, Sample: "busy"}}, out.Errors); diff != "" {
			t.Errorf("errors (-want +got):\n%s", diff)
		}
		m := metric(t, out, MetricE2E)
		inBatches := int64(0)
		for _, b := range m.Batches {
			inBatches += b.Count
		}
		if m.Count != 90 || inBatches != 90 || m.Sum != 90*1500*int64(time.Millisecond) {
			t.Errorf("e2e has %d values, %d in batches, sum %d; want 90, 90 and 135 s", m.Count, inBatches, m.Sum)
		}
	})
}

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		seen := map[uint64]int{}
		for rank := range 3 {
			o := base(clock)
			o.Rank, o.Ranks = rank, 3
			o.Closed = &ClosedLoop{Concurrency: 8, ThinkTime: 30 * time.Millisecond}
			s := &server{clock: clock, serve: takes(clock, 70*time.Millisecond)}
			out := run(t, o, s)
			if want := []int{3, 3, 2}[rank]; out.Concurrency != want || s.made != want {
				t.Errorf("rank %d: concurrency %d with %d workers, want %d", rank, out.Concurrency, s.made, want)
			}
			if got, want := out.Measured.Offered, int64(100*out.Concurrency); got != want {
				t.Errorf("rank %d: %d requests, want %d: one each 100 ms per worker", rank, got, want)
			}
			if m := metric(t, out, MetricE2E); m.Max != int64(70*time.Millisecond) {
				t.Errorf("rank %d: e2e max %v, want 70ms: think time is not latency", rank, time.Duration(m.Max))
			}
			for _, req := range s.seen {
				seen[req.Key()]++
			}
		}
		for key, n := range seen {
			if n != 1 {
				t.Fatalf("request %#x was made %d times over three ranks", key, n)
			}
		}
		for i := range uint64(800) {
			if seen[(Request{Phase: Measure, Index: i}).Key()] != 1 {
				t.Fatalf("request %d of the measurement was not made", i)
			}
		}
	})
}

// A server that stalls for a second: the open loop shows it to every request that was due in it, the closed loop only
// to those few that were in flight.
func TestStall(t *testing.T) {
	const stall = time.Second
	serve := func(clock Clock, from, to int64) func(context.Context, *Op) {
		return func(ctx context.Context, _ *Op) {
			now := clock.Now()
			if now >= from && now < to {
				clock.WaitUntil(to, ctx.Done())
			}
			clock.WaitUntil(clock.Now()+int64(5*time.Millisecond), ctx.Done())
		}
	}
	p999 := func(t *testing.T, o Options, clock Clock) time.Duration {
		o.Start = clock.Now()
		o.Lengths = Lengths{Measure: 20 * time.Second}
		from := o.Start + int64(10*time.Second)
		s := &server{clock: clock, serve: serve(clock, from, from+int64(stall))}
		return percentile(t, metric(t, run(t, o, s), MetricE2E), 99.9)
	}
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Open = &OpenLoop{Rate: 200, Arrival: Poisson, MaxInFlight: 1024}
		if got := p999(t, o, clock); got < stall*95/100 {
			t.Errorf("open loop: p99.9 %v shows less than 95 %% of the stall of %v", got, stall)
		}
		o.Open, o.Closed = nil, &ClosedLoop{Concurrency: 8}
		if got := p999(t, o, clock); got > stall/10 {
			t.Errorf("closed loop: p99.9 %v shows the stall; then this test shows no difference", got)
		}
	})
}

// The same for the client: an open loop that cannot send, here for want of maxInFlight, shows the wait.
func TestSaturation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Lengths = Lengths{Measure: 10 * time.Second}
		o.Open = &OpenLoop{Rate: 20, Arrival: Constant, MaxInFlight: 1}
		s := &server{clock: clock, serve: takes(clock, 100*time.Millisecond)}
		out := run(t, o, s)
		if out.Measured.Offered != 200 || out.Measured.Succeeded != 200 {
			t.Errorf("offered %d, succeeded %d, want 200: no slot is dropped", out.Measured.Offered, out.Measured.Succeeded)
		}
		m := metric(t, out, MetricE2E)
		if want := int64(10*time.Second + 50*time.Millisecond); m.Max != want {
			t.Errorf("the last request took %v from its slot, want %v", time.Duration(m.Max), time.Duration(want))
		}
		if from := metric(t, out, MetricE2EFromSend); from.Max != int64(100*time.Millisecond) {
			t.Errorf("from send %v, want 100ms", time.Duration(from.Max))
		}
		// From the second slot, at 50 ms, somebody waits until after the end of the window.
		if got, want := time.Duration(out.Audit.SaturatedFor), 9950*time.Millisecond; got != want {
			t.Errorf("saturated for %v, want %v", got, want)
		}
		if out.Audit.Sound || !strings.Contains(strings.Join(out.Audit.Violations, "\n"), "waited for maxInFlight for 9.95s") {
			t.Errorf("a load that its own maxInFlight held back: sound %t, violations %q", out.Audit.Sound, out.Audit.Violations)
		}
	})
}

// The phases have their lengths also where nothing is in flight at their end.
func TestWindowIsWhole(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"open loop":  func(o *Options) { o.Open = &OpenLoop{Rate: 0.7, Arrival: Constant, MaxInFlight: 1} },
		"think time": func(o *Options) { o.Closed = &ClosedLoop{Concurrency: 1, ThinkTime: 700 * time.Millisecond} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock, began := NewTimerClock(), time.Now()
				o := base(clock)
				o.Lengths.Cooldown = 0
				change(&o)
				out := run(t, o, &server{clock: clock, serve: takes(clock, time.Millisecond)})
				if got := time.Duration(out.Window); got != 10*time.Second || out.Truncated {
					t.Errorf("window %v, truncated %t; want 10s", got, out.Truncated)
				}
				if got := time.Since(began); got != 11*time.Second {
					t.Errorf("the load took %v, want 11s", got)
				}
			})
		})
	}
}

// tardy is a clock that wakes all but one waiter of an instant a little late.
type tardy struct {
	TimerClock
	instant int64
	but     <-chan struct{}
}

func (c *tardy) WaitUntil(t int64, stop <-chan struct{}) bool {
	if t == c.instant && stop != c.but {
		t++
	}
	return c.TimerClock.WaitUntil(t, stop)
}

// The audit sees the whole window, also when the load is over before it has looked for the last time.
func TestAuditSeesTheWholeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &tardy{TimerClock: NewTimerClock()}
		o := base(clock)
		o.Lengths = Lengths{Measure: 2500 * time.Millisecond}
		o.Closed = &ClosedLoop{Concurrency: 1, ThinkTime: time.Second}
		r, err := New(o, &server{clock: clock, serve: takes(clock, time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		clock.instant, clock.but = clock.Now()+int64(o.Lengths.Measure), r.stop
		if _, err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(r.auditor.to - r.auditor.from); got != o.Lengths.Measure {
			t.Errorf("it saw %v of %v", got, o.Lengths.Measure)
		}
	})
}

func TestStartLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		time.Sleep(5 * time.Second)
		o := base(clock)
		o.Closed = &ClosedLoop{Concurrency: 1}
		o.Start = clock.Now() - int64(300*time.Millisecond)
		s := &server{clock: clock, serve: takes(clock, time.Second)}
		out := run(t, o, s)
		if got := time.Duration(out.StartLate); got != 300*time.Millisecond {
			t.Errorf("start late by %v, want 300ms", got)
		}
		if got := time.Duration(out.Window); got != 10*time.Second {
			t.Errorf("window %v, want 10s: a late start shortens nothing", got)
		}
	})
}

// T0 on the wall clock is the instant of the start, also where nobody has set it before.
func TestT0(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		start  time.Duration // from the making of the load; 0 is at once
		want   time.Duration
	}{
		"at once": {"what comes between New and Run does not count", 0, 3 * time.Second},
		"given":   {"the barrier's T0 is kept", 5 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock, made := NewTimerClock(), time.Now()
				o := base(clock)
				o.Closed = &ClosedLoop{Concurrency: 1}
				if c.start > 0 {
					o.Start, o.T0 = clock.Now()+int64(c.start), made.Add(c.start).UnixNano()
				}
				var sent []time.Time
				s := &server{clock: clock, serve: func(context.Context, *Op) {
					sent = append(sent, time.Now())
					clock.WaitUntil(clock.Now()+int64(time.Second), nil)
				}}
				r, err := New(o, s)
				if err != nil {
					t.Fatal(err)
				}
				clock.WaitUntil(clock.Now()+int64(3*time.Second), nil) // the caller writes its status
				out, err := r.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Unix(0, out.T0).Sub(made); got != c.want || !sent[0].Equal(time.Unix(0, out.T0)) {
					t.Errorf("%s: T0 %v after New, the first request %v after it; want %v", c.reason, got, sent[0].Sub(made), c.want)
				}
				if live := r.Live().T0; live != out.T0 {
					t.Errorf("%s: T0 while it runs %d, in the result %d", c.reason, live, out.T0)
				}
			})
		})
	}
}

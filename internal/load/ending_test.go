package load

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What does not end within the drain timeout fails as timeout_total, sent or not.
func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Lengths = Lengths{Measure: time.Second}
		o.DrainTimeout = 5 * time.Second
		o.Open = &OpenLoop{Rate: 10, Arrival: Constant, MaxInFlight: 4}
		s := &server{clock: clock, serve: takes(clock, time.Hour)}
		began := time.Now()
		out := run(t, o, s)
		if got := time.Since(began); got != 6*time.Second {
			t.Errorf("the load took %v, want 6s", got)
		}
		want := Counts{Offered: 10, Sent: 4, Failed: 10, Attempts: 4}
		if diff := cmp.Diff(want, out.Measured); diff != "" {
			t.Errorf("measured (-want +got):\n%s", diff)
		}
		if len(out.Errors) != 1 || out.Errors[0].Kind != "timeout_total" || out.Errors[0].Count != 10 || out.Truncated {
			t.Errorf("errors %v, truncated %t; want ten timeout_total in a whole run", out.Errors, out.Truncated)
		}
	})
}

func TestDrainAndStop(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		end    func(r *Run, cancel context.CancelCauseFunc)
		want   Counts
		took   time.Duration
		because,
		window string
	}{
		"drain": {
			reason: "what is in flight ends and counts",
			end:    func(r *Run, _ context.CancelCauseFunc) { r.Drain("asked to"); r.Drain("again") },
			// Due at 1, 2, 3 and 4 s; the last one ends after the drain at 4.5 s, that of the warm-up ends at 1 s.
			want: Counts{Offered: 4, Sent: 4, Succeeded: 4, Attempts: 4, Completed: 4}, took: 5 * time.Second,
			because: "asked to", window: "3.5s",
		},
		"stop": {
			reason: "what is in flight neither succeeds nor fails",
			end:    func(_ *Run, cancel context.CancelCauseFunc) { cancel(errors.New("the job is cancelled")) },
			want:   Counts{Offered: 4, Sent: 4, Succeeded: 3, Attempts: 4, Completed: 4}, took: 4500 * time.Millisecond,
			because: "stopped: the job is cancelled", window: "3.5s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := NewTimerClock()
				o := base(clock)
				o.Closed = &ClosedLoop{Concurrency: 1}
				s := &server{clock: clock, serve: takes(clock, time.Second)}
				r, err := New(o, s)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				time.AfterFunc(4500*time.Millisecond, func() { c.end(r, cancel) })
				began := time.Now()
				out, err := r.Run(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(began); got != c.took {
					t.Errorf("%s: took %v, want %v", c.reason, got, c.took)
				}
				if diff := cmp.Diff(c.want, out.Measured); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.reason, diff)
				}
				if !out.Truncated || out.Reason != c.because || time.Duration(out.Window).String() != c.window {
					t.Errorf("truncated %t because %q, window %v", out.Truncated, out.Reason, time.Duration(out.Window))
				}
				if out.Cooldown != 0 || out.Warmup != int64(time.Second) {
					t.Errorf("warm-up %v, cool-down %v", time.Duration(out.Warmup), time.Duration(out.Cooldown))
				}
			})
		})
	}
}

func TestStopBeforeT0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Closed = &ClosedLoop{Concurrency: 1}
		o.Start = clock.Now() + int64(time.Hour)
		r, err := New(o, &server{clock: clock, serve: takes(clock, time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Snapshot("too early"); !errors.Is(err, ErrNotBegun) {
			t.Errorf("a snapshot before T0: %v", err)
		}
		if got := r.Live().Phase; got != "Waiting" {
			t.Errorf("phase %q before T0, want Waiting", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestAbort(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		fails  uint64 // of ten
		want   time.Duration
	}{
		"hopeless": {"it ends after the first window", 6, 2 * time.Second},
		"at ratio": {"the ratio itself counts", 5, 2 * time.Second},
		"bearable": {"below the ratio it goes on", 4, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := NewTimerClock()
				o := base(clock)
				o.Open = &OpenLoop{Rate: 100, Arrival: Constant, MaxInFlight: 10}
				o.Abort = &Abort{ErrorRatio: 0.5, Window: 2 * time.Second}
				wait := takes(clock, 3*time.Millisecond) // so that nothing ends while the ratio is taken
				s := &server{clock: clock, serve: func(ctx context.Context, op *Op) {
					wait(ctx, op)
					if op.Index%10 < c.fails {
						op.Fail(HTTP4xx, 429, "slow down")
					}
				}}
				began := time.Now()
				out := run(t, o, s)
				if got := time.Since(began).Round(100 * time.Millisecond); got != c.want {
					t.Errorf("%s: took %v, want %v", c.reason, got, c.want)
				}
				if out.Aborted != (c.want < 10*time.Second) || out.Truncated != out.Aborted {
					t.Errorf("%s: aborted %t, truncated %t", c.reason, out.Aborted, out.Truncated)
				}
				if out.Aborted && !strings.Contains(out.Reason, "of the 200 requests that ended within 2s failed") {
					t.Errorf("reason %q does not say how many failed", out.Reason)
				}
			})
		})
	}
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Lengths = Lengths{Measure: 10 * time.Second}
		o.Open = &OpenLoop{Rate: 1, Arrival: Constant, MaxInFlight: 10}
		o.Retries, o.BackOff = 3, 100*time.Millisecond
		s := &server{clock: clock, serve: func(_ context.Context, op *Op) {
			switch {
			case op.Index == 0 || op.Attempt == 1:
				op.Fail(Reset, 0, "gone")
			case op.Attempt == 0:
				op.Fail(HTTP5xx, 503, "busy")
			}
		}}
		out := run(t, o, s)
		attempts := []ErrorCount{{Kind: "reset", Count: 4 + 9, Sample: "gone"}, {Kind: "http_5xx", Code: 503, Count: 9, Sample: "busy"}}
		if diff := cmp.Diff(attempts, out.FailedAttempts); diff != "" {
			t.Errorf("failed attempts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]ErrorCount{{Kind: "reset", Count: 1, Sample: "gone"}}, out.Errors); diff != "" {
			t.Errorf("failed requests (-want +got):\n%s", diff)
		}
		want := Counts{Offered: 10, Sent: 10, Succeeded: 9, Failed: 1, Attempts: 31, Completed: 9}
		if diff := cmp.Diff(want, out.Measured); diff != "" {
			t.Errorf("measured (-want +got):\n%s", diff)
		}
		m := metric(t, out, MetricE2E)
		if m.Min != int64(300*time.Millisecond) || m.Max != m.Min {
			t.Errorf("e2e %v to %v, want 300ms: two pauses of 100 and 200 ms from the scheduled instant",
				time.Duration(m.Min), time.Duration(m.Max))
		}
		if lag := metric(t, out, MetricSendLag); lag.Max != 0 {
			t.Errorf("send lag %v, want 0: it is that of the first attempt", time.Duration(lag.Max))
		}
		var name []byte
		for _, req := range s.seen {
			if req.Index == 9 {
				name = append(req.AppendName(name), ' ')
			}
		}
		if got := string(name); got != "9 9-a1 9-a2 " {
			t.Errorf("names %q", got)
		}
	})
}

// lingering is a clock that, when it waits for one instant, does not hear that it should stop.
type lingering struct {
	TimerClock
	instant int64
}

func (c lingering) WaitUntil(t int64, stop <-chan struct{}) bool {
	if t == c.instant {
		stop = nil
	}
	return c.TimerClock.WaitUntil(t, stop)
}

// A request whose load ends at the very end of its back-off has not succeeded.
func TestStopAfterBackOff(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		stop   time.Duration
		want   Counts
		errors []ErrorCount
	}{
		"stop": {
			reason: "what we stopped neither succeeds nor fails", stop: 3 * time.Second,
			want: Counts{Offered: 1, Sent: 1, Attempts: 1},
		},
		"drain timeout": {
			reason: "what outlasts the wait at the end fails", stop: time.Hour,
			want:   Counts{Offered: 1, Sent: 1, Attempts: 1, Failed: 1},
			errors: []ErrorCount{{Kind: "timeout_total", Count: 1, Sample: errDrained.Error()}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := lingering{TimerClock: NewTimerClock()}
				clock.instant = clock.Now() + int64(10*time.Second) // the end of the back-off
				o := base(clock)
				o.Lengths = Lengths{Measure: time.Second}
				o.DrainTimeout = 5 * time.Second
				o.Open = &OpenLoop{Rate: 1, Arrival: Constant, MaxInFlight: 1}
				o.Retries, o.BackOff = 3, 10*time.Second
				s := &server{clock: clock, serve: func(_ context.Context, op *Op) { op.Fail(Reset, 0, "gone") }}
				r, err := New(o, s)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.stop)
				defer cancel()
				out, err := r.Run(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, out.Measured); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.reason, diff)
				}
				if diff := cmp.Diff(c.errors, out.Errors); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.reason, diff)
				}
				if len(out.Metrics) > 0 {
					t.Errorf("%s: it has a latency: %+v", c.reason, out.Metrics[0])
				}
			})
		})
	}
}

// A dead server is not hammered: a worker that does not reach it, or has nothing to ask it, pauses longer and longer.
func TestUnreachedPauses(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for want, fail := range map[Kind]func(*Op){
		Connect:  func(op *Op) { op.FailErr(KindOf(refused), refused) },
		NoObject: func(op *Op) { op.Fail(NoObject, 0, "nothing is left") },
	} {
		t.Run(string(want), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := NewTimerClock()
				o := base(clock)
				o.Closed = &ClosedLoop{Concurrency: 1}
				out := run(t, o, &server{clock: clock, serve: func(_ context.Context, op *Op) { fail(op) }})
				if out.All.Offered < 10 || out.All.Offered > 25 {
					t.Errorf("%d attempts in 12 s, want some 18", out.All.Offered)
				}
				if got := Kind(out.Errors[0].Kind); got != want {
					t.Errorf("kind %s, want %s", got, want)
				}
				if out.All.Unsent != out.All.Attempts || out.All.Attempts != out.All.Offered {
					t.Errorf("%+v: of nothing that it tried anything was sent", out.All)
				}
			})
		})
	}
}

func TestSnapshotAndLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewTimerClock()
		o := base(clock)
		o.Closed = &ClosedLoop{Concurrency: 4}
		s := &server{clock: clock, serve: takes(clock, 100*time.Millisecond)}
		r, err := New(o, s)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ended := make(chan *Result)
		go func() {
			out, err := r.Run(t.Context())
			if err != nil {
				t.Error(err)
			}
			ended <- out
		}()
		time.Sleep(6050 * time.Millisecond)
		live := r.Live()
		want := Live{Phase: "Measuring", Elapsed: 6050 * time.Millisecond, Total: 12 * time.Second,
			Requests: 244, Succeeded: 240, InFlight: 4}
		p99 := live.P99
		if rate := live.Rate; rate < 39 || rate > 41 {
			t.Errorf("rate %v, want about 40", rate)
		}
		if got := time.Unix(0, live.T0); !got.Equal(began) {
			t.Errorf("T0 %v, want %v", got, began)
		}
		live.Rate, live.P99, live.T0 = 0, 0, 0
		if diff := cmp.Diff(want, live); diff != "" {
			t.Errorf("live (-want +got):\n%s", diff)
		}
		if p99 < 100*time.Millisecond || p99 > 101*time.Millisecond {
			t.Errorf("p99 %v, want 100ms", p99)
		}
		part, err := r.Snapshot("SIGUSR1")
		if err != nil {
			t.Fatal(err)
		}
		if !part.Truncated || part.Reason != "SIGUSR1" || part.Measured.Succeeded != 200 ||
			time.Duration(part.Window) != 5050*time.Millisecond {
			t.Errorf("snapshot: truncated %t %q, %d succeeded in %v", part.Truncated, part.Reason, part.Measured.Succeeded,
				time.Duration(part.Window))
		}
		out := <-ended
		if out.Truncated || out.Measured.Succeeded != 400 {
			t.Errorf("in the end truncated %t, %d succeeded; want 400", out.Truncated, out.Measured.Succeeded)
		}
		if got := r.Live().Phase; got != "Ended" {
			t.Errorf("phase %q, want Ended", got)
		}
	})
}

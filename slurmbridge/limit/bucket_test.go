package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// gone is how long after the start of a test each of n requests came through.
func gone(t *testing.T, b *bucket, n int) []time.Duration {
	t.Helper()
	start := time.Now()
	var out []time.Duration
	for range n {
		if err := b.wait(t.Context(), starting); err != nil {
			t.Fatal(err)
		}
		out = append(out, time.Since(start).Round(time.Millisecond))
	}
	return out
}

func TestTurnsComeAtTheRate(t *testing.T) {
	const ms = time.Millisecond
	cases := map[string]struct {
		reason string
		rate   Rate
		want   []time.Duration
	}{
		"burst":    {"a silence is made up for, and then the rate holds", Rate{PerSecond: 5, Burst: 3}, []time.Duration{0, 0, 0, 200 * ms, 400 * ms, 600 * ms}},
		"slow":     {"less than one a second", Rate{PerSecond: 0.5, Burst: 1}, []time.Duration{0, 2000 * ms, 4000 * ms}},
		"no limit": {"a batch system on this host", Rate{}, []time.Duration{0, 0, 0, 0}},
		"no burst": {"nothing would ever come through a bucket that holds none", Rate{PerSecond: 10}, []time.Duration{0, 100 * ms}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if diff := cmp.Diff(c.want, gone(t, newBucket(c.rate), len(c.want))); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.reason, diff)
				}
			})
		})
	}
}

// Over any stretch of time no more than burst + rate × time comes through, and a silence does not add up.
func TestSilenceAddsUpToTheBurstOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(Rate{PerSecond: 2, Burst: 2})
		gone(t, b, 5)
		time.Sleep(time.Hour)
		want := []time.Duration{0, 0, 500 * time.Millisecond, time.Second}
		if diff := cmp.Diff(want, gone(t, b, 4)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// inOrder has requests wait, one after another, in the order of their names, and returns the order of their turns.
func inOrder(t *testing.T, b *bucket, who ...priority) []string {
	t.Helper()
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	for i, p := range who {
		wg.Go(func() {
			if err := b.wait(t.Context(), p); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, fmt.Sprintf("%d/%d", i, p))
		})
		synctest.Wait() // it stands in the queue now
	}
	wg.Wait()
	return order
}

func TestWhoEndsSomethingGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(Rate{PerSecond: 1, Burst: 1})
		gone(t, b, 1) // it is empty
		got := inOrder(t, b, looking, starting, ending, ending)
		if diff := cmp.Diff([]string{"2/0", "3/0", "1/1", "0/2"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestNobodyWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(Rate{PerSecond: 1, Burst: 1})
		gone(t, b, 1)
		who := []priority{looking}
		for range 30 {
			who = append(who, ending)
		}
		got := inOrder(t, b, who...)
		if at := slices.Index(got, "0/2"); at < 9 || at > 11 { // one turn a second
			t.Errorf("a list that came first had turn %d of %v", at, got)
		}
	})
}

func TestWhoGivesUpTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(Rate{PerSecond: 1, Burst: 1})
		gone(t, b, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := b.wait(ctx, ending); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if waited := time.Since(start); waited != 500*time.Millisecond {
			t.Errorf("it gave up after %s", waited)
		}
		if diff := cmp.Diff([]time.Duration{500 * time.Millisecond}, gone(t, b, 1)); diff != "" {
			t.Errorf("the turn of the one that gave up is the next one's (-want +got):\n%s", diff)
		}
	})
}

func TestAnotherRateHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(Rate{PerSecond: 0.001, Burst: 1})
		gone(t, b, 1)
		waits := make(chan []time.Duration)
		go func() { waits <- gone(t, b, 2) }()
		synctest.Wait()
		b.set(Rate{PerSecond: 10, Burst: 1})
		if diff := cmp.Diff([]time.Duration{100 * time.Millisecond, 200 * time.Millisecond}, <-waits); diff != "" {
			t.Errorf("who waits already waits for the new rate only (-want +got):\n%s", diff)
		}
	})
}

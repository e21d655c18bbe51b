package limit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// Rate is how often a site may be asked.
type Rate struct {
	// PerSecond is the number of requests a second over a long time; 0 for no limit.
	PerSecond float64
	// Burst is the number of requests that may follow each other at once after a silence; at least 1.
	Burst int
}

// priority is who goes first of those who wait.
type priority int

// Priorities, the first one first.
const (
	ending   priority = iota // cancels and releases: they give nodes back, or bring a job on its way
	starting                 // submits, and whether they could run
	looking                  // look-ups and lists: the longer a look-up waits, the more share it
	priorities
)

// Nobody waits for ever: every other turn goes to whoever has waited for this long already.
const patience = 10 * time.Second

// bucket hands out turns: tokens drip into it, and a turn costs one.
type bucket struct {
	mu     sync.Mutex
	rate   Rate
	tokens float64
	// filled is when tokens was counted.
	filled time.Time
	queues [priorities][]*turn
	timer  *time.Timer
	// came and given count turns.
	came, given int
}

// turn is one who waits. ready is closed when its turn has come.
type turn struct {
	number int
	since  time.Time
	ready  chan struct{}
}

func newBucket(r Rate) *bucket {
	r.Burst = max(1, r.Burst)
	return &bucket{rate: r, tokens: float64(r.Burst), filled: time.Now()}
}

// set changes the rate.
func (b *bucket) set(r Rate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	r.Burst = max(1, r.Burst)
	b.rate, b.tokens = r, min(b.tokens, float64(r.Burst))
	b.serve()
}

// wait returns when it is the caller's turn, or with an error when the context ended first.
func (b *bucket) wait(ctx context.Context, p priority) error {
	b.mu.Lock()
	t := &turn{number: b.came, since: time.Now(), ready: make(chan struct{})}
	b.came++
	b.queues[p] = append(b.queues[p], t)
	b.serve()
	b.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	if b.leave(t, p) {
		return fmt.Errorf("the site's limit of requests let nothing through in time: %w", context.Cause(ctx))
	}
	return nil
}

// leave takes one who waits out of the queue; false when its turn has come meanwhile.
func (b *bucket) leave(t *turn, p priority) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.queues[p], t)
	if i < 0 {
		return false
	}
	b.queues[p] = slices.Delete(b.queues[p], i, i+1)
	return true
}

// fill adds what dripped in since the last time.
func (b *bucket) fill() {
	now := time.Now()
	b.tokens = min(float64(b.rate.Burst), b.tokens+now.Sub(b.filled).Seconds()*b.rate.PerSecond)
	b.filled = now
}

// serve gives out the turns that there are, and comes back for the next one.
func (b *bucket) serve() {
	b.fill()
	for {
		p, ok := b.next()
		if !ok {
			return
		}
		if b.rate.PerSecond > 0 {
			if b.tokens < 1 {
				b.comeBack(time.Duration(math.Ceil((1 - b.tokens) / b.rate.PerSecond * float64(time.Second))))
				return
			}
			b.tokens--
		}
		close(b.queues[p][0].ready)
		b.queues[p] = b.queues[p][1:]
		b.given++
	}
}

// next is the queue whose head goes next.
func (b *bucket) next() (priority, bool) {
	first, oldest := priorities, priorities
	for p := range priorities {
		if len(b.queues[p]) == 0 {
			continue
		}
		if first == priorities {
			first = p
		}
		if oldest == priorities || b.queues[p][0].number < b.queues[oldest][0].number {
			oldest = p
		}
	}
	if oldest < priorities && b.given%2 == 1 && time.Since(b.queues[oldest][0].since) >= patience {
		return oldest, true
	}
	return first, first < priorities
}

// comeBack serves again after a while.
func (b *bucket) comeBack(after time.Duration) {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.timer = time.AfterFunc(after, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.serve()
	})
}

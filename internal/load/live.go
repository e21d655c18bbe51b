package load

import (
	"slices"
	"sync"
	"time"
)

// Live is what a load does right now, for people who watch.
type Live struct {
	// Phase is Waiting, Warmup, Measuring, Cooldown, Draining or Ended.
	Phase string
	// T0 is the start on the wall clock, in Unix ns.
	T0 int64
	// Elapsed since T0, of the Total length of the phases.
	Elapsed, Total time.Duration
	// Rate is of requests that succeeded, per second, P99 of their e2e, both over the last five seconds or so.
	Rate float64
	P99  time.Duration
	// Counts since T0.
	Requests, Succeeded, Failed int64
	// InFlight are sent and not ended; Queued wait for maxInFlight.
	InFlight, Queued int64
}

// liveSpan is how many seconds back Live looks.
const liveSpan = 5

// meter remembers the counters of the last seconds. Workers only feed the recorder; the meter copies it when it ticks.
type meter struct {
	recorder *recorder

	mu    sync.Mutex
	marks []mark
	// nextLatencies is when the next mark copies the latencies; those of a short abort window do without.
	nextLatencies int64
}

// mark is the state of the counters at one instant.
type mark struct {
	at                int64
	succeeded, failed int64
	latencies         []uint32
}

// tick takes a mark and forgets those older than keep, but for the last of them.
func (m *meter) tick(now, keep int64) {
	t := m.recorder.counted(Warmup, Measure, Cooldown)
	next := mark{at: now, succeeded: t.Succeeded, failed: t.Failed}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now >= m.nextLatencies {
		next.latencies = copyCounters(&m.recorder.recent)
		m.nextLatencies = now + int64(time.Second)
	}
	m.marks = append(m.marks, next)
	for len(m.marks) > 1 && m.marks[1].at <= now-keep {
		m.marks = m.marks[1:]
	}
	for i := range m.marks {
		if m.marks[i].at < now-liveSpan*int64(time.Second) {
			m.marks[i].latencies = nil // 96 KiB that only Live reads
		}
	}
}

// oldest is the oldest mark with latencies that is no older than span; found is false without one.
func (m *meter) oldest(now, span int64) (k mark, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.marks {
		if k.at >= now-span && k.latencies != nil {
			return k, true
		}
	}
	return mark{}, false
}

// recent is the rate and the p99 of what succeeded lately.
func (m *meter) recent(now int64) (rate float64, p99 time.Duration) {
	from, found := m.oldest(now, liveSpan*int64(time.Second))
	if !found || now <= from.at {
		return 0, 0
	}
	var n int64
	each := func(f func(i int, n int64)) {
		m.recorder.recent.each(func(i int, k int64) {
			if k -= int64(from.latencies[i]); k > 0 {
				f(i, k)
			}
		})
	}
	each(func(_ int, k int64) { n += k })
	return float64(n) * 1e9 / float64(now-from.at), time.Duration(quantile(n, 0.99, each))
}

// errorRatio is the share of failures among what ended between the last mark and one a whole span before it; known is
// false while there is no such mark, or nothing ended.
func (m *meter) errorRatio(span int64) (failed, ended int64, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.marks) == 0 {
		return 0, 0, false
	}
	last := m.marks[len(m.marks)-1]
	for _, k := range slices.Backward(m.marks) {
		if k.at <= last.at-span {
			failed = last.failed - k.failed
			ended = failed + last.succeeded - k.succeeded
			return failed, ended, ended > 0
		}
	}
	return 0, 0, false
}

func copyCounters(h *hist) []uint32 {
	c := make([]uint32, histCounters)
	h.each(func(i int, n int64) { c[i] = uint32(n) })
	return c
}

package load

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// The range of all histograms: 1 µs to 1 h in ns with 3 significant digits. Smaller values share the lowest counters,
// greater ones count as 1 h; sum, min and max stay exact.
const (
	histLowest  = int64(time.Microsecond)
	histHighest = int64(time.Hour)
	histDigits  = 3
)

// The layout of the counters that the HDR format gives this range: units of 2^9 ns, 2^11 of them in the first bucket,
// 2^10 in each of the 22 others.
const (
	unitMagnitude = 9
	halfMagnitude = 10
	histCounters  = 24 << halfMagnitude
	pageCounters  = 256
	histPages     = histCounters / pageCounters
)

type page [pageCounters]atomic.Uint32

// hist is an HDR histogram that many goroutines feed without locks. Its counters lie in pages of 1 KiB that come into
// being when they are used, so it costs 1 KiB for each quarter of an octave of values, at most 97 KiB. The zero hist
// is empty and ready.
type hist struct {
	pages [histPages]atomic.Pointer[page]
	sum   atomic.Int64
	// least is kept as its complement and most as itself, so that 0 stands for no value in both.
	least, most atomic.Int64
}

// add counts a value n times. A negative value counts as 0. A counter holds 2^32-1.
func (h *hist) add(v int64, n uint32) {
	v = max(v, 0)
	i := histIndex(min(v, histHighest))
	slot := &h.pages[i/pageCounters]
	p := slot.Load()
	if p == nil {
		slot.CompareAndSwap(nil, new(page))
		p = slot.Load()
	}
	p[i%pageCounters].Add(n)
	h.sum.Add(v * int64(n))
	raise(&h.most, v)
	raise(&h.least, math.MaxInt64-v)
}

func raise(a *atomic.Int64, v int64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

// histIndex is the place of a value's counter.
func histIndex(v int64) int {
	const top = 1<<(unitMagnitude+halfMagnitude+1) - 1
	bucket := bits.Len64(uint64(v)|top) - (unitMagnitude + halfMagnitude + 1)
	return bucket<<halfMagnitude + int(v>>(bucket+unitMagnitude))
}

// histValue is the least value of a counter.
func histValue(i int) int64 {
	bucket := i>>halfMagnitude - 1
	if bucket < 0 {
		return int64(i) << unitMagnitude
	}
	return int64(i-bucket<<halfMagnitude) << (bucket + unitMagnitude)
}

// min is the least value; 0 without values.
func (h *hist) min() int64 {
	if least := h.least.Load(); least != 0 {
		return math.MaxInt64 - least
	}
	return 0
}

// each calls f for each counter in use, in ascending order.
func (h *hist) each(f func(i int, n int64)) {
	for p := range h.pages {
		counters := h.pages[p].Load()
		if counters == nil {
			continue
		}
		for k := range counters {
			if n := counters[k].Load(); n != 0 {
				f(p*pageCounters+k, int64(n))
			}
		}
	}
}

func (h *hist) count() (n int64) {
	h.each(func(_ int, k int64) { n += k })
	return n
}

// quantile is the value at or below which the share q of the values lies, to the precision of the histogram; 0 without
// values.
func (h *hist) quantile(q float64) int64 {
	return quantile(h.count(), q, h.each)
}

func quantile(total int64, q float64, each func(func(i int, n int64))) (v int64) {
	rank, seen := max(1, int64(math.Ceil(q*float64(total)))), int64(0)
	each(func(i int, n int64) {
		if seen < rank {
			v = histValue(i+1) - 1
		}
		seen += n
	})
	if total == 0 {
		return 0
	}
	return v
}

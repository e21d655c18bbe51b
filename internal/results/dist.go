package results

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// dist is a distribution of values in nanoseconds, and of failures, which count as infinitely late.
type dist struct {
	bins          []bin // by value
	count, failed int64
	sum           float64
	min, max      int64
}

// newDist reads one rank's metric.
func newDist(d *decoder, m Metric) (dist, error) {
	bins, err := d.decode(m.Histogram)
	if err != nil {
		return dist{}, err
	}
	out := dist{bins: bins, sum: float64(m.Sum), min: m.Min, max: m.Max}
	out.count = out.upTo()
	switch {
	case out.count != m.Count:
		return dist{}, fmt.Errorf("its histogram holds %d values, its count says %d", out.count, m.Count)
	case m.Sum < 0 || m.Min < 0 || m.Max < m.Min:
		return dist{}, fmt.Errorf("sum %d, min %d and max %d cannot be", m.Sum, m.Min, m.Max)
	}
	return out, nil
}

func (d dist) upTo() int64 {
	if len(d.bins) == 0 {
		return 0
	}
	return d.bins[len(d.bins)-1].upTo
}

// merged is the distribution of the union: never an average of percentiles.
func merged(parts []dist) dist {
	switch len(parts) {
	case 0:
		return dist{}
	case 1:
		return parts[0]
	}
	a, b := merged(parts[:len(parts)/2]), merged(parts[len(parts)/2:])
	if a.count == 0 {
		a.min = b.min
	}
	if b.count == 0 {
		b.min = a.min
	}
	return dist{
		bins: mergedBins(a.bins, b.bins), count: a.count + b.count, failed: a.failed + b.failed, sum: a.sum + b.sum,
		min: min(a.min, b.min), max: max(a.max, b.max),
	}
}

func mergedBins(a, b []bin) []bin {
	if len(a) == 0 {
		return b
	}
	out := make([]bin, 0, len(a)+len(b))
	var upA, upB int64
	for len(a) > 0 && len(b) > 0 {
		value := min(a[0].value, b[0].value)
		if a[0].value == value {
			upA, a = a[0].upTo, a[1:]
		}
		if b[0].value == value {
			upB, b = b[0].upTo, b[1:]
		}
		out = append(out, bin{value, upA + upB})
	}
	for _, x := range a {
		out = append(out, bin{x.value, x.upTo + upB})
	}
	for _, x := range b {
		out = append(out, bin{x.value, x.upTo + upA})
	}
	return out
}

// errNone says that there is no such number.
var errNone = errors.New("no value")

// total is the number of values with the failures.
func (d dist) total() int64 { return d.count + d.failed }

// quantile is the nearest-rank quantile over values and failures: the least value such that a share q of all is at or
// below it. It is +Inf where that falls among the failures.
func (d dist) quantile(q float64) (float64, error) {
	n := d.total()
	if n == 0 {
		return 0, errNone
	}
	// The small term keeps 0.999 × 1000 from being rounded up to rank 1000.
	rank := int64(math.Ceil(q*float64(n) - 1e-9*float64(max(1, n>>20))))
	return d.at(max(1, min(rank, n))), nil
}

// at is the value with a rank from 1.
func (d dist) at(rank int64) float64 {
	switch {
	case rank > d.count:
		return math.Inf(1)
	case rank == d.count:
		return float64(d.max)
	case rank <= 1:
		return float64(d.min)
	}
	i, _ := slices.BinarySearchFunc(d.bins, rank, func(b bin, rank int64) int {
		if b.upTo < rank {
			return -1
		}
		return 1
	})
	return float64(min(max(d.bins[i].value, d.min), d.max))
}

// atMost is the number of values that are at or below a bound; failures never are.
func (d dist) atMost(bound float64) int64 {
	i, _ := slices.BinarySearchFunc(d.bins, bound, func(b bin, bound float64) int {
		if float64(b.value) <= bound {
			return -1
		}
		return 1
	})
	if i == 0 {
		return 0
	}
	return d.bins[i-1].upTo
}

// mean is +Inf with a failure.
func (d dist) mean() (float64, error) {
	switch {
	case d.total() == 0:
		return 0, errNone
	case d.failed > 0:
		return math.Inf(1), nil
	}
	return d.sum / float64(d.count), nil
}

// greatest is +Inf with a failure.
func (d dist) greatest() (float64, error) {
	if d.total() == 0 {
		return 0, errNone
	}
	return d.at(d.total()), nil
}

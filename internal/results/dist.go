package results

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// dist is a distribution: exact counts of values that are each known within 0.05 %, and failures, which count as
// infinitely late. Values are in nanoseconds.
type dist struct {
	bins          []bin // sorted by value
	count, failed int64
	sum           float64
	min, max      int64
}

type bin struct {
	value int64
	count int64
}

// decode reads a histogram in HDR V2, compressed, base64. It returns nil for the empty string.
func decode(encoded string) ([]bin, error) {
	if encoded == "" {
		return nil, nil
	}
	h, err := hdrhistogram.Decode([]byte(encoded))
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	var bins []bin
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			// The middle of the bar halves the error of either end.
			bins = append(bins, bin{value: bar.From + (bar.To-bar.From)/2, count: bar.Count})
		}
	}
	return bins, nil
}

// newDist reads one rank's metric.
func newDist(m Metric) (dist, error) {
	bins, err := decode(m.Histogram)
	if err != nil {
		return dist{}, fmt.Errorf("metric %s: %w", m.Name, err)
	}
	d := dist{bins: bins, sum: float64(m.Sum), min: m.Min, max: m.Max}
	for _, b := range bins {
		d.count += b.count
	}
	if d.count != m.Count {
		return dist{}, fmt.Errorf("metric %s: its histogram holds %d values, its count says %d", m.Name, d.count, m.Count)
	}
	return d, nil
}

// merged is the distribution of the union: never an average of percentiles.
func merged(parts ...dist) dist {
	var out dist
	for _, p := range parts {
		if p.count > 0 {
			if out.count == 0 || p.min < out.min {
				out.min = p.min
			}
			out.max = max(out.max, p.max)
		}
		out.count += p.count
		out.failed += p.failed
		out.sum += p.sum
		out.bins = append(out.bins, p.bins...)
	}
	slices.SortFunc(out.bins, func(a, b bin) int { return cmp.Compare(a.value, b.value) })
	out.bins = compact(out.bins)
	return out
}

func compact(bins []bin) []bin {
	var out []bin
	for _, b := range bins {
		if n := len(out); n > 0 && out[n-1].value == b.value {
			out[n-1].count += b.count
			continue
		}
		out = append(out, b)
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
	rank := int64(math.Ceil(q*float64(n) - 1e-9))
	return d.at(max(1, min(rank, n))), nil
}

// at is the value with a rank from 1.
func (d dist) at(rank int64) float64 {
	if rank > d.count {
		return math.Inf(1)
	}
	if rank == d.count {
		return float64(d.max)
	}
	if rank <= 1 {
		return float64(d.min)
	}
	var below int64
	for _, b := range d.bins {
		if below += b.count; below >= rank {
			return min(max(float64(b.value), float64(d.min)), float64(d.max))
		}
	}
	return float64(d.max)
}

// atMost is the number of values that are at or below a bound; failures never are.
func (d dist) atMost(bound float64) int64 {
	var n int64
	for _, b := range d.bins {
		if float64(b.value) > bound {
			break
		}
		n += b.count
	}
	return n
}

func (d dist) mean() (float64, error) {
	if d.count == 0 {
		return 0, errNone
	}
	return d.sum / float64(d.count), nil
}

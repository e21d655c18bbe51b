package monitor

import (
	"maps"
	"math"
	"slices"

	"assay.bench/internal/rundir"
	"assay.bench/internal/series"
)

// tally is what the counters of one target did in one repeat.
type tally struct {
	due, good           int64
	firstGood, lastGood bool
	failing             bool
	lastError           string
	counters            map[string]*counter
}

// counter follows one series. Its increase is last - first + lost, where lost sums what it said before each fall: the
// rule of Prometheus, which takes a fall as a restart from zero.
type counter struct {
	name        string
	labels      map[string]string
	first, last float64
	lost        float64
	resets      int
}

func newTally() tally { return tally{counters: map[string]*counter{}} }

// add counts a good scrape and returns the counters that fell.
func (y *tally) add(p page, first, last bool) (resets []*counter) {
	y.due++
	y.good++
	y.failing = false
	y.firstGood = y.firstGood || first
	y.lastGood = y.lastGood || last
	for _, s := range p.samples {
		if !s.counter || math.IsNaN(s.value) {
			continue
		}
		key := s.labels.Key()
		c, ok := y.counters[key]
		if !ok {
			c = newCounter(s.labels, s.value)
			if y.firstGood && !first {
				c.first = 0 // it was not there at the first scrape: it has counted since
			}
			y.counters[key] = c
		}
		if s.value < c.last {
			c.lost += c.last
			c.resets++
			resets = append(resets, c)
		}
		c.last = s.value
	}
	return resets
}

func newCounter(ls series.Labels, v float64) *counter {
	c := &counter{name: ls.Get(series.NameLabel), first: v, last: v}
	for _, l := range ls {
		if l.Name == series.NameLabel {
			continue
		}
		if c.labels == nil {
			c.labels = map[string]string{}
		}
		c.labels[l.Name] = l.Value
	}
	return c
}

// fail counts a scrape that failed.
func (y *tally) fail(err error, first, last bool) {
	y.due++
	y.failing = true
	y.lastError = err.Error()
	y.firstGood = y.firstGood && !first
	y.lastGood = y.lastGood && !last
}

func (y *tally) result(name string) rundir.CounterTarget {
	out := rundir.CounterTarget{Name: name, Due: y.due, Good: y.good, FirstGood: y.firstGood, LastGood: y.lastGood,
		Error: y.lastError, Series: []rundir.CounterSeries{}}
	for _, key := range slices.Sorted(maps.Keys(y.counters)) {
		c := y.counters[key]
		if math.IsInf(c.last, 0) || math.IsInf(c.first, 0) || math.IsInf(c.lost, 0) {
			continue // JSON has no infinity, and no counter that counts is infinite
		}
		out.Series = append(out.Series, rundir.CounterSeries{Name: c.name, Labels: c.labels, First: c.first,
			Last: c.last, Resets: c.resets, Increase: c.last - c.first + c.lost})
	}
	return out
}

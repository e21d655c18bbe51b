package load

import (
	"slices"
	"sync"
)

// texts writes the histograms of a recorder, again and again while the load goes on: only what has changed since the
// last time is written anew.
type texts struct {
	mu      sync.Mutex
	encoder encoder
	whole   tally
	// metrics are what was written last, by place in recorder.names; batches are what it was made of.
	metrics []Metric
	batches [][Batches]kept
}

// kept is what a batch held when it was written.
type kept struct {
	sum   int64
	cells []cell
}

// metrics writes the histograms; medians holds the median of each metric by name. Before the load is over a batch counts
// as unchanged when its sum is: if nothing came to it but values of 0, these are missing until something else comes.
func (r *recorder) metrics(over bool) (list []Metric, medians map[string]int64) {
	t := &r.texts
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.metrics == nil {
		t.batches = make([][Batches]kept, len(r.names))
		for _, name := range r.names {
			t.metrics = append(t.metrics, Metric{Name: name, Unit: "ns", Batches: make([]Batch, Batches)})
		}
	}
	medians = map[string]int64{}
	for i := range t.metrics {
		t.write(r, i, over)
		m := t.metrics[i]
		if m.Count == 0 {
			continue
		}
		medians[m.Name] = quantile(m.Count, 0.5, t.whole.each)
		m.Batches = slices.Clone(m.Batches)
		list = append(list, m)
	}
	return list, medians
}

// write brings metric i up to date; its counters are then in whole.
func (t *texts) write(r *recorder, i int, over bool) {
	m := &t.metrics[i]
	before := m.Count
	t.whole.reset()
	m.Count, m.Sum, m.Min, m.Max = 0, 0, 0, 0
	for b := range r.batches {
		batch := r.batches[b].Load()
		if batch == nil {
			continue
		}
		h, k := &batch.metrics[i], &t.batches[i][b]
		if sum := h.sum.Load(); over || sum != k.sum || len(k.cells) == 0 {
			k.sum = sum
			t.look(h, k, &m.Batches[b])
		}
		t.whole.add(k.cells)
		m.join(h, m.Batches[b])
	}
	if m.Count != before {
		m.Histogram = t.encoder.encode(t.whole.each)
	}
}

// look brings one batch up to date.
func (t *texts) look(h *hist, k *kept, b *Batch) {
	k.cells = h.cells(k.cells[:0])
	var count int64
	for _, c := range k.cells {
		count += int64(c.n)
	}
	b.Sum = k.sum
	if count != b.Count { // counters only grow: those of an equal count are equal
		b.Count, b.Histogram = count, t.encoder.encode(func(f func(int, int64)) {
			for _, c := range k.cells {
				f(int(c.at), int64(c.n))
			}
		})
	}
}

// join adds one batch to the totals of the metric.
func (m *Metric) join(h *hist, b Batch) {
	if b.Count == 0 {
		return
	}
	if least := h.min(); m.Count == 0 || least < m.Min {
		m.Min = least
	}
	m.Max = max(m.Max, h.most.Load())
	m.Count += b.Count
	m.Sum += b.Sum
}

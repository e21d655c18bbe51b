package load

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
)

// The layout must be the library's, counter by counter: else a result decodes to other values.
func TestHistMatchesHDR(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ours, theirs := new(hist), newHDR()
	values := []int64{0, 1, 511, 512, 999, 1000, 1023, 1<<20 - 1, 1 << 20, 1<<20 + 1, histHighest - 1, histHighest}
	for range 20_000 {
		values = append(values, int64(math.Exp(rng.Float64()*math.Log(float64(histHighest)))))
	}
	var sum int64
	for _, v := range values {
		ours.add(v, 1)
		sum += v
		if err := theirs.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(countersOf(t, theirs), ours.counters()); diff != "" {
		t.Fatalf("counters (-library +ours):\n%s", diff)
	}
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		if got, want := ours.quantile(q), theirs.ValueAtPercentile(100*q); got != want {
			t.Errorf("quantile %v: got %d, want %d", q, got, want)
		}
	}
	if got := ours.count(); got != int64(len(values)) {
		t.Errorf("count: got %d, want %d", got, len(values))
	}
	if ours.sum.Load() != sum || ours.min() != 0 || ours.most.Load() != histHighest {
		t.Errorf("sum %d min %d max %d are not exact", ours.sum.Load(), ours.min(), ours.most.Load())
	}
}

func TestHistOutOfRange(t *testing.T) {
	h := new(hist)
	h.add(-5, 1)
	h.add(int64(2*time.Hour), 3)
	if got := h.count(); got != 4 {
		t.Errorf("count: got %d, want 4: nothing is dropped", got)
	}
	if got, want := h.most.Load(), int64(2*time.Hour); got != want {
		t.Errorf("max: got %d, want %d: it is exact beyond the range", got, want)
	}
	if got := h.min(); got != 0 {
		t.Errorf("min: got %d, want 0", got)
	}
	if got := new(hist).quantile(0.5); got != 0 {
		t.Errorf("the median of nothing: got %d, want 0", got)
	}
}

func TestHistConcurrent(t *testing.T) {
	h := new(hist)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				h.add(int64(1000+g*1000+i), 2)
			}
		})
	}
	wg.Wait()
	if got := h.count(); got != 80_000 {
		t.Errorf("count: got %d, want 80000: two writers lost a page", got)
	}
	if h.min() != 1000 || h.most.Load() != 8000+4999 {
		t.Errorf("min %d max %d, want 1000 and 12999", h.min(), h.most.Load())
	}
}

// The p99.9 of eight merged parts is that of the union.
func TestMergedQuantile(t *testing.T) {
	const seed = 3
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	union, merged := newHDR(), newHDR()
	for part := range 8 {
		h := new(hist)
		for range 20_000 {
			v := int64(float64(time.Millisecond) * (1 + float64(part)) * rng.ExpFloat64())
			h.add(v, 1)
			_ = union.RecordValue(v)
		}
		decoded, err := hdr.Decode([]byte(encoded(h)))
		if err != nil {
			t.Fatal(err)
		}
		merged.Merge(decoded)
	}
	got, want := merged.ValueAtPercentile(99.9), union.ValueAtPercentile(99.9)
	if diff := math.Abs(float64(got-want)) / float64(want); diff > 0.001 {
		t.Errorf("merged p99.9 %d, union %d: %.4f apart", got, want, diff)
	}
	if diff := cmp.Diff(union.TotalCount(), merged.TotalCount()); diff != "" {
		t.Error(diff)
	}
}

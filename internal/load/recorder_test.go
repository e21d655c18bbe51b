package load

import (
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// record is one operation as the inference workload records it, without its gaps between tokens.
func record(r *recorder, op *Op, i int64) {
	at := r.from + i*100_000
	r.offered(Measure)
	r.begin(op, Request{Phase: Measure, Index: uint64(i), Scheduled: at})
	op.attempt(0)
	r.sending(op)
	op.Sent, op.End, op.Done = at+20_000, at+9_000_000+i%1000*1000, at+9_000_000
	op.Observe(0, 5_000_000+i%777*1000, 1)
	op.Count(1, at, 16)
	r.sent(op)
	r.ended(op)
}

func TestRecordingAllocatesNothing(t *testing.T) {
	r := newRecorder([]string{"ttft"}, nil, testTotals, 1, int64(time.Minute))
	var op Op
	i := int64(0)
	for range 1000 { // the pages of the histograms come into being
		record(r, &op, i%1000)
		i++
	}
	if got := testing.AllocsPerRun(1000, func() {
		record(r, &op, i%1000)
		i++
	}); got != 0 {
		t.Errorf("%v allocations for an operation, want 0", got)
	}
}

// BenchmarkRecord is one whole operation: counts, tokens and four latencies.
func BenchmarkRecord(b *testing.B) {
	r := newRecorder([]string{"ttft"}, nil, testTotals, 1, int64(time.Minute))
	var op Op
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		record(r, &op, i%500_000)
		i++
	}
}

// BenchmarkRecordHDR keeps the four latencies of an operation in histograms of the library, under a lock, since they
// are not safe for concurrent use: what BenchmarkRecord is compared with.
func BenchmarkRecordHDR(b *testing.B) {
	var mu sync.Mutex
	var histograms [4]*hdr.Histogram
	for i := range histograms {
		histograms[i] = newHDR()
	}
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		mu.Lock()
		for k, ns := range [...]int64{20_000, 9_000_000 + i%1000*1000, 8_980_000 + i%1000*1000, 5_000_000 + i%777*1000} {
			if err := histograms[k].RecordValue(ns); err != nil {
				b.Fatal(err)
			}
		}
		mu.Unlock()
		i++
	}
}

func BenchmarkRecordParallel(b *testing.B) {
	r := newRecorder([]string{"ttft"}, nil, testTotals, 1, int64(time.Minute))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var op Op
		for i := int64(0); pb.Next(); i++ {
			record(r, &op, i%500_000)
		}
	})
}

// BenchmarkObserve is one value, such as one gap between tokens.
func BenchmarkObserve(b *testing.B) {
	r := newRecorder([]string{"itl"}, nil, testTotals, 1, int64(time.Minute))
	var op Op
	r.begin(&op, Request{Phase: Measure, Scheduled: 1})
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		op.Observe(0, 4_000_000+i%4096*512, 1)
		i++
	}
}

func TestFailAfterObserve(t *testing.T) {
	r := newRecorder([]string{"ttft"}, nil, testTotals, 1, 100)
	var op Op
	r.begin(&op, Request{Phase: Measure, Scheduled: 1})
	op.Observe(0, 5, 1)
	defer func() {
		if recover() == nil {
			t.Error("an attempt that was observed may fail, and its values stay in the histograms")
		}
	}()
	op.Fail(Reset, 0, "")
}

func TestPrintable(t *testing.T) {
	for name, c := range map[string]struct{ reason, in, want string }{
		"plain":   {"text stays", "busy\n", "busy\n"},
		"control": {"a terminal must not obey it", "a\x1b[2Jb\x00c", "a[2Jbc"},
		"binary":  {"JSON wants UTF-8", "a\xff\xfeb", "ab"},
		"cut":     {"a rune that the limit cuts goes", strings.Repeat("x", 511) + "é", strings.Repeat("x", 511)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := printable(c.in); got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

// fill records requests of 128 tokens, 100 each second, with all metrics.
func fill(r *recorder, rng *rand.Rand, from, to int64) {
	spread := func(mean float64) int64 { return int64(mean * math.Exp(0.3*rng.NormFloat64())) }
	var op Op
	for i := from; i < to; i++ {
		r.begin(&op, Request{Phase: Measure, Index: uint64(i), Scheduled: r.from + i*int64(10*time.Millisecond)})
		op.attempt(0)
		op.Sent = op.Scheduled + spread(80e3)
		op.End = op.Sent + spread(600e6)
		for m, mean := range []float64{35e6, 35e6, 4e6} {
			op.Observe(m, spread(mean), 1)
		}
		for range 127 {
			gap := spread(4e6)
			op.Observe(3, gap, 1)
			op.Observe(4, gap, 1)
		}
		r.sent(&op)
		r.ended(&op)
	}
}

func filled(rng *rand.Rand, requests int64) *recorder {
	r := newRecorder([]string{"ttft", "ttft_from_send", "tpot", "itl_token", "itl_chunk"}, nil, testTotals, 1, int64(2*time.Minute))
	fill(r, rng, 0, requests)
	return r
}

// BenchmarkSnapshot is what histograms cost each second, at the end of a measurement of 2 minutes.
func BenchmarkSnapshot(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 0))
	r := filled(rng, 11_900)
	r.metrics(false)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		fill(r, rng, 11_900, 12_000)
		b.StartTimer()
		r.metrics(false)
	}
}

// A rank's result with a few million values spread over octaves stays below 1 MiB, and its counters below 40 MB.
func TestSizeOfAResult(t *testing.T) {
	const seed = 5
	t.Logf("seed %d", seed)
	r := filled(rand.New(rand.NewPCG(seed, 0)), 12_000)
	metrics, _ := r.metrics(true)
	text := 0
	for _, m := range metrics {
		text += len(m.Histogram)
		for _, b := range m.Batches {
			text += len(b.Histogram)
		}
	}
	pages := 0
	for b := range r.batches {
		for m := range r.batches[b].Load().metrics {
			for p := range r.batches[b].Load().metrics[m].pages {
				if r.batches[b].Load().metrics[m].pages[p].Load() != nil {
					pages++
				}
			}
		}
	}
	t.Logf("%d KiB of text, %d KiB of counters", text>>10, pages)
	if text > 1<<20 || pages > 40<<10 {
		t.Errorf("%d KiB of text, %d KiB of counters; want at most 1024 and 40960", text>>10, pages)
	}
}

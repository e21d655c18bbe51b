package load

import (
	"strings"
	"testing"
	"time"
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
	op.Tokens(at, 16)
	r.sent(op)
	r.ended(op)
}

func TestRecordingAllocatesNothing(t *testing.T) {
	r := newRecorder([]string{"ttft"}, 1, int64(time.Minute))
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
	r := newRecorder([]string{"ttft"}, 1, int64(time.Minute))
	var op Op
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		record(r, &op, i%500_000)
		i++
	}
}

func BenchmarkRecordParallel(b *testing.B) {
	r := newRecorder([]string{"ttft"}, 1, int64(time.Minute))
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
	r := newRecorder([]string{"itl"}, 1, int64(time.Minute))
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
	r := newRecorder([]string{"ttft"}, 1, 100)
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

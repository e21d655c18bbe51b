package load

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
)

// newHDR is an empty histogram of the library with our range.
func newHDR() *hdr.Histogram { return hdr.New(histLowest, histHighest, histDigits) }

func encoded(h *hist) string {
	var e encoder
	return e.encode(h.each)
}

// counters are those in use, by place.
func (h *hist) counters() map[int]int64 {
	all := map[int]int64{}
	h.each(func(i int, n int64) { all[i] = n })
	return all
}

// countersOf are those in use in a histogram of the library, by place.
func countersOf(t testing.TB, h *hdr.Histogram) map[int]int64 {
	t.Helper()
	bars := h.Distribution()
	if len(bars) > histCounters {
		t.Fatalf("the library has %d counters, we %d", len(bars), histCounters)
	}
	all := map[int]int64{}
	for _, bar := range bars {
		if bar.Count > 0 {
			all[histIndex(bar.From)] = bar.Count
		}
	}
	return all
}

// inflated is what stands in an encoded histogram before it was compressed.
func inflated(t testing.TB, text []byte) []byte {
	t.Helper()
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	if err != nil {
		t.Fatal(err)
	}
	b = b[:n]
	if length := int(binary.BigEndian.Uint32(b[4:])); length != n-packedHead {
		t.Fatalf("the length says %d, %d bytes follow", length, n-packedHead)
	}
	in, err := zlib.NewReader(bytes.NewReader(b[packedHead:]))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return append(b[:4:4], plain...)
}

// checkEncoding compares with the library in both directions: it reads what we write, and writes the same bytes.
func checkEncoding(t *testing.T, ours *hist) {
	t.Helper()
	text := []byte(encoded(ours))
	decoded, err := hdr.Decode(text)
	if err != nil {
		t.Fatalf("the library cannot read what we write: %v", err)
	}
	if diff := cmp.Diff(ours.counters(), countersOf(t, decoded)); diff != "" {
		t.Fatalf("counters (-ours +read by the library):\n%s", diff)
	}
	if got := decoded.TotalCount(); got != ours.count() {
		t.Fatalf("the library counts %d values, we %d", got, ours.count())
	}
	theirs, err := decoded.Encode(hdr.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	if ours.count() > 0 && !bytes.Equal(inflated(t, theirs), inflated(t, text)) {
		t.Fatal("the library writes other bytes")
	}
}

func TestEncodeIsTheLibrarys(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			h := new(hist)
			centre, spread := rng.Float64()*math.Log(float64(histHighest)), 3*rng.Float64()
			for range rng.IntN(5000) {
				h.add(int64(math.Exp(centre+spread*rng.NormFloat64())), 1+uint32(rng.IntN(1<<(1+rng.IntN(20)))))
			}
			checkEncoding(t, h)
		})
	}
	for name, values := range map[string][]int64{
		"nothing":           nil,
		"the first counter": {0},
		"the last counter":  {histHighest},
		"both ends":         {0, histHighest},
		"neighbours":        {0, 512, 1024},
		"one empty between": {0, 1024},
		"edge of a page":    {256 * 512, 257 * 512, 255 * 512},
		"beyond the range":  {int64(48 * time.Hour), -1},
	} {
		t.Run(name, func(t *testing.T) {
			h := new(hist)
			for _, v := range values {
				h.add(v, math.MaxUint32)
			}
			checkEncoding(t, h)
		})
	}
}

// FuzzEncode takes values as varints, each with its count.
func FuzzEncode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x80, 0x80, 0x04, 0x01, 0x80, 0x80, 0x84, 0x80, 0x10, 0x7f})
	f.Fuzz(func(t *testing.T, in []byte) {
		h := new(hist)
		for len(in) > 0 {
			v, n := binary.Uvarint(in)
			if n <= 0 || n == len(in) {
				break
			}
			h.add(int64(v>>1), uint32(in[n]))
			in = in[n+1:]
		}
		checkEncoding(t, h)
	})
}

// A snapshot writes anew what has changed, and nothing else, and it is what a first snapshot would be.
func TestMetricsAreKept(t *testing.T) {
	r := newRecorder([]string{"ttft"}, nil, testTotals, 1, int64(64*time.Second))
	var op Op
	add := func(second int64) {
		at := r.from + second*int64(time.Second)
		r.begin(&op, Request{Phase: Measure, Scheduled: at})
		op.attempt(0)
		op.Sent, op.End = at, at+int64(time.Millisecond)*(1+second)
		op.Observe(0, 7, 1)
		r.sent(&op)
		r.ended(&op)
	}
	fresh := func() []Metric {
		r.texts = texts{}
		list, _ := r.metrics(true)
		return list
	}
	for second := range int64(20) {
		add(second)
	}
	first, medians := r.metrics(false)
	if got, want := time.Duration(medians[MetricE2E]).Round(100*time.Microsecond), 10*time.Millisecond; got != want {
		t.Errorf("median %v, want %v", got, want)
	}
	kept := slices.Clone(first[0].Batches)
	r.texts.metrics[e2e].Batches[3].Histogram = "kept"
	add(19)
	add(20)
	second, _ := r.metrics(false)
	if got := second[0].Batches[3].Histogram; got != "kept" {
		t.Error("a batch that did not change was written anew")
	}
	for _, b := range []int{19, 20} {
		if second[0].Batches[b].Histogram == kept[b].Histogram {
			t.Errorf("batch %d has changed and was not written anew", b)
		}
	}
	if diff := cmp.Diff(kept, first[0].Batches); diff != "" {
		t.Errorf("a later snapshot changed an earlier one:\n%s", diff)
	}
	second[0].Batches[3] = kept[3]
	lag := len(second) - 2
	if got := second[lag].Batches[19].Count; second[lag].Name != MetricSendLag || got != 1 {
		t.Errorf("%s: %d values in batch 19; the test means one of 0 that does not show before the end", second[lag].Name, got)
	}
	if second, _ = r.metrics(true); second[lag].Batches[19].Count != 2 {
		t.Error("a value of 0 is missing at the end")
	}
	second[0].Batches[3] = kept[3]
	if diff := cmp.Diff(fresh(), second); diff != "" {
		t.Errorf("a first snapshot against a second one:\n%s", diff)
	}
}

// benchHist is one batch as it is in a load of some hundred requests per second: values over two octaves.
func benchHist() *hist {
	rng := rand.New(rand.NewPCG(1, 0))
	h := new(hist)
	for range 2000 {
		h.add(int64(35e6*math.Exp(0.3*rng.NormFloat64())), 1)
	}
	return h
}

func BenchmarkEncode(b *testing.B) {
	h := benchHist()
	var e encoder
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		size = len(e.encode(h.each))
	}
	b.ReportMetric(float64(size), "bytes")
}

// BenchmarkEncodeHDR is what BenchmarkEncode is compared with: the library's encoder, the counters already in it.
func BenchmarkEncodeHDR(b *testing.B) {
	h := newHDR()
	benchHist().each(func(i int, n int64) {
		if err := h.RecordValues(histValue(i), n); err != nil {
			b.Fatal(err)
		}
	})
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		text, err := h.Encode(hdr.V2CompressedEncodingCookieBase)
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size), "bytes")
}

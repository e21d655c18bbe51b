package results

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
)

// library encodes values as the client does.
func library(t testing.TB, lowest int64, values []int64) string {
	t.Helper()
	h := hdrhistogram.New(lowest, int64(time.Hour), histDigits)
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// libraryBins reads a histogram with the library.
func libraryBins(t testing.TB, encoded string) []bin {
	t.Helper()
	h, err := hdrhistogram.Decode([]byte(encoded))
	if err != nil {
		t.Fatalf("the library refuses what we read: %v", err)
	}
	var bins []bin
	var sum int64
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			sum += bar.Count
			bins = append(bins, bin{bar.From + (bar.To-bar.From+1)/2, sum})
		}
	}
	return bins
}

func spread(seed uint64, n int) []int64 {
	random := rand.New(rand.NewPCG(seed, 0))
	values := []int64{0, 1, 511, 512, 999, 1 << 20, 1<<20 - 1, int64(time.Hour)}
	for range n {
		values = append(values, int64(math.Exp(random.Float64()*math.Log(float64(time.Hour)))))
	}
	return values
}

func TestDecodeIsTheLibrarys(t *testing.T) {
	const seed = 5
	t.Logf("seed %d", seed)
	values := spread(seed, 20_000)
	tests := map[string]string{
		"from 1 µs, as the client writes": library(t, 1000, values),
		"from 1 ns":                       library(t, 1, values),
		"one value":                       library(t, 1000, []int64{42_000_000}),
		"many of one value":               library(t, 1000, slices.Repeat([]int64{7_000_000}, 3000)),
		"as the tests write":              encode(t, values),
	}
	var d decoder
	for name, encoded := range tests {
		got, err := d.decode(encoded)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(libraryBins(t, encoded), got, cmp.AllowUnexported(bin{})); diff != "" {
			t.Errorf("%s: library against us:\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(libraryBins(t, library(t, 1000, values)), libraryBins(t, encode(t, values)), cmp.AllowUnexported(bin{})); diff != "" {
		t.Errorf("the tests' own encoder differs from the library:\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := encode(t, []int64{1_000_000, 2_000_000, 2_000_000})
	raw, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, to byte) string {
		b := slices.Clone(raw)
		b[at] = to
		return base64.StdEncoding.EncodeToString(b)
	}
	tests := map[string]struct{ encoded, want string }{
		"no base64":         {"%%%", "base64"},
		"nothing in it":     {"AAAA", "not in the format"},
		"another format":    {changed(0, 1), "not in the format"},
		"cut":               {base64.StdEncoding.EncodeToString(raw[:len(raw)-3]), "it is cut"},
		"too long":          {changed(4, 0x7f), "it is cut"},
		"a broken checksum": {changed(len(raw)-1, raw[len(raw)-1]^1), "damaged"},
		"no checksum":       {withoutChecksum(raw), "damaged"},
		"no zlib":           {changed(8, 0), "inflate"},
		"two digits":        {withHead(t, 15, 2), "2 significant digits"},
		"no lowest value":   {withHead(t, 22, 0, 0), "lowest value"},
		"a payload of 2 GB": {withHead(t, 4, 0x7f), "cannot be"},
		"a shorter payload": {withHead(t, 7, 1), "longer than 1 bytes"},
		"beyond the range":  {withHead(t, 24, 0, 0, 0, 0, 0, 0, 0, 1), "beyond its range"},
	}
	var d decoder
	for name, tc := range tests {
		if _, err := d.decode(tc.encoded); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, tc.want)
		}
		if got, err := d.decode(good); err != nil || len(got) != 2 {
			t.Errorf("%s: afterwards a good one gives %v, %v", name, got, err)
		}
	}
}

// withoutChecksum cuts the last four bytes and says so in the length.
func withoutChecksum(raw []byte) string {
	b := slices.Clone(raw[:len(raw)-4])
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-8))
	return base64.StdEncoding.EncodeToString(b)
}

// withHead is a histogram of 1 h whose head has other bytes from a place on.
func withHead(t *testing.T, at int, bytes ...byte) string {
	t.Helper()
	plain := []byte{
		0x1c, 0x84, 0x93, 0x13, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 3, 0x46, 0x30, 0xb8, 0xa0, 0,
		0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xff, 0xbf, 0x02, 2, // 20,480 empty counters and one of 1
	}
	copy(plain[at:], bytes)
	return packed(t, plain)
}

// Histograms of other ranges are never added up counter by counter.
func TestTallyOfTwoRanges(t *testing.T) {
	var d decoder
	if _, err := d.add(library(t, 1000, []int64{5_000_000})); err != nil {
		t.Fatal(err)
	}
	if _, err := d.add(library(t, 1, []int64{5_000_000})); err == nil || !strings.Contains(err.Error(), "its range is not that of the others") {
		t.Errorf("got %v", err)
	}
	if got := d.tally.bins(); got != nil {
		t.Errorf("after an error the tally holds %v", got)
	}
}

// What we read, the library reads as the same.
func FuzzDecode(f *testing.F) {
	f.Add(encode(f, spread(1, 50)))
	f.Add(library(f, 1, []int64{1, 2, 3, 1 << 40}))
	f.Add("")
	f.Fuzz(func(t *testing.T, encoded string) {
		var d decoder
		got, err := d.decode(encoded)
		if err != nil || encoded == "" {
			return
		}
		if diff := cmp.Diff(libraryBins(t, encoded), slices.Clone(got), cmp.AllowUnexported(bin{})); diff != "" && len(got) > 0 {
			t.Errorf("library against us:\n%s", diff)
		}
	})
}

func TestQuantile(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	inf := math.Inf(1)
	tests := map[string]struct {
		values []int64
		failed int64
		q      float64
		want   float64
	}{
		"p50 of 1 to 100 is the 50th, never a mean of two":  {hundred, 0, 0.5, 50},
		"p99 of 100 is the 99th":                            {hundred, 0, 0.99, 99},
		"p99.9 of 100 is the last":                          {hundred, 0, 0.999, 100},
		"p99.9 of 1,000 is the 999th, not rounded up":       {slices.Repeat(hundred, 10), 0, 0.999, 100},
		"one value is every percentile":                     {[]int64{7}, 0, 0.5, 7},
		"failures are the latest: 99 of 100 succeeded":      {hundred[:99], 1, 0.99, 99},
		"p99 is infinite when 2 of 100 failed":              {hundred[:98], 2, 0.99, inf},
		"the median is infinite when more than half failed": {hundred[:49], 51, 0.5, inf},
		"the median is finite when exactly half failed":     {hundred[:50], 50, 0.5, 50},
		"everything failed":                                 {nil, 3, 0.5, inf},
		"equal values":                                      {slices.Repeat([]int64{5}, 9), 0, 0.9, 5},
	}
	for name, tc := range tests {
		d := distOf(tc.values)
		d.failed = tc.failed
		if got, err := d.quantile(tc.q); err != nil || got != tc.want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, tc.want)
		}
	}
	if _, err := (dist{}).quantile(0.5); err == nil {
		t.Error("the median of nothing is a number")
	}
}

func TestAtMost(t *testing.T) {
	d := distOf([]int64{1, 2, 2, 5})
	for bound, want := range map[float64]int64{0: 0, 1: 1, 1.5: 1, 2: 3, 4.9: 3, 5: 4, 100: 4} {
		if got := d.atMost(bound); got != want {
			t.Errorf("at most %v: got %d, want %d", bound, got, want)
		}
	}
}

// parted is a heavy tail in eight parts, encoded as the client does, and all of its values. The parts differ, so that a
// mean of percentiles would be far off.
func parted(tb testing.TB, seed uint64) (parts []dist, union []int64) {
	tb.Helper()
	const count, each = 8, 25_000
	random := rand.New(rand.NewPCG(seed, 0))
	var d decoder
	for part := range count {
		values := make([]int64, each)
		for i := range values {
			values[i] = int64(1e6 * float64(1+part) * math.Pow(1-random.Float64(), -1/1.3))
			values[i] = min(values[i], int64(time.Hour))
		}
		union = append(union, values...)
		m := Metric{Name: "e2e", Count: each, Sum: total64(values), Min: slices.Min(values), Max: slices.Max(values), Histogram: library(tb, 1000, values)}
		one, err := newDist(&d, m)
		if err != nil {
			tb.Fatal(err)
		}
		parts = append(parts, one)
	}
	return parts, union
}

// The p99.9 of merged parts is that of the union, within 0.1 %: the client's own histograms, over a heavy tail.
func TestMergedPercentiles(t *testing.T) {
	const seed = 17
	t.Logf("seed %d", seed)
	parts, union := parted(t, seed)
	all := merged(parts)
	exact := distOf(union)
	for _, s := range statistics() {
		got, want := s.of(all), s.of(exact)
		off := math.Abs(got-want) / want
		t.Logf("%-6s merged %.0f, union %.0f: %.4f %% apart", s.name, got, want, 100*off)
		if limit := map[bool]float64{true: 0.001, false: 1e-12}[s.quantile > 0]; off > limit {
			t.Errorf("%s: merged %.0f, union %.0f: %.4f %% apart", s.name, got, want, 100*off)
		}
	}
	if all.count != int64(len(union)) || all.total() != exact.total() {
		t.Errorf("count: got %d, want %d", all.count, len(union))
	}
}

// BenchmarkMergedTail merges the eight parts and says by how much the p99.9 is off that of the union, for the worst of
// 20 seeds.
func BenchmarkMergedTail(b *testing.B) {
	worst := 0.0
	for seed := range uint64(20) {
		parts, union := parted(b, seed)
		tail := statistic{"p99.9", 0.999}
		got, want := tail.of(merged(parts)), tail.of(distOf(union))
		worst = max(worst, math.Abs(got-want)/want)
	}
	parts, _ := parted(b, 0)
	for b.Loop() {
		merged(parts)
	}
	b.ReportMetric(100*worst, "%-off")
}

func TestMergedEmpty(t *testing.T) {
	some := distOf([]int64{3, 9})
	for name, parts := range map[string][]dist{"before": {{}, some}, "after": {some, {}}, "between": {{}, some, {}}} {
		got := merged(parts)
		if got.min != 3 || got.max != 9 || got.count != 2 {
			t.Errorf("an empty part %s: min %d, max %d, count %d, want 3, 9, 2", name, got.min, got.max, got.count)
		}
	}
}

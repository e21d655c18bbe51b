package llmsim

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLatencyDraw(t *testing.T) {
	const n, seed = 200_000, 7
	l := Latency{Mean: 10 * time.Millisecond, Deviation: 3 * time.Millisecond}
	r := stream(seed, 1, timeStream, 0)
	var sum, squares float64
	for range n {
		d := l.draw(r)
		if d < 3*time.Millisecond || d > 17*time.Millisecond {
			t.Fatalf("seed %d: draw %s is outside 30 %% to 170 %% of the mean", seed, d)
		}
		x := float64(d) / float64(time.Millisecond)
		sum += x
		squares += x * x
	}
	mean := sum / n
	deviation := math.Sqrt(squares/n - mean*mean)
	// A normal distribution cut at c = 7/3 deviations on both sides has the variance 1 - 2c phi(c) / (2 Phi(c) - 1).
	c := 7.0 / 3
	want := 3 * math.Sqrt(1-2*c*math.Exp(-c*c/2)/math.Sqrt(2*math.Pi)/math.Erf(c/math.Sqrt2))
	if math.Abs(mean-10) > 4*want/math.Sqrt(n) {
		t.Errorf("seed %d: mean = %.4f ms, want 10 within four standard errors", seed, mean)
	}
	if math.Abs(deviation-want) > 0.02 {
		t.Errorf("seed %d: deviation = %.4f ms, want %.4f", seed, deviation, want)
	}
}

func TestStreamsAreRepeatableAndApart(t *testing.T) {
	first := func(seed, key uint64, kind, index int) uint64 { return stream(seed, key, kind, index).Uint64() }
	base := first(1, 2, timeStream, 0)
	if again := first(1, 2, timeStream, 0); again != base {
		t.Errorf("the same stream gave %d and %d", base, again)
	}
	others := map[string]uint64{
		"seed": first(2, 2, timeStream, 0), "key": first(1, 3, timeStream, 0),
		"kind": first(1, 2, textStream, 0), "index": first(1, 2, timeStream, 1),
	}
	for what, got := range others {
		if got == base {
			t.Errorf("another %s gave the same stream", what)
		}
	}
}

func TestAnswerLength(t *testing.T) {
	const n, seed = 20_000, 3
	r := stream(seed, 1, textStream, 0)
	if got, limited := answerLength(r, 0, 17, true); got != 17 || !limited {
		t.Errorf("with ignore_eos = %d, %t, want 17, true", got, limited)
	}
	sum := 0.0
	for range n {
		got, limited := answerLength(r, 5, 100_000, false)
		if got < 5 || limited {
			t.Fatalf("seed %d: length = %d, limited %t, want at least 5 and an end by itself", seed, got, limited)
		}
		sum += float64(got)
	}
	if mean := sum / n; math.Abs(mean-(5+stopEvery-1)) > 4*stopEvery/math.Sqrt(n) {
		t.Errorf("seed %d: mean length = %.1f, want %d", seed, mean, 5+stopEvery-1)
	}
	for range 1000 {
		if got, limited := answerLength(r, 0, 20, false); got < 1 || got > 20 || (got == 20) != limited {
			t.Fatalf("seed %d: length = %d, limited %t, want 1 to 20, limited only at 20", seed, got, limited)
		}
	}
}

func TestDrawFault(t *testing.T) {
	const n, seed = 100_000, 5
	faults := []Fault{{RateLimit, 0.1}, {Reset, 0.25}}
	got := map[FaultType]float64{}
	for key := range uint64(n) {
		got[drawFault(faults, stream(seed, key, faultStream, 0))]++
	}
	for fault, want := range map[FaultType]float64{"": 0.65, RateLimit: 0.1, Reset: 0.25} {
		if ratio := got[fault] / n; math.Abs(ratio-want) > 4*math.Sqrt(want*(1-want)/n) {
			t.Errorf("seed %d: share of %q = %.4f, want %.2f", seed, fault, ratio, want)
		}
	}
}

func TestSlowdown(t *testing.T) {
	got := []float64{slowdown(3, 1, 5), slowdown(3, 3, 5), slowdown(3, 5, 5), slowdown(3, 1, 1), slowdown(1, 4, 5)}
	if diff := cmp.Diff([]float64{1, 2, 3, 3, 1}, got); diff != "" {
		t.Errorf("slowdown is not linear from 1 to the factor (-want +got):\n%s", diff)
	}
}

func TestVocabulary(t *testing.T) {
	v := newVocabulary()
	if len(v.ids) != len(v.words) {
		t.Errorf("%d of %d words are there twice", len(v.words)-len(v.ids), len(v.words))
	}
	for _, w := range v.words {
		if strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("word %q needs escapes in JSON", w)
		}
	}
	for id := range vocabularySize {
		if got := v.id(v.word(id)); got != id {
			t.Fatalf("id(word(%d)) = %d", id, got)
		}
	}
	for _, w := range []string{"Zürich", "t007", "t-1", "t99999999999999999999", "t", "T300"} {
		if got := v.id(w); got < len(v.words) || got >= vocabularySize {
			t.Errorf("id(%q) = %d, want one beyond the words and below %d", w, got, vocabularySize)
		}
	}
}

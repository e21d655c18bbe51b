package results

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// exactCDF sums the binomial probabilities one by one.
func exactCDF(n int64, p float64, k int64) float64 {
	var out float64
	for i := int64(0); i <= k; i++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		out += math.Exp(a - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return out
}

func TestBinomialCDF(t *testing.T) {
	for _, n := range []int64{1, 2, 6, 10, 100, 459, 1000, 20_000} {
		for _, p := range []float64{0.001, 0.01, 0.05, 0.5, 0.9, 0.99, 0.999} {
			mean, sd := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
			for _, z := range []float64{-4, -2, -1, 0, 1, 2, 4} {
				k := min(n-1, max(0, int64(mean+z*sd)))
				got, want := binomialCDF(n, p, k), exactCDF(n, p, k)
				if math.Abs(got-want) > 1e-9 {
					t.Errorf("P(Binom(%d, %v) <= %d): got %.12f, want %.12f", n, p, k, got, want)
				}
			}
		}
	}
	for name, tc := range map[string]struct {
		n, k int64
		p    float64
		want float64
	}{
		"below zero": {10, -1, 0.5, 0}, "all": {10, 10, 0.5, 1}, "certain not": {10, 3, 0, 1}, "certain": {10, 3, 1, 0},
	} {
		if got := binomialCDF(tc.n, tc.p, tc.k); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// Above exactVariance the normal approximation takes over; at the border both must say the same.
func TestBinomialCDFOfMany(t *testing.T) {
	for _, p := range []float64{0.001, 0.01, 0.5, 0.99} {
		n := int64(1.01 * exactVariance / (p * (1 - p)))
		mean, sd := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
		for _, z := range []float64{-3, -2.33, -1.96, 0, 1.96, 2.33, 3} {
			k := int64(mean + z*sd)
			got, want := binomialCDF(n, p, k), regularisedBeta(1-p, float64(n-k), float64(k+1))
			if math.Abs(got-want) > 1e-5 {
				t.Errorf("P(Binom(%d, %v) <= %d): got %.8f, want %.8f", n, p, k, got, want)
			}
		}
	}
}

func TestRegularisedBeta(t *testing.T) {
	tests := []struct{ x, a, b, want float64 }{
		{0.3, 1, 1, 0.3}, {0.3, 2, 1, 0.09}, {0.3, 1, 2, 1 - 0.49}, {0.5, 7, 7, 0.5}, {0, 2, 3, 0}, {1, 2, 3, 1},
		{0.25, 0.5, 0.5, 1.0 / 3}, // the arcsine distribution
	}
	for _, tc := range tests {
		if got := regularisedBeta(tc.x, tc.a, tc.b); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("I(%v; %v, %v): got %v, want %v", tc.x, tc.a, tc.b, got, tc.want)
		}
	}
}

// The numbers of MLPerf's rule for 99 % confidence: requests that are needed with so many beyond the limit.
func TestHoldsIsMLPerfs(t *testing.T) {
	tests := map[float64]map[int64]int64{
		0.99:  {0: 459, 1: 662, 2: 838, 5: 1307, 10: 2010},
		0.95:  {0: 90, 1: 130},
		0.9:   {0: 44, 1: 64},
		0.999: {0: 4603, 1: 6636},
	}
	for q, rows := range tests {
		for late, n := range rows {
			if !holds(n, late, q) {
				t.Errorf("q %v: %d late of %d: the limit holds, but is not seen to", q, late, n)
			}
			if holds(n-1, late, q) {
				t.Errorf("q %v: %d late of %d: one request fewer does not decide, but is taken to", q, late, n-1)
			}
		}
	}
}

func TestBreaks(t *testing.T) {
	for _, tc := range []struct {
		n, late int64
		q       float64
		want    bool
	}{
		{100, 0, 0.99, false}, {100, 4, 0.99, false}, {100, 5, 0.99, true}, // P(Binom(100, 0.01) >= 5) = 0.0034
		{1, 1, 0.999, true}, {10, 1, 0.99, false},
	} {
		if got := breaks(tc.n, tc.late, tc.q); got != tc.want {
			t.Errorf("%d late of %d at %v: got %v, want %v", tc.late, tc.n, tc.q, got, tc.want)
		}
	}
}

func TestMedianInterval(t *testing.T) {
	tests := map[string]struct {
		n                 int
		median, low, high float64
		none              bool
	}{
		"one run":                             {n: 1, median: 1, none: true},
		"five runs":                           {n: 5, median: 3, none: true},
		"six runs: the least to the greatest": {n: 6, median: 3.5, low: 1, high: 6},
		"eight runs":                          {n: 8, median: 4.5, low: 1, high: 8},
		"nine runs: the second to the eighth": {n: 9, median: 5, low: 2, high: 8},
		"ten runs: the second to the ninth":   {n: 10, median: 5.5, low: 2, high: 9},
		"twenty runs: the sixth to the 15th":  {n: 20, median: 10.5, low: 6, high: 15},
	}
	for name, tc := range tests {
		values := make([]float64, tc.n)
		for i := range values {
			values[i] = float64(tc.n - i) // the order of the runs does not matter
		}
		median, in, ok := medianInterval(values)
		if median != tc.median || ok == tc.none || in != (interval{tc.low, tc.high}) {
			t.Errorf("%s: got %v, %v, %v", name, median, in, ok)
		}
	}
}

func TestQuantileRanks(t *testing.T) {
	tests := []struct {
		reason    string
		n         int64
		q         float64
		low, high float64
	}{
		{"p99 of 1,000 spans p98.3 to p99.7", 1000, 0.99, 0.983, 0.997},
		{"p99 of 10,000 spans p98.8 to p99.2", 10_000, 0.99, 0.988, 0.992},
		{"p99 of 367 has no upper end; 368 have", 367, 0.99, 0.978, math.NaN()},
		{"the median of six", 6, 0.5, 1.0 / 6, 1},
		{"p99.9 of 1,000 has no upper end", 1000, 0.999, 0.997, math.NaN()},
		{"one value has no end", 1, 0.5, math.NaN(), math.NaN()},
	}
	for _, tc := range tests {
		low, high := quantileRanks(tc.n, tc.q)
		if !near(low, tc.low, 0.002) || !near(high, tc.high, 0.002) {
			t.Errorf("%s: got %v to %v, want %v to %v", tc.reason, low, high, tc.low, tc.high)
		}
		if got, want := hasUpperEnd(tc.n, tc.q), !math.IsNaN(tc.high); got != want {
			t.Errorf("%s: hasUpperEnd says %v", tc.reason, got)
		}
	}
}

func near(a, b, within float64) bool {
	return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= within
}

// Wilson's interval against the roots of its defining equation, and what a newcomer asks of it.
func TestWilson(t *testing.T) {
	const z = 1.959964
	for _, n := range []float64{1, 10, 912, 1e6} {
		for _, p := range []float64{0, 0.1, 0.5, 0.99, 1} {
			in := wilson(p, n)
			for _, end := range []float64{in.low, in.high} {
				if end == p || end == 0 || end == 1 {
					continue
				}
				if left, right := (p-end)*(p-end), z*z*end*(1-end)/n; math.Abs(left-right) > 1e-12 {
					t.Errorf("n %v p %v: %v is no root: %v and %v", n, p, end, left, right)
				}
			}
			if in.low > p || in.high < p || in.low < 0 || in.high > 1 {
				t.Errorf("n %v p %v: %v does not hold the share", n, p, in)
			}
		}
	}
	if in := wilson(1, 380); in.low > 0.99 || in.high != 1 {
		t.Errorf("380 of 380: got %v, want a lower end just under 99 %%", in)
	}
}

// Three of four intervals are too few, 19 of 20 are right: the share itself, drawn many times.
func TestWilsonCoverage(t *testing.T) {
	const seed, runs = 23, 4000
	for _, tc := range []struct {
		n int
		p float64
	}{{200, 0.9}, {1000, 0.99}, {5000, 0.999}} {
		t.Run(fmt.Sprintf("n %d, p %v, seed %d", tc.n, tc.p, seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			held := 0
			for range runs {
				k := 0
				for range tc.n {
					if random.Float64() < tc.p {
						k++
					}
				}
				if in := wilson(float64(k)/float64(tc.n), float64(tc.n)); in.low <= tc.p && tc.p <= in.high {
					held++
				}
			}
			share := float64(held) / runs
			t.Logf("%.1f %% hold the truth", 100*share)
			if share < 0.92 || share > 0.98 {
				t.Errorf("%.1f %% hold the truth, want 92 to 98", 100*share)
			}
		})
	}
}

func TestGrouped(t *testing.T) {
	for _, n := range []int{1, 16, 17, 64, 96, 384} {
		v := make([]float64, n)
		for i := range v {
			v[i] = 1
		}
		got := grouped(v)
		if len(got) != min(n, groups) || sum(got) != float64(n) {
			t.Errorf("%d blocks: %v", n, got)
		}
	}
}

package results

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// process draws requests one after the other; at is the value below which a share q of them lies in the long run.
type process struct {
	next func() float64
	at   func(q float64) float64
	mean float64
}

// normalQuantile inverts the normal distribution by bisection.
func normalQuantile(q float64) float64 {
	return bisect(q, -10, 10, func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 })
}

func bisect(q, low, high float64, cdf func(float64) float64) float64 {
	for range 100 {
		if middle := (low + high) / 2; cdf(middle) < q {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// lognormal is exp(sigma z) of an AR(1) process z with coefficient phi, 0 for independent values.
func lognormal(sigma, phi float64) func(*rand.Rand) process {
	return func(r *rand.Rand) process {
		z := r.NormFloat64()
		return process{
			next: func() float64 {
				z = phi*z + math.Sqrt(1-phi*phi)*r.NormFloat64()
				return 1e7 * math.Exp(sigma*z)
			},
			at:   func(q float64) float64 { return 1e7 * math.Exp(sigma*normalQuantile(q)) },
			mean: 1e7 * math.Exp(sigma*sigma/2),
		}
	}
}

// bimodal is a cache that hits in seven of ten requests.
func bimodal(r *rand.Rand) process {
	cdf := func(x float64) float64 {
		return 0.7*math.Erfc(-(x-10)/math.Sqrt2)/2 + 0.3*math.Erfc(-(x-50)/5/math.Sqrt2)/2
	}
	return process{
		next: func() float64 {
			if r.Float64() < 0.7 {
				return 1e6 * (10 + r.NormFloat64())
			}
			return 1e6 * (50 + 5*r.NormFloat64())
		},
		at:   func(q float64) float64 { return 1e6 * bisect(q, 0, 100, cdf) },
		mean: 1e6 * 22,
	}
}

// pareto has a tail without a variance.
func pareto(r *rand.Rand) process {
	const alpha = 1.5
	at := func(q float64) float64 { return 1e6 * math.Pow(1-q, -1/alpha) }
	return process{next: func() float64 { return at(r.Float64()) }, at: at, mean: 1e6 * alpha / (alpha - 1)}
}

func processes() map[string]func(*rand.Rand) process {
	return map[string]func(*rand.Rand) process{
		"independent": lognormal(0.3, 0), "AR(1) 0.5": lognormal(0.3, 0.5), "AR(1) 0.9": lognormal(0.3, 0.9),
		"bimodal": bimodal, "heavy tail": pareto,
	}
}

// distOf is the distribution of values.
func distOf(values []int64) dist {
	v := slices.Sorted(slices.Values(values))
	d := dist{count: int64(len(v))}
	for i, x := range v {
		d.sum += float64(x)
		if n := len(d.bins); n > 0 && d.bins[n-1].value == x {
			d.bins[n-1].upTo++
			continue
		}
		d.bins = append(d.bins, bin{x, int64(i + 1)})
	}
	if len(v) > 0 {
		d.min, d.max = v[0], v[len(v)-1]
	}
	return d
}

// partOf is a client that measured values of e2e in this order.
func partOf(values []int64) part {
	p := part{dists: map[string]dist{"e2e": distOf(values)}, blocks: map[string][]dist{}, window: 60}
	for i := range groups {
		p.blocks["e2e"] = append(p.blocks["e2e"], distOf(values[i*len(values)/groups:(i+1)*len(values)/groups]))
	}
	p.lost = losses{succeeded: int64(len(values)), blocks: make([]int64, groups)}
	p.measured.Succeeded = int64(len(values))
	return p
}

func draw(p process, n int) []int64 {
	values := make([]int64, n)
	for i := range values {
		values[i] = int64(p.next())
	}
	return values
}

// An interval must hold the truth in 95 % of all runs: not in fewer, and not by being wide. Where many are bounds, which
// have one end, it is 97.5 % of those.
func TestIntervalCoverage(t *testing.T) {
	const seed, runs, n = 11, 1000, 4000
	for _, name := range slices.Sorted(maps.Keys(processes())) {
		t.Run(fmt.Sprintf("%s/seed %d", name, seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			var held, bounds [7]float64
			for range runs {
				p := processes()[name](random)
				load := partOf(draw(p, n))
				for i, s := range statistics() {
					truth := p.mean / second
					if s.quantile > 0 {
						truth = p.at(s.quantile) / second
					}
					v := latencyValue(load, "e2e", s)
					if v.AtLeast {
						bounds[i] += 100. / runs
					}
					if v.Interval != NoInterval && *v.Low <= truth && (v.AtLeast || truth <= *v.High) {
						held[i] += 100. / runs
					}
				}
			}
			for i, s := range statistics() {
				t.Logf("%-5s %5.1f %% hold the truth, %5.1f %% are bounds", s.name, held[i], bounds[i])
				most := 98.0
				if bounds[i] > 10 {
					most = 99.5
				}
				// The greatest value has no interval, and no interval for the mean is right without a variance.
				if s.name == "max" || s.name == "mean" && name == "heavy tail" {
					continue
				}
				if held[i] < 92 || held[i] > most {
					t.Errorf("%s: %.1f %% hold the truth, want 92 to %v", s.name, held[i], most)
				}
			}
		})
	}
}

// Across runs the truth is the median of what a run gives, whatever the spread of the runs.
func TestCoverageOverRuns(t *testing.T) {
	const seed, trials, n = 31, 2000, 400
	for _, repeats := range []int{6, 10} {
		t.Run(fmt.Sprintf("%d runs/seed %d", repeats, seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			held := 0
			for range trials {
				values := make([]float64, repeats)
				for i := range values {
					// The rate of a run: its own level, and the noise of its requests.
					values[i] = 100*math.Exp(0.05*random.NormFloat64()) + random.NormFloat64()/math.Sqrt(n)
				}
				if _, in, ok := medianInterval(values); ok && in.low <= 100 && 100 <= in.high {
					held++
				}
			}
			share := 100 * float64(held) / trials
			t.Logf("%.1f %% hold the truth", share)
			if share < 95 || share > 98.5 { // 96.9 % for 6 runs, 97.9 % for 10: order statistics come in steps
				t.Errorf("%.1f %% hold the truth", share)
			}
		})
	}
}

// A limit that is the true p99 can be neither met nor violated: a verdict is an error, and may happen in 1 % of all
// runs on either side. A limit well off the p99 must get its verdict.
func TestVerdictErrors(t *testing.T) {
	const seed, runs, n = 19, 500, 4000
	for _, name := range slices.Sorted(maps.Keys(processes())) {
		t.Run(fmt.Sprintf("%s/seed %d", name, seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			got := map[string]int{}
			for range runs {
				p := processes()[name](random)
				load := partOf(draw(p, n))
				for limit, q := range map[string]float64{"at": 0.99, "above": 0.9995, "below": 0.93} {
					v := judge(atMost("e2e", "p99", p.at(q)/second), load, nil)
					got[limit+" "+v.Verdict]++
				}
			}
			t.Logf("of %d runs: %v", runs, got)
			if got["at Met"] > runs/40 || got["at Violated"] > runs/40 {
				t.Errorf("a limit at the true p99 is met %d times and violated %d times of %d", got["at Met"], got["at Violated"], runs)
			}
			least := map[bool]int{true: runs / 2, false: runs * 95 / 100}[name == "AR(1) 0.9"] // its requests are worth a tenth
			if got["above Met"] < least || got["below Violated"] < least {
				t.Errorf("a limit well above is met %d times, one well below violated %d times of %d", got["above Met"], got["below Violated"], runs)
			}
		})
	}
}

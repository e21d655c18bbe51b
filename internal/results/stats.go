package results

import (
	"math"
	"slices"
)

// confidence is the level of every interval.
const confidence = 0.95

// groups is the number of parts of a window, or of several, that an interval within a run is made of: few enough that
// neighbours are nearly independent, many enough for the t distribution. Law, Simulation Modeling and Analysis, §9.5.3.
const groups = 16

// t15 is the 97.5 % quantile of Student's t with groups-1 degrees of freedom.
const t15 = 2.1314

// interval is a range that holds the truth in 95 % of all cases.
type interval struct{ low, high float64 }

// ratioInterval is the interval of sum(y)/sum(n) over blocks, by the batch-means method for a ratio: the residuals
// y - r n of groups of neighbouring blocks are nearly independent even where single requests are not. It needs something
// in each group.
func ratioInterval(y, n []float64) (interval, bool) {
	y, n = grouped(y), grouped(n)
	if len(n) < groups || slices.Contains(n, 0) {
		return interval{}, false
	}
	r := sum(y) / sum(n)
	half := t15 * math.Sqrt(ratioVariance(y, n, r))
	return interval{r - half, r + half}, true
}

// ratioVariance is the variance of sum(y)/sum(n), linearised.
func ratioVariance(y, n []float64, r float64) float64 {
	k := float64(len(n))
	var ss float64
	for i := range n {
		e := y[i] - r*n[i]
		ss += e * e
	}
	meanN := sum(n) / k
	return ss / (k * (k - 1)) / (meanN * meanN)
}

func sum(v []float64) float64 {
	var out float64
	for _, x := range v {
		out += x
	}
	return out
}

// grouped joins neighbouring blocks until groups remain.
func grouped(v []float64) []float64 {
	if len(v) <= groups {
		return v
	}
	out := make([]float64, groups)
	for i, x := range v {
		out[i*groups/len(v)] += x
	}
	return out
}

// inflation is how many correlated requests are worth one independent one, for the share of requests below a value:
// the variance between the blocks over the variance that independent requests would have. It is at least 1.
func inflation(below, n []float64) float64 {
	total := sum(n)
	if len(n) < 2 || total == 0 {
		return 1
	}
	p := sum(below) / total
	independent := p * (1 - p) / total
	if independent <= 0 {
		return 1
	}
	return max(1, ratioVariance(below, n, p)/independent)
}

// quantileRanks are the ranks, as shares, of the order statistics that hold the q-quantile of n independent values
// with 95 % confidence. An end that no order statistic can give is NaN: p99.9 of 1,000 values has no upper one.
// David and Nagaraja, Order Statistics, §7.1.
func quantileRanks(n int64, q float64) (low, high float64) {
	tail := (1 - confidence) / 2
	low, high = math.NaN(), math.NaN()
	// P(Binom(n, q) < l) <= tail for the greatest l, and P(Binom(n, q) >= u) <= tail for the least u.
	if l := binomialQuantile(n, q, tail); l >= 1 {
		low = float64(l) / float64(n)
	}
	if u := n - binomialQuantile(n, 1-q, tail) + 1; u <= n {
		high = float64(u) / float64(n)
	}
	return low, high
}

// hasUpperEnd says whether n independent values have an upper end for their q-quantile.
func hasUpperEnd(n int64, q float64) bool {
	return math.Pow(q, float64(n)) <= (1-confidence)/2
}

// binomialQuantile is the greatest l with P(Binom(n, p) < l) <= tail; 0 when there is none above 0.
func binomialQuantile(n int64, p, tail float64) int64 {
	low, high := int64(0), n
	for low < high {
		middle := low + (high-low+1)/2
		if binomialCDF(n, p, middle-1) <= tail {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

// exactVariance is the variance of a binomial distribution from which on its normal approximation, with its skewness,
// is within 1e-5 of it.
const exactVariance = 1e5

// binomialCDF is P(Binom(n, p) <= k), by the regularised incomplete beta function I(1-p; n-k, k+1).
func binomialCDF(n int64, p float64, k int64) float64 {
	variance := float64(n) * p * (1 - p)
	switch {
	case k < 0:
		return 0
	case k >= n, p <= 0:
		return 1
	case p >= 1:
		return 0
	case variance > exactVariance:
		z := (float64(k) + 0.5 - float64(n)*p) / math.Sqrt(variance)
		skew := (1 - 2*p) / math.Sqrt(variance)
		density := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
		return min(1, max(0, math.Erfc(-z/math.Sqrt2)/2-skew*(z*z-1)/6*density))
	}
	return regularisedBeta(1-p, float64(n-k), float64(k+1))
}

// regularisedBeta is I(x; a, b) by Lentz's continued fraction. Press et al., Numerical Recipes, 3rd edition, §6.4.
func regularisedBeta(x, a, b float64) float64 {
	if x <= 0 {
		return 0
	}
	if x >= 1 {
		return 1
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab - la - lb + a*math.Log(x) + b*math.Log1p(-x))
	if x < (a+1)/(a+b+2) {
		return front * betaFraction(x, a, b) / a
	}
	return 1 - front*betaFraction(1-x, b, a)/b
}

// betaFraction takes about the square root of the greater parameter in steps.
func betaFraction(x, a, b float64) float64 {
	const tiny, enough, limit = 1e-300, 1e-15, 100_000
	guard := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c := 1.0
	d := 1 / guard(1-(a+b)*x/(a+1))
	h := d
	for i := 1; i <= limit; i++ {
		m := float64(i)
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / guard(1+even*d)
		c = guard(1 + even/c)
		h *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / guard(1+odd*d)
		c = guard(1 + odd/c)
		step := d * c
		h *= step
		if math.Abs(step-1) < enough {
			break
		}
	}
	return h
}

// minRuns is the least number of runs for a 95 % interval of their median.
const minRuns = 6

// medianInterval is the median of the values of runs, and the order statistics that hold the true median with at
// least 95 % confidence. It needs minRuns values.
func medianInterval(values []float64) (median float64, in interval, ok bool) {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return 0, interval{}, false
	}
	median = v[n/2]
	if n%2 == 0 {
		median = (v[n/2-1] + v[n/2]) / 2
	}
	if n < minRuns {
		return median, interval{}, false
	}
	l := binomialQuantile(int64(n), 0.5, (1-confidence)/2) // rank of the lower end, from 1
	return median, interval{v[l-1], v[int64(n)-l]}, true
}

// wilson is Wilson's score interval of a share p of n independent requests. Wilson, JASA 22 (1927) 209.
func wilson(p, n float64) interval {
	const z = 1.959964
	centre := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return interval{max(0, min(p, centre-half)), min(1, max(p, centre+half))}
}

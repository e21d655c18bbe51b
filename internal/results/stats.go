package results

import (
	"math"
	"slices"
)

// confidence is the level of every interval.
const confidence = 0.95

// groups is the number of batch means that an interval within a run is made of: few enough that neighbours are nearly
// independent, many enough for the t distribution. Law and Kelton, Simulation Modeling and Analysis, §9.5.3.
const groups = 16

// t15 is the 97.5 % quantile of Student's t with groups-1 degrees of freedom.
const t15 = 2.1314

// interval is a range that holds the truth in 95 % of all cases.
type interval struct{ low, high float64 }

// ratioInterval is the interval of sum(y)/sum(n) over batches, by the batch-means method for a ratio: the residuals
// y - r n of groups of neighbouring batches are nearly independent even where single requests are not. It needs two
// batches in each group that hold anything.
func ratioInterval(y, n []float64) (interval, bool) {
	y, n = grouped(y), grouped(n)
	var sumY, sumN float64
	for i := range n {
		if n[i] == 0 {
			return interval{}, false
		}
		sumY += y[i]
		sumN += n[i]
	}
	if len(n) < groups {
		return interval{}, false
	}
	r := sumY / sumN
	half := t15 * math.Sqrt(ratioVariance(y, n, r))
	return interval{r - half, r + half}, true
}

// ratioVariance is the variance of sum(y)/sum(n), linearised.
func ratioVariance(y, n []float64, r float64) float64 {
	k := float64(len(n))
	var sumN, ss float64
	for i := range n {
		sumN += n[i]
		e := y[i] - r*n[i]
		ss += e * e
	}
	meanN := sumN / k
	return ss / (k * (k - 1)) / (meanN * meanN)
}

// grouped joins neighbouring batches until groups remain; what does not fill a group is left to the last.
func grouped(v []float64) []float64 {
	if len(v) < groups {
		return v
	}
	out := make([]float64, groups)
	for i, x := range v {
		out[min(i*groups/len(v), groups-1)] += x
	}
	return out
}

// inflation is how many correlated requests are worth one independent one, for the share of requests below a value:
// the variance of the batches over the variance that independent requests would have. It is at least 1.
func inflation(below, n []float64) float64 {
	below, n = grouped(below), grouped(n)
	var b, total float64
	for i := range n {
		b += below[i]
		total += n[i]
	}
	if len(n) < 2 || total == 0 {
		return 1
	}
	p := b / total
	independent := p * (1 - p) / total
	if independent == 0 {
		return 1
	}
	return max(1, ratioVariance(below, n, p)/independent)
}

// quantileRanks are the ranks, as shares, of the order statistics that hold the q-quantile of n independent values
// with 95 % confidence. An end that no order statistic can give is NaN: p99.9 of 1,000 values has no upper one.
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

// binomialQuantile is the greatest l with P(Binom(n, p) < l) <= tail; 0 when there is none above 0.
func binomialQuantile(n int64, p, tail float64) int64 {
	lo, hi := int64(0), n
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if binomialCDF(n, p, mid-1) <= tail {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

// binomialCDF is P(Binom(n, p) <= k), by the regularised incomplete beta function I(1-p; n-k, k+1).
func binomialCDF(n int64, p float64, k int64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	case p <= 0:
		return 1
	case p >= 1:
		return 0
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

func betaFraction(x, a, b float64) float64 {
	const tiny, enough, limit = 1e-300, 1e-15, 10000
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

// wilson is Wilson's score interval of a share. Wilson, JASA 22 (1927) 209.
func wilson(successes, n float64) interval {
	const z = 1.959964
	p := successes / n
	centre := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return interval{max(0, centre-half), min(1, centre+half)}
}

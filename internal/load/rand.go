package load

import "math"

// golden is 2^64 divided by the golden ratio, the odd step of the generator of Steele, Lea and Flood (SplitMix64, 2014).
const golden = 0x9e3779b97f4a7c15

// Streams of random numbers that this package takes; a workload takes others, so that they do not depend on each other.
const (
	streamArrival = 0x6172726976616c00
	streamRepeat  = 0x72657065617400
)

// RepeatSeed is the seed of a repeat, from 1, of a client: the client's own in the first, and in each other one that shows
// no relation to it. Repeats send other prompts at other instants, so that a server's cache of one does not serve the next
// and each is a realisation of its own.
func RepeatSeed(seed uint64, repeat int) uint64 {
	if repeat <= 1 {
		return seed
	}
	return Rand(seed, streamRepeat, uint64(repeat))
}

// Rand is number i of the random stream of a seed: a function of its arguments only, so that any rank can have it
// without the others. It is the output function of SplitMix64 over a counter, with a scrambled start for each stream.
func Rand(seed, stream, i uint64) uint64 {
	start := mix(mix(seed+golden) ^ mix(stream^golden))
	return mix(start + (i+1)*golden)
}

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Between is a whole number from low to high, both included, made of the random number x.
func Between(x uint64, low, high int) int {
	if high <= low {
		return low
	}
	return low + int(x%uint64(high-low+1))
}

// exponential is a draw with mean 1 made of the random number x.
func exponential(x uint64) float64 {
	return -ln((float64(x>>11) + 1) * 0x1p-53)
}

// ln is the natural logarithm of a positive number. Each operation is rounded on its own, so that it gives the same bits
// on every architecture: math.Log does not, and the schedule's hash must not depend on the machine. Its error is a few
// units in the last place.
func ln(x float64) float64 {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m *= 2
		e--
	}
	s := (m - 1) / (m + 1)
	z := s * s
	sum := 0.0
	for k := 21; k >= 1; k -= 2 {
		sum = float64(sum*z) + 1/float64(k)
	}
	return float64(2*s*sum) + float64(float64(e)*math.Ln2)
}

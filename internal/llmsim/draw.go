package llmsim

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// Each kind of draw has a stream of its own, so that one more draw of one kind leaves the others as they are.
const (
	faultStream = iota + 1
	timeStream
	textStream
)

// stopEvery is the mean number of tokens of an answer that may end by itself.
const stopEvery = 128

// hash64 is FNV-1a.
func hash64(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// mix spreads x over all bits (the finalizer of SplitMix64), since keys may be small numbers.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// stream returns the random numbers of one kind for the prompt with this index of the request with this key.
func stream(seed, key uint64, kind, index int) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed), mix(mix(key)+uint64(kind)<<32+uint64(index))))
}

// draw returns one time.
func (l Latency) draw(r *rand.Rand) time.Duration {
	if l.Deviation == 0 {
		return l.Mean
	}
	mean := float64(l.Mean)
	for {
		x := mean + float64(l.Deviation)*r.NormFloat64()
		if x >= 0.3*mean && x <= 1.7*mean {
			return time.Duration(x)
		}
	}
}

// answerLength is the number of tokens of an answer and whether it ends because the limit is reached. With ignoreEOS
// it is the limit, else after low tokens each one is the last with a chance of 1 in stopEvery.
func answerLength(r *rand.Rand, low, limit int, ignoreEOS bool) (n int, limited bool) {
	if ignoreEOS {
		return limit, true
	}
	// A geometric draw by inversion; 1 - Float64 is never 0.
	more := math.Log(1-r.Float64()) / math.Log1p(-1.0/stopEvery)
	if n := max(low, 1) + int(more); n < limit {
		return n, false
	}
	return limit, true
}

// drawFault returns the fault of a request, or "".
func drawFault(faults []Fault, r *rand.Rand) FaultType {
	x := r.Float64()
	for _, f := range faults {
		if x < f.Ratio {
			return f.Type
		}
		x -= f.Ratio
	}
	return ""
}

package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// draw is a random number that depends on the seed and a name alone, not on what was drawn before.
func draw(seed uint64, name ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, name...)
	return rand.New(rand.NewPCG(seed, h.Sum64())).Uint64()
}

// between is a random length from low to high.
func between(seed uint64, low, high time.Duration, name ...any) time.Duration {
	return low + time.Duration(draw(seed, name...)%uint64(high-low+1))
}

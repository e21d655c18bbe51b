package s3

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

func fixed(n int64) rundir.Size {
	return rundir.Size{Distribution: rundir.SizeUniform, Min: n, Max: n}
}

func TestMixIsExactInEachRound(t *testing.T) {
	o := newOffer(&rundir.S3{Mix: rundir.S3Mix{Put: 30, Get: 90, Head: 60, Delete: 20}, Objects: 10, Size: fixed(1)}, 5, 8, 1, false)
	if want := [operations]int{3, 9, 6, 2}; o.weights != want || o.round != 20 {
		t.Fatalf("weights %v in rounds of %d, want %v of 20", o.weights, o.round, want)
	}
	var w order
	orders := map[string]bool{}
	for round := range uint64(50) {
		var got [operations]int
		var sequence []byte
		for i := range uint64(o.round) {
			op, _ := o.of(load.Request{Phase: load.Measure, Index: round*uint64(o.round) + i}, &w)
			got[op]++
			sequence = append(sequence, byte('0'+op))
		}
		if got != o.weights {
			t.Fatalf("round %d holds %v", round, got)
		}
		orders[string(sequence)] = true
	}
	if len(orders) < 45 {
		t.Errorf("only %d orders in 50 rounds", len(orders))
	}
}

// In an open loop each delete is of an object that its rank wrote, or stored, long enough before, and that no other request
// deletes.
func TestDeletesFollowWrites(t *testing.T) {
	for name, mix := range map[string]rundir.S3Mix{
		"as many":  {Put: 1, Delete: 1},
		"fewer":    {Put: 15, Get: 45, Head: 30, Delete: 10},
		"few puts": {Put: 1, Get: 98, Delete: 1},
	} {
		for _, ranks := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d ranks", name, ranks), func(t *testing.T) {
				const inFlight, requests = 18, 9000
				o := newOffer(&rundir.S3{Mix: mix, Objects: 10, Size: fixed(1)}, 9, inFlight, ranks, false)
				var w order
				wrote := map[uint64]uint64{} // by number, the request that did
				gone := map[string]bool{}
				for i := range uint64(requests) {
					op, obj := o.of(load.Request{Phase: load.Measure, Index: i}, &w)
					if op != opPut && op != opDelete {
						continue
					}
					if rank, _, _ := o.place(obj.set, obj.number); rank != i%uint64(ranks) {
						t.Fatalf("request %d is for %+v, of rank %d", i, obj, rank)
					}
					if op == opPut {
						if _, twice := wrote[obj.number]; twice || obj.set != written {
							t.Fatalf("request %d writes %+v again", i, obj)
						}
						wrote[obj.number] = i
						continue
					}
					key := string(obj.appendKey(nil))
					if gone[key] {
						t.Fatalf("request %d deletes %s again", i, key)
					}
					gone[key] = true
					at, found := wrote[obj.number]
					switch {
					case obj.set == victims && obj.number >= o.stored(victims, load.Measure):
						t.Fatalf("request %d deletes %s, which nobody stored", i, key)
					case obj.set == written && (!found || i-at < 2*inFlight):
						t.Fatalf("request %d deletes %s, written by request %d (%t): less than %d before", i, key, at, found, 2*inFlight)
					}
				}
				if len(gone) == 0 {
					t.Error("nothing was deleted")
				}
			})
		}
	}
}

// In a closed loop each delete is of an object that the same worker wrote earlier in its round; nothing is stored for it.
// Which one, depends on the number of the request alone, and each round of a worker holds the mix.
func TestDeletesFollowTheirWorker(t *testing.T) {
	for name, mix := range map[string]rundir.S3Mix{
		"as many": {Put: 1, Delete: 1}, "fewer": {Put: 15, Get: 45, Head: 30, Delete: 10}, "odd": {Put: 7, Get: 3, Delete: 5},
	} {
		t.Run(name, func(t *testing.T) {
			const workers, rounds = 6, 40
			plan := &rundir.S3{Mix: mix, Objects: 10, Size: fixed(1)}
			o, alone := newOffer(plan, 9, workers, 2, true), newOffer(plan, 9, workers, 1, true)
			if n := o.stored(victims, load.Measure); n != 0 {
				t.Errorf("%d objects are stored to be deleted", n)
			}
			written, orders := map[uint64]bool{}, map[string]bool{}
			for worker := range uint64(workers) {
				var w, other order
				for round := range rounds {
					var got [operations]int
					var sequence []byte
					open := map[uint64]bool{}
					for turn := range o.round {
						i := uint64(round*o.round+turn)*workers + worker
						op, obj := o.of(load.Request{Phase: load.Measure, Index: i}, &w)
						got[op]++
						sequence = append(sequence, byte('0'+op))
						switch op {
						case opPut:
							if written[obj.number] {
								t.Fatalf("request %d writes %+v again", i, obj)
							}
							written[obj.number], open[obj.number] = true, true
						case opDelete:
							if !open[obj.number] {
								t.Fatalf("request %d deletes %+v, which its worker has not written in this round", i, obj)
							}
							delete(open, obj.number)
						}
						if op2, obj2 := alone.of(load.Request{Phase: load.Measure, Index: i}, &other); op2 != op || obj2 != obj {
							t.Fatalf("request %d of one rank is %d %+v, of two %d %+v", i, op2, obj2, op, obj)
						}
					}
					if orders[string(sequence)] = true; got != o.weights {
						t.Fatalf("round %d of worker %d holds %v, want %v", round, worker, got, o.weights)
					}
				}
			}
			if name == "fewer" && len(orders) < workers*rounds*9/10 {
				t.Errorf("only %d orders in %d rounds", len(orders), workers*rounds)
			}
		})
	}
}

// What a request is for depends on its number only, so that any rank can have it.
func TestOfferIsAFunction(t *testing.T) {
	plan := &rundir.S3{Mix: rundir.S3Mix{Put: 2, Get: 5, Delete: 1}, Objects: 100, Size: rundir.Size{Distribution: rundir.SizeUniform, Min: 1, Max: 1 << 20}}
	type sight struct {
		op  operation
		obj object
	}
	look := func(o *offer, indices []uint64) map[uint64]sight {
		var w order
		out := map[uint64]sight{}
		for _, i := range indices {
			op, obj := o.of(load.Request{Phase: load.Measure, Index: i}, &w)
			out[i] = sight{op, obj}
		}
		return out
	}
	var indices []uint64
	for i := range uint64(200) {
		indices = append(indices, i*7%200)
	}
	forward := look(newOffer(plan, 3, 4, 2, false), indices)
	slices.Reverse(indices)
	if diff := cmp.Diff(forward, look(newOffer(plan, 3, 4, 2, false), indices), cmp.AllowUnexported(sight{}, object{})); diff != "" {
		t.Errorf("the order of looking matters:\n%s", diff)
	}
	if cmp.Equal(forward, look(newOffer(plan, 4, 4, 2, false), indices), cmp.AllowUnexported(sight{}, object{})) {
		t.Error("another seed offers the same")
	}
	var w order
	seen := map[uint64]string{}
	o := newOffer(plan, 3, 4, 2, false)
	for _, phase := range []load.Phase{load.Warmup, load.Measure, load.Cooldown} {
		for i := range uint64(300) {
			_, obj := o.of(load.Request{Phase: phase, Index: i}, &w)
			key := string(obj.appendKey(nil))
			if former, found := seen[obj.identity]; found && former != key {
				t.Fatalf("%s and %s have one identity", former, key)
			}
			seen[obj.identity] = key
		}
	}
}

// Sizes follow their distribution: Kolmogorov-Smirnov at 0.1 %, with fixed seeds.
func TestSizes(t *testing.T) {
	const n = 20_000
	uniform := rundir.Size{Distribution: rundir.SizeUniform, Min: 1 << 20, Max: 50 << 20}
	logNormal := rundir.Size{Distribution: rundir.SizeLogNormal, Min: 4 << 10, Max: 64 << 20, Median: 1 << 20, Sigma: 1.5}
	normal := func(bytes float64) float64 {
		return 0.5 * math.Erfc(-math.Log(bytes/float64(logNormal.Median))/(logNormal.Sigma*math.Sqrt2))
	}
	low, high := normal(float64(logNormal.Min)), normal(float64(logNormal.Max))
	for name, c := range map[string]struct {
		size rundir.Size
		cdf  func(float64) float64
	}{
		"uniform":    {uniform, func(x float64) float64 { return (x - float64(uniform.Min)) / float64(uniform.Max-uniform.Min) }},
		"log-normal": {logNormal, func(x float64) float64 { return (normal(x) - low) / (high - low) }},
	} {
		t.Run(name, func(t *testing.T) {
			sizes := make([]float64, n)
			for i := range sizes {
				b := size(c.size, load.Rand(11, streamSize, uint64(i)))
				if b < c.size.Min || b > c.size.Max {
					t.Fatalf("size %d is out of bounds", b)
				}
				sizes[i] = float64(b)
			}
			slices.Sort(sizes)
			worst := 0.0
			for i, x := range sizes {
				f := c.cdf(x)
				worst = max(worst, math.Abs(f-float64(i)/n), math.Abs(float64(i+1)/n-f))
			}
			if limit := 1.95 / math.Sqrt(n); worst > limit {
				t.Errorf("distance %.4f, at most %.4f", worst, limit)
			}
		})
	}
	if got := size(fixed(4096), 123); got != 4096 {
		t.Errorf("a fixed size is %d, want 4096", got)
	}
}

package load

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func slots(s Schedule, rank, ranks int) (all []Slot) {
	c := s.Cursor(rank, ranks)
	for slot, ok := c.Next(); ok; slot, ok = c.Next() {
		all = append(all, slot)
	}
	return all
}

func TestScheduleConstant(t *testing.T) {
	s := Schedule{Arrival: Constant, Rate: 3, Lengths: Lengths{Warmup: time.Second / 2, Measure: time.Second}}
	want := []Slot{
		{Warmup, 0, 0}, {Warmup, 1, 333_333_333},
		{Measure, 0, 500_000_000}, {Measure, 1, 833_333_333}, {Measure, 2, 1_166_666_666},
	}
	if diff := cmp.Diff(want, slots(s, 0, 1)); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
}

// Request i has the same instant on one rank and on eight, and the ranks together have every request once.
func TestScheduleRanks(t *testing.T) {
	for _, arrival := range []string{Constant, Poisson} {
		s := Schedule{Arrival: arrival, Rate: 777, Seed: 42,
			Lengths: Lengths{Warmup: 2 * time.Second, Measure: 3 * time.Second, Cooldown: time.Second}}
		whole := slots(s, 0, 1)
		var joined []Slot
		for rank := range 8 {
			joined = append(joined, slots(s, rank, 8)...)
		}
		slices.SortFunc(joined, func(a, b Slot) int {
			if a.Phase != b.Phase {
				return int(a.Phase) - int(b.Phase)
			}
			return int(a.Index) - int(b.Index)
		})
		if diff := cmp.Diff(whole, joined); diff != "" {
			t.Errorf("%s: one rank and eight (-one +eight):\n%s", arrival, diff)
		}
	}
}

// The measured part does not depend on the length of the warm-up.
func TestSchedulePhasesAreIndependent(t *testing.T) {
	measured := func(warmup time.Duration) (at []int64) {
		s := Schedule{Arrival: Poisson, Rate: 100, Seed: 1, Lengths: Lengths{Warmup: warmup, Measure: time.Second}}
		for _, slot := range slots(s, 0, 1) {
			if slot.Phase == Measure {
				at = append(at, slot.At-int64(warmup))
			}
		}
		return at
	}
	if diff := cmp.Diff(measured(time.Second), measured(3*time.Second)); diff != "" {
		t.Errorf("the measured schedule moved with the warm-up:\n%s", diff)
	}
	warm := slots(Schedule{Arrival: Poisson, Rate: 100, Seed: 1, Lengths: Lengths{Warmup: time.Second}}, 0, 1)
	if len(warm) > 2 && warm[1].At == measured(time.Second)[1] {
		t.Error("warm-up and measurement have the same arrivals")
	}
}

func TestScheduleHash(t *testing.T) {
	base := Schedule{Arrival: Poisson, Rate: 50, Seed: 9, Lengths: Lengths{Warmup: time.Second, Measure: 2 * time.Second}}
	// The value is kept so that another architecture, or another version, cannot change the schedule unseen.
	const want = "62dde3bae5ba7f0445b153e1ed2790b4a606751f60812bf0885d2524dfd577be"
	if got := base.Hash(); got != want {
		t.Errorf("hash: got %s, want %s", got, want)
	}
	seen := map[string]string{base.Hash(): "base"}
	for name, change := range map[string]func(*Schedule){
		"seed":    func(s *Schedule) { s.Seed++ },
		"rate":    func(s *Schedule) { s.Rate += 0.001 },
		"arrival": func(s *Schedule) { s.Arrival = Constant },
		"length":  func(s *Schedule) { s.Lengths.Measure += 2 * time.Second },
		"phase":   func(s *Schedule) { s.Lengths.Cooldown = s.Lengths.Warmup; s.Lengths.Warmup = 0 },
	} {
		s := base
		change(&s)
		if other, same := seen[s.Hash()]; same {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[s.Hash()] = name
	}
}

// The seeds of repeats have nothing in common: as many bits differ as between numbers drawn at random.
func TestRepeatSeed(t *testing.T) {
	const seeds, repeats = 200, 50
	seen := map[uint64]bool{}
	flips, pairs := 0, 0
	for seed := range uint64(seeds) {
		if got := RepeatSeed(seed, 1); got != seed {
			t.Errorf("repeat 1 of seed %d has the seed %d", seed, got)
		}
		for k := 1; k <= repeats; k++ {
			at := RepeatSeed(seed, k)
			if seen[at] {
				t.Fatalf("two of seed and repeat have the seed %d", at)
			}
			seen[at] = true
			if k > 1 {
				flips += bits.OnesCount64(at^RepeatSeed(seed, k+1)) + bits.OnesCount64(at^RepeatSeed(seed+1, k))
				pairs += 2
			}
		}
	}
	if mean := float64(flips) / float64(pairs); math.Abs(mean-32) > 0.5 {
		t.Errorf("%.2f bits of 64 differ between neighbours, want 32", mean)
	}
	// Kept, so that a repeat can be made again by another version.
	if got, want := RepeatSeed(11, 2), uint64(8065690482779378866); got != want {
		t.Errorf("repeat 2 of seed 11 has the seed %d, want %d", got, want)
	}
	o := Options{Seed: 11, Ranks: 1, Lengths: Lengths{Measure: time.Second},
		Open: &OpenLoop{Rate: 10, Arrival: Constant, MaxInFlight: 1}}
	first, err := o.Hash()
	if err != nil {
		t.Fatal(err)
	}
	o.Seed = RepeatSeed(11, 2)
	if second, err := o.Hash(); second == first || err != nil {
		t.Errorf("another repeat has the same hash: %v", err)
	}
	o.Open.Rate = 0
	if _, err := o.Hash(); err == nil {
		t.Error("a schedule that never ends has a hash")
	}
}

func TestLn(t *testing.T) {
	for x := 0x1p-53; x <= 1; x *= 1.0137 {
		got, want := ln(x), math.Log(x)
		if diff := math.Abs(got - want); diff > 1e-15*math.Max(1, math.Abs(want)) {
			t.Fatalf("ln(%v): got %v, want %v", x, got, want)
		}
	}
}

// Over 200 consecutive seeds the p-values of the gaps (Kolmogorov-Smirnov) and of the counts (index of dispersion) are
// uniform, for one rank and for the superposition of eight. A schedule that repeats gaps, rounds to seconds or is scaled
// to a count fails by orders of magnitude.
func TestPoissonOver200Seeds(t *testing.T) {
	for _, ranks := range []int{1, 8} {
		t.Run(fmt.Sprintf("ranks=%d", ranks), func(t *testing.T) {
			var gaps, counts []float64
			for seed := range uint64(200) {
				s := Schedule{Arrival: Poisson, Rate: 200, Seed: seed, Lengths: Lengths{Measure: 10 * time.Second}}
				var at []int64
				for rank := range ranks {
					for _, slot := range slots(s, rank, ranks) {
						at = append(at, slot.At)
					}
				}
				slices.Sort(at)
				gaps = append(gaps, gapPValue(at, s.Rate))
				counts = append(counts, dispersionPValue(at, s.Lengths.Measure))
			}
			for name, p := range map[string][]float64{"gaps": gaps, "counts": counts} {
				if u := uniformPValue(p); u < 0.01 {
					t.Errorf("the p-values of the %s over 200 seeds are not uniform: p = %v", name, u)
				}
			}
		})
	}
}

func TestPoissonTestsHavePower(t *testing.T) {
	var gaps, counts []float64
	for seed := range uint64(200) {
		s := Schedule{Arrival: Poisson, Rate: 100, Seed: seed, Lengths: Lengths{Measure: 10 * time.Second}}
		var at []int64
		for _, slot := range slots(s, 0, 1) {
			at = append(at, slot.At, slot.At+1000) // every gap twice, as two workers with one seed have it
		}
		slices.Sort(at)
		gaps = append(gaps, gapPValue(at, 200))
		counts = append(counts, dispersionPValue(at, s.Lengths.Measure))
	}
	if g, c := uniformPValue(gaps), uniformPValue(counts); g > 1e-6 || c > 1e-6 {
		t.Errorf("doubled arrivals pass: gaps p = %v, counts p = %v", g, c)
	}
}

// gapPValue tests the gaps against an exponential distribution. Gaps are taken up to the last arrival only, so the fixed
// length of the schedule censors no gap that is looked at, but for one in thousands.
func gapPValue(at []int64, rate float64) float64 {
	u := make([]float64, 0, len(at))
	before := int64(0)
	for _, a := range at {
		u = append(u, 1-math.Exp(-float64(a-before)/1e9*rate))
		before = a
	}
	return uniformPValue(u)
}

// dispersionPValue tests the counts in 200 equal bins: variance over mean, which for a Poisson process is chi-squared.
func dispersionPValue(at []int64, length time.Duration) float64 {
	const bins = 200
	var counts [bins]float64
	for _, a := range at {
		counts[int(a*bins/int64(length))]++
	}
	mean := float64(len(at)) / bins
	chi := 0.0
	for _, c := range counts {
		chi += (c - mean) * (c - mean) / mean
	}
	// Wilson and Hilferty's approximation of the chi-squared distribution.
	k := float64(bins - 1)
	z := (math.Cbrt(chi/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
	return 0.5 * math.Erfc(z/math.Sqrt2)
}

// uniformPValue is the p-value of the Kolmogorov-Smirnov test for the uniform distribution, with Stephens's correction.
func uniformPValue(u []float64) float64 {
	u = slices.Sorted(slices.Values(u))
	n := float64(len(u))
	d := 0.0
	for i, x := range u {
		d = max(d, float64(i+1)/n-x, x-float64(i)/n)
	}
	lambda := (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n)) * d
	sum, sign := 0.0, 1.0
	for j := 1.0; j <= 100; j++ {
		sum += sign * math.Exp(-2*j*j*lambda*lambda)
		sign = -sign
	}
	return min(1, max(0, 2*sum))
}

// Package crash kills the controllers at chosen points of a run, and checks that every job is started exactly once and
// that nothing is missing from the result all the same.
package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"assay.bench/api/v1alpha1"
	"assay.bench/test/harness"
)

// Places are where processes are killed, in a fixed order.
func Places() []harness.Place {
	return []harness.Place{harness.BeforeStatus, harness.BeforeSubmit, harness.AfterSubmit}
}

// Case is a benchmark, and how its controllers are killed.
type Case struct {
	Name string
	// Seed of the cluster.
	Seed uint64
	// Benchmark to run, and the number of jobs that it takes.
	Benchmark *v1alpha1.Benchmark
	Jobs      int
	// Kills end one process after another; Reached is how many of them are certain to come about.
	Kills   []harness.Kill
	Reached int
}

// Fixed are cases without anything random: at each place, the first visits one after another.
func Fixed() []Case {
	var out []Case
	for _, place := range Places() {
		for _, placement := range []v1alpha1.Placement{v1alpha1.SharedJob, v1alpha1.SeparateJobs} {
			c := Case{Name: fmt.Sprintf("%s, %s", place, placement), Benchmark: small(placement, 1, v1alpha1.RestartProcess)}
			c.Jobs = jobsOf(c.Benchmark)
			switch place {
			case harness.BeforeStatus:
				// A process that is killed before its first write has decided nothing, so the next one gets no further:
				// each of these dies one write later than the one before.
				for visit := 1; visit <= 4; visit++ {
					c.Kills = append(c.Kills, harness.Kill{Place: place, Kind: "SlurmJob", Visit: visit})
				}
				c.Reached = 2
			default:
				for range c.Jobs {
					c.Kills = append(c.Kills, harness.Kill{Place: place, Visit: 1})
				}
				c.Reached = 1
			}
			out = append(out, c)
		}
	}
	return out
}

// Random draws a benchmark from a seed, and kills its controllers at the place first and then at up to two others.
func Random(place harness.Place, seed uint64) Case {
	c, random := benchmarkOf(seed, string(place))
	c.Kills, c.Reached = []harness.Kill{draw(random, place, c.Jobs)}, 1
	for range random.IntN(3) {
		c.Kills = append(c.Kills, draw(random, Places()[random.IntN(len(Places()))], c.Jobs))
	}
	return c
}

// Everywhere draws a benchmark from a seed, and kills its controllers at every place: the write of a status comes before,
// between or after the two places of a submit.
func Everywhere(seed uint64) Case {
	c, random := benchmarkOf(seed, "everywhere")
	c.Kills = []harness.Kill{{Place: harness.BeforeSubmit, Visit: 1 + random.IntN(c.Jobs)}, {Place: harness.AfterSubmit, Visit: 1}}
	// The first two writes after a start come before the next submit.
	status := harness.Kill{Place: harness.BeforeStatus, Kind: "SlurmJob", Visit: 1 + random.IntN(2)}
	c.Kills = slices.Insert(c.Kills, random.IntN(3), status)
	c.Reached = len(c.Kills)
	return c
}

func benchmarkOf(seed uint64, stream string) (Case, *rand.Rand) {
	random := rand.New(rand.NewPCG(seed, uint64(len(stream))))
	placement, restart := v1alpha1.SharedJob, v1alpha1.RestartProcess
	if random.IntN(3) == 0 {
		placement = v1alpha1.SeparateJobs
	}
	count := int32(1 + random.IntN(2))
	if random.IntN(3) == 0 {
		restart = v1alpha1.RestartJob
	}
	bm := small(placement, count, restart)
	return Case{Name: fmt.Sprintf("seed=%d", seed), Seed: seed, Benchmark: bm, Jobs: jobsOf(bm)}, random
}

// draw is a kill that every run of that many jobs comes to, in a process that is not ended before.
func draw(random *rand.Rand, place harness.Place, jobs int) harness.Kill {
	if place != harness.BeforeStatus {
		return harness.Kill{Place: place, Visit: 1 + random.IntN(jobs)}
	}
	// The least number of writes of each kind in a run: a fast run skips states.
	writes := []struct {
		kind string
		some int
	}{{"SlurmJob", 4 * jobs}, {"SlurmJob", 4 * jobs}, {"Benchmark", 2}, {"LoadClient", 2}, {"Service", 2}}
	w := writes[random.IntN(len(writes))]
	return harness.Kill{Place: place, Kind: w.kind, Visit: 1 + random.IntN(w.some)}
}

func small(placement v1alpha1.Placement, count int32, restart v1alpha1.Restart) *v1alpha1.Benchmark {
	bm := harness.Benchmark("bm")
	bm.Spec.Placement = placement
	bm.Spec.Clients[0].Warmup = ""
	harness.Repeat(bm, count, restart)
	return bm
}

// jobsOf is the number of jobs that a benchmark takes when nothing goes wrong.
func jobsOf(bm *v1alpha1.Benchmark) int {
	jobs := 1
	if bm.Spec.Placement == v1alpha1.SeparateJobs {
		jobs = len(bm.Spec.Services) + len(bm.Spec.Clients)
	}
	if bm.Spec.Repeats.Restart == v1alpha1.RestartJob {
		jobs *= int(bm.Spec.Repeats.Count)
	}
	return jobs
}

// Run runs a case to its end, and removes what it made.
func Run(t *testing.T, p *harness.Plane, c Case) {
	w := p.World(t, harness.Options{Seed: c.Seed})
	stop := w.Run(c.Kills...)
	site := w.Site()
	w.Create(c.Benchmark)
	w.Whole(c.Benchmark)
	w.ExactlyOnce(c.Jobs)
	if left := w.Alive(); len(left) > 0 {
		t.Errorf("the run is Complete, and jobs are left: %v", left)
	}
	w.Delete(c.Benchmark)
	w.UntilEmpty()
	w.Delete(site)
	w.UntilGone(site)
	w.ExactlyOnce(c.Jobs)
	if killed := stop(); killed < c.Reached {
		t.Errorf("%d processes were killed, at least %d had to be: %v", killed, c.Reached, c.Kills)
	}
}

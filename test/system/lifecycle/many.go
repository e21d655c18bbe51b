package lifecycle

import (
	"fmt"
	"testing"
	"time"

	"assay.bench/test/harness"
)

// firstSweep is the earliest that a janitor lists the jobs beside the poll.
const firstSweep = 15 * time.Second

// Many applies many benchmarks at once. All complete, each job is started once, and the cluster is asked for its jobs
// once a tick, however many there are.
func Many(t *testing.T, p *harness.Plane, many int) Asked {
	t.Helper()
	begun := time.Now()
	w := begin(t, p, harness.Options{Nodes: 4 * many, Patience: time.Hour})
	for i := range many {
		bm := harness.Benchmark(fmt.Sprintf("bm-%d", i))
		bm.Spec.Clients[0].Warmup = ""
		w.Create(bm)
	}
	for i := range many {
		bm := harness.Benchmark(fmt.Sprintf("bm-%d", i))
		bm.Namespace = w.Namespace
		w.Whole(bm)
	}
	w.ExactlyOnce(many)
	stats, counts, took := w.PollStats(), w.Cluster.Counts(), time.Since(begun)
	t.Logf("%d benchmarks in %s: %d lists in as many ticks, %d reads, %d look-ups for %d submits",
		many, took.Round(time.Millisecond), stats.Lists, counts.Read, counts.Find, counts.Submit)
	most := int64(took/harness.Pace().ListMin) + 1
	if stats.Lists != stats.Ticks || stats.Lists > most {
		t.Errorf("the poll sent %d lists in %d ticks; the time allows %d", stats.Lists, stats.Ticks, most)
	}
	if sweeps := int64(took / firstSweep); counts.List > stats.Lists+sweeps {
		t.Errorf("the cluster was asked for its jobs %d times, the poll did it %d times", counts.List, stats.Lists)
	}
	if counts.Find > stats.Finds {
		t.Errorf("the cluster was asked for single jobs %d times, the poll shared %d look-ups", counts.Find, stats.Finds)
	}
	return Asked{Ticks: stats.Ticks, Lists: stats.Lists, Submits: counts.Submit}
}

// Asked is what the cluster was asked for while many benchmarks ran.
type Asked struct {
	Ticks, Lists, Submits int64
}

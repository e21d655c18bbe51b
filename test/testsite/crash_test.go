//go:build e2e

package testsite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// What is killed in the middle of its work, on one site at once: control planes in their submits, through every transport,
// one in the middle of a run, one of two that share the site, and the jobs of services. The seed of what happens is in the
// test's name; ASSAY_SEED runs one again.
func TestCrashes(t *testing.T) {
	t.Parallel()
	crashAll(t, 10, 10, false)
}

// crashAll kills some submits through each transport, and some jobs of services. The patient one waits for the janitor in its
// own time, others for the first round of a control plane's.
func crashAll(t *testing.T, submits, services int, patient bool) {
	t.Helper()
	user.Seeded(t, func(t *testing.T, seed uint64) {
		s := site.Up(t, site.Slurm2411)
		gates := gates(t, s)
		for stream, transport := range []string{"cli", "ssh", "rest"} {
			t.Run(transport, func(t *testing.T) {
				t.Parallel()
				killSubmits(t, s, gates, transport, rand.New(rand.NewPCG(seed, uint64(stream))), submits, patient)
			})
		}
		t.Run("origins", func(t *testing.T) {
			t.Parallel()
			twoOrigins(t, s)
		})
		t.Run("alone", func(t *testing.T) {
			t.Parallel()
			finishAlone(t, s, false)
		})
		t.Run("services", func(t *testing.T) {
			t.Parallel()
			killServices(t, s, rand.New(rand.NewPCG(seed, 3)), services)
		})
	})
}

// killSubmits kills a control plane in the middle of submits.
func killSubmits(t *testing.T, s *site.Site, gates, transport string, random *rand.Rand, kills int, patient bool) {
	t.Helper()
	p := comes(t, s, transport)
	if transport == "rest" {
		p.rest = gatedREST(t, s, gates)
	}
	c := &crashes{person: p, random: random, patient: patient}
	t.Cleanup(c.late.Wait)
	p.Up()
	c.gate = gateOf(t, gates, p.origin())
	p.apply("site", p.siteRecipe())
	c.run(kills)
	c.check()
}

// crashes are those of one control plane.
type crashes struct {
	*person

	gate    *gate
	random  *rand.Rand
	patient bool
	// length is how long it takes here and now from the apply of a benchmark to the begin of its job.
	length time.Duration
	// late are the submits that nobody waits for any more.
	late sync.WaitGroup
	// benchmarks were applied, of which some were deleted again.
	benchmarks, deleted []string
}

// crash is how one process of the control plane ends.
type crash struct {
	// point of a submit at which it ends, or "" for an instant of the clock: life is its share of a submit's length.
	point string
	life  float64
	// late is how long after that the submit at the point goes on, which nobody waits for any more.
	late time.Duration
	// lie says that a submit gets a wrong answer, if the process lives to hear it.
	lie bool
	// remove says that the benchmark is deleted at the end, with its job under way.
	remove bool
}

// draw draws a crash.
func (c *crashes) draw() crash {
	// In the last case the submit goes on when it was given up already, and tried again.
	late := []time.Duration{0, time.Duration(c.random.Int64N(int64(4 * time.Second))), 25 * time.Second}[c.random.IntN(3)]
	k := crash{life: c.random.Float64(), late: late, lie: c.random.IntN(2) == 0, remove: c.random.IntN(5) == 0}
	switch c.random.IntN(4) {
	case 0:
		k.point = before
	case 1:
		k.point = after
	}
	return k
}

// run kills one process after another, each while a benchmark of its own is handed in and those of the processes before
// it are taken up again. A kill after the begin of the newest job is not counted. At the end as many submits were
// answered wrongly as processes were killed.
func (c *crashes) run(kills int) {
	c.measure()
	for n := 0; n < kills; {
		k := c.draw()
		c.gate.lie(k.lie)
		open := func() {}
		if k.point != "" {
			c.gate.arm(k.point)
		}
		name, life := c.begin(), time.Duration(k.life*float64(c.length))
		if k.point != "" {
			open = c.gate.reached()
		} else {
			<-time.After(life)
		}
		c.KillPlane()
		stage := c.stage(name)
		if k.point == "" && stage == begun {
			c.length = life // the first one found the machine busier
		} else {
			n++
		}
		c.t.Logf("kill %d: %+v: %s: %s", n, k, name, stage)
		c.late.Go(func() {
			<-time.After(k.late)
			open()
		})
		c.Up()
		if k.remove {
			c.Must("assay", "kubectl", "delete", "bm", name, "--wait=false")
			c.deleted = append(c.deleted, name)
		}
	}
	c.gate.lie(true)
	for range kills - c.gate.lies() {
		c.begin()
	}
	user.Until(c.t, "enough submits were answered wrongly", func() bool { return c.gate.lies() >= kills })
}

// measure lets a submit come to its end.
func (c *crashes) measure() {
	from, name := time.Now(), c.begin()
	user.Until(c.t, "the first job begins", func() bool { return c.stage(name) == begun })
	c.length = time.Since(from)
	c.t.Logf("a submit takes %s", c.length)
}

// begin applies one more benchmark.
func (c *crashes) begin() (name string) {
	c.t.Helper()
	name = fmt.Sprintf("crash%d", len(c.benchmarks)+1)
	c.apply(name, fmt.Sprintf(aBenchmark, name, "SharedJob", "1s", "30s", "Stop"))
	c.benchmarks = append(c.benchmarks, name)
	return name
}

// begun is the stage of a job that its submit is over for.
const begun = "the job has begun"

// stage is how far the submit of a benchmark's job had come.
func (c *crashes) stage(benchmark string) string {
	c.t.Helper()
	attempts := c.attempts(benchmark)
	switch {
	case len(attempts) == 0:
		return "nothing is written"
	case claim(c.t, attempts[0]) != "":
		return begun
	}
	script, err := os.ReadFile(filepath.Join(attempts[0], rundir.ScriptFile))
	if err != nil {
		return "a part of the files is written"
	}
	_, rest, _ := strings.Cut(string(script), "--job-name=")
	key, _, _ := strings.Cut(rest, "\n")
	if jobs := c.queued("-t all --name=" + key); len(jobs) > 0 {
		return strings.Join(jobs, ", ")
	}
	return "the files are written"
}

// check waits until the last process has brought everything to its end.
func (c *crashes) check() {
	c.t.Helper()
	c.late.Wait()
	c.gate.finished()
	for _, name := range c.deleted { // first: kubectl waits in vain for a condition of an object that goes meanwhile
		c.Must("assay", "kubectl", "wait", "--for=delete", "bm/"+name, "--timeout", user.Within.String())
	}
	c.Must("assay", "kubectl", "wait", "--for=condition=Complete", "bm", "--all", "--timeout", user.Within.String())
	for _, name := range c.benchmarks {
		if !slices.Contains(c.deleted, name) {
			c.whole(name)
		}
	}
	c.sweep()
	c.ranOnce()
	c.leaves()
}

// janitorPeriod is the time between two rounds of the janitor.
const janitorPeriod = 10 * time.Minute

// sweep waits until no job lives any more: all objects have ended. What is left was handed in for an object after that was
// gone, held, and the janitor ends it: within two of its periods, or in the first round of the next process.
func (c *crashes) sweep() {
	living := func() []string { return c.queued("-t pending,running,suspended,completing") }
	if left := living(); len(left) > 0 {
		c.t.Logf("left for the janitor: %v", left)
		if c.patient {
			for end := time.Now().Add(2 * janitorPeriod); time.Now().Before(end) && len(living()) > 0; {
				<-time.After(time.Second)
			}
		} else {
			c.KillPlane()
			c.Up()
		}
	}
	user.Until(c.t, "no job is left", func() bool { return len(living()) == 0 })
}

// ranOnce checks by the accounts of the site that no key ran twice, and that what did not run was cancelled.
func (c *crashes) ranOnce() {
	c.t.Helper()
	starts, others := map[string]int{}, map[string]int{}
	for _, r := range c.records() {
		if r.ran() {
			starts[r.name]++
			continue
		}
		others[r.name]++
		if !strings.HasPrefix(r.state, "CANCELLED") {
			c.t.Errorf("job %s of %s never ran, and is %s", r.id, r.name, r.state)
		}
	}
	for name, n := range starts {
		if n > 1 {
			c.t.Errorf("%s ran %d times: %v", name, n, c.records())
		}
	}
	if want := len(c.benchmarks) - len(c.deleted); len(starts) < want {
		c.t.Errorf("accounting knows of %d keys that ran, want at least %d: %v", len(starts), want, starts)
	}
	c.t.Logf("%d benchmarks, %d of them deleted, %d lies: %d keys ran; never ran: %v", len(c.benchmarks), len(c.deleted), c.gate.lies(), len(starts), others)
}

// whole checks that a benchmark ran in one attempt, of one job, and that its result is whole.
func (c *crashes) whole(name string) {
	c.t.Helper()
	attempts := c.attempts(name)
	if len(attempts) != 1 {
		c.t.Errorf("%s: attempts %v, want one", name, attempts)
		return
	}
	started := 0
	for _, e := range c.Events(attempts[0]) {
		if e.Event == "JobStarted" {
			started++
		}
	}
	if started != 1 {
		c.t.Errorf("%s: its job began %d times", name, started)
	}
	b, err := os.ReadFile(filepath.Join(attempts[0], "..", "..", rundir.ResultFile))
	if err != nil {
		c.t.Error(err)
		return
	}
	r, err := results.Parse(b)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.Whole(r, 1)
}

package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/sim"
)

const origin = "0123abcd"

// bench is a cluster with a clock of its own.
type bench struct {
	t *testing.T
	*clock
	c *sim.Cluster
	*sim.Site
	n int
}

func newBench(t *testing.T, o sim.Options) *bench {
	b := &bench{t: t, clock: newClock()}
	o.Now = b.Now
	b.c = sim.New(o)
	b.Site = b.c.Site(origin)
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// plan is one service and one client of two ranks.
func plan(run, job string) rundir.Plan {
	root := "/work/" + run
	return rundir.Plan{
		Version: 1, Run: run, Job: job, Attempt: 1, RunDirectory: root, Directory: rundir.Attempt(root, job, 1),
		Launcher: rundir.LaunchProcess, Repeats: rundir.Repeats{First: 1, Count: 2, Restart: rundir.RestartProcess},
		IdleTimeout: rundir.Duration(15 * time.Minute),
		Services: []rundir.Service{{
			Name: "server", Ranks: 1, Argv: []string{"x"}, Ports: []rundir.Port{{Name: "http"}}, Protocol: rundir.ProtocolOpenAI,
			Scrapes:     []rundir.Scrape{{Name: "engine", PortName: "http", Path: "/metrics"}},
			CrossChecks: []rundir.CrossCheck{{Target: "engine", Metric: "vllm:generation_tokens_total", Total: "output_tokens"}},
		}},
		Clients: []rundir.Client{{
			Name: "loadgen", Ranks: 2, Target: rundir.Target{Service: "server"}, ClosedLoop: &rundir.ClosedLoop{Concurrency: 8},
			Inference: &rundir.Inference{InputTokens: rundir.Tokens{Min: 32, Max: 32}, OutputTokens: rundir.Tokens{Min: 128, Max: 128}},
			Warmup:    rundir.Duration(5 * time.Second), Duration: rundir.Duration(30 * time.Second), Seed: 42,
		}},
	}
}

// start runs a plan and returns the job's id.
func (b *bench) start(p rundir.Plan, nodes int) string {
	b.t.Helper()
	b.n++
	key := slurmbridge.NewKey(origin, fmt.Sprintf("%016x", b.n), 1)
	p.Key = string(key)
	text, err := json.Marshal(p)
	b.must(err)
	ctx := context.Background()
	b.must(b.Write(ctx, map[string][]byte{path.Join(p.Directory, rundir.PlanFile): text}))
	b.must(b.Submit(ctx, key, slurmbridge.Script{Directory: p.Directory, Node: "/bin/assay-node", Parts: []slurmbridge.Part{{Nodes: nodes}}}))
	jobs, err := b.Find(ctx, key)
	b.must(err)
	b.must(b.Release(ctx, jobs[0].ID))
	return jobs[0].ID
}

func (b *bench) job(id string) slurmbridge.Job {
	b.t.Helper()
	jobs, err := b.List(context.Background())
	b.must(err)
	for _, j := range jobs {
		if j.ID == id {
			return j
		}
	}
	b.t.Fatalf("no job %s", id)
	return slurmbridge.Job{}
}

// until moves the clock, at most for limit.
func (b *bench) until(limit time.Duration, what string, ok func() bool) {
	b.t.Helper()
	for end := b.Now().Add(limit); !ok(); b.Move(100 * time.Millisecond) {
		if b.Now().After(end) {
			b.t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func (b *bench) read(p string) []byte {
	b.t.Helper()
	got, err := b.Read(context.Background(), p)
	b.must(err)
	return got[p]
}

func (b *bench) status(dir string) rundir.Status {
	b.t.Helper()
	s, err := rundir.ParseStatus(b.read(path.Join(dir, rundir.StatusFile)))
	b.must(err)
	return *s
}

func (b *bench) exit(dir string) rundir.Exit {
	b.t.Helper()
	e, err := rundir.ParseExit(b.read(path.Join(dir, rundir.ExitFile)))
	b.must(err)
	return *e
}

// TestResultsCanBeRead: what the player invents is what package results reads, and the counters agree with it.
func TestResultsCanBeRead(t *testing.T) {
	b := newBench(t, sim.Options{Seed: 3})
	p := plan("g1", "main")
	id := b.start(p, 1)
	b.until(5*time.Minute, "the job ends", func() bool { return b.job(id).Over() })
	var tokens int64
	for n := range 2 {
		dir := rundir.Repeat(rundir.Rank(p.Directory, "loadgen", n), 2)
		r, err := results.ParseRank(b.read(path.Join(dir, rundir.ResultFile)))
		if err != nil {
			t.Fatalf("rank %d: %v", n, err)
		}
		if r.Workload != "sim" || r.Measured.Succeeded == 0 || r.Measured.Succeeded != r.Metrics[0].Count || len(r.Metrics[0].Batches) != results.Batches {
			t.Errorf("rank %d: %+v", n, r.Measured)
		}
		tokens += r.Total("output_tokens").All
	}
	c, err := rundir.ParseCounters(b.read(path.Join(rundir.Repeat(rundir.Rank(p.Directory, "server", 0), 2), rundir.CountersFile)))
	b.must(err)
	if got, known := c.Increase(rundir.CrossCheck{Target: "engine", Metric: "vllm:generation_tokens_total"}); !known || int64(got) != tokens {
		t.Errorf("the server counted %v tokens (known %v), the clients %d", got, known, tokens)
	}
}

// TestSameSeedSameFiles: seed and times decide everything.
func TestSameSeedSameFiles(t *testing.T) {
	files := func(seed uint64) map[string]string {
		b := newBench(t, sim.Options{Seed: seed})
		id := b.start(plan("g1", "main"), 1)
		b.until(5*time.Minute, "the job ends", func() bool { return b.job(id).Over() })
		out := map[string]string{}
		for _, p := range b.c.Paths("/work") {
			out[p] = string(b.read(p))
		}
		return out
	}
	one, two, other := files(7), files(7), files(8)
	if diff := cmp.Diff(one, two); diff != "" || len(one) < 15 {
		t.Errorf("%d files; the same seed differs:\n%s", len(one), diff)
	}
	if cmp.Equal(one, other) {
		t.Error("another seed makes the same files")
	}
}

func TestQueueIsFirstInFirstOut(t *testing.T) {
	b := newBench(t, sim.Options{Nodes: 4})
	var ids []string
	for i, nodes := range []int{3, 3, 1} {
		ids = append(ids, b.start(plan(fmt.Sprintf("g%d", i), "main"), nodes))
	}
	states := func() (out [3]string) {
		for i, id := range ids {
			j := b.job(id)
			out[i] = string(j.Phase) + " " + j.Message
		}
		return out
	}
	if got, want := states(), [3]string{"Running None", "Pending Resources", "Pending Priority"}; got != want {
		t.Errorf("%q, want %q: a small job does not overtake", got, want)
	}
	b.until(5*time.Minute, "the first ends", func() bool { return b.job(ids[0]).Over() })
	if got, want := states(), [3]string{"Succeeded None", "Running None", "Running None"}; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	big := plan("big", "main")
	err := b.Submit(t.Context(), slurmbridge.NewKey(origin, "00000000000000ff", 1), slurmbridge.Script{
		Directory: big.Directory, Node: "/n", Parts: []slurmbridge.Part{{Nodes: 3}, {Nodes: 2}},
	})
	if !errors.Is(err, slurmbridge.ErrRefused) {
		t.Errorf("five nodes of four: %v, want ErrRefused", err)
	}
}

// TestClientLost: the service ends itself when a client's heartbeat stops.
func TestClientLost(t *testing.T) {
	b := newBench(t, sim.Options{})
	server, client := plan("g1", "server"), plan("g1", "loadgen")
	server.Clients, client.Services = nil, nil
	server.AllServices, server.AllClients = []rundir.Component{{Name: "server", Ranks: 1}}, []rundir.Component{{Name: "loadgen", Job: "/work/g1/loadgen", Ranks: 2}}
	client.AllServices, client.AllClients = []rundir.Component{{Name: "server", Job: "/work/g1/server", Ranks: 1}}, []rundir.Component{{Name: "loadgen", Ranks: 2}}
	s, c := b.start(server, 1), b.start(client, 1)
	rank := rundir.Rank(client.Directory, "loadgen", 0)
	b.until(time.Minute, "the load runs", func() bool { return b.status(rank).Phase == rundir.PhaseMeasuring })
	b.c.LoseNode(c)
	lost, before := b.Now(), b.status(rank).Heartbeat
	b.until(2*time.Minute, "the service ends", func() bool { return b.job(s).Over() })
	if e := b.exit(rundir.Rank(server.Directory, "server", 0)); e.Reason != rundir.ExitReasonClientLost {
		t.Errorf("the service ended with %+v, want ClientLost", e)
	}
	if took := b.Now().Sub(lost); took < time.Minute || took > 70*time.Second {
		t.Errorf("it took %s, want about 60 s", took)
	}
	if j := b.job(c); j.Reason != "NodeFailure" || b.status(rank).Heartbeat != before {
		t.Errorf("the lost job: %+v, heartbeat %d after %d", j, b.status(rank).Heartbeat, before)
	}
}

// TestSpeed: the phases of a node pass faster, what watches others does not.
func TestSpeed(t *testing.T) {
	b := newBench(t, sim.Options{Speed: 100})
	p := plan("g1", "main")
	begin := b.Now()
	id := b.start(p, 1)
	for !b.job(id).Over() {
		b.Move(time.Millisecond)
	}
	if took := b.Now().Sub(begin); took > 2*time.Second {
		t.Errorf("two repeats of 35 s took %s at speed 100", took)
	}
	r, err := results.ParseRank(b.read(path.Join(rundir.Repeat(rundir.Rank(p.Directory, "loadgen", 0), 1), rundir.ResultFile)))
	if err != nil || r.Window != int64(30*time.Second) || r.Truncated {
		t.Errorf("window %s truncated %v (%v), want the plan's 30 s", time.Duration(r.Window), r.Truncated, err)
	}
	idle := plan("g2", "main")
	idle.Clients, idle.IdleTimeout = nil, rundir.Duration(10*time.Second)
	begin, id = b.Now(), b.start(idle, 1)
	for !b.job(id).Over() {
		b.Move(10 * time.Millisecond)
	}
	if took := b.Now().Sub(begin); took < 10*time.Second {
		t.Errorf("the idle timeout of 10 s passed in %s: it watches a controller, which is not faster", took)
	}
}

// TestControlIsALease: a controller that advances control.json keeps an idle service.
func TestControlIsALease(t *testing.T) {
	b := newBench(t, sim.Options{})
	p := plan("g1", "main")
	p.Clients, p.IdleTimeout = nil, rundir.Duration(20*time.Second)
	id := b.start(p, 1)
	for sequence := range 10 {
		b.Move(10 * time.Second)
		text := fmt.Appendf(nil, `{"version":1,"sequence":%d,"want":"Run"}`, sequence+1)
		b.must(b.Write(t.Context(), map[string][]byte{path.Join(p.Directory, rundir.ControlFile): text}))
	}
	if j := b.job(id); j.Over() {
		t.Fatalf("after 100 s with a lease: %+v", j)
	}
	b.until(30*time.Second, "the lease ran out", func() bool { return b.job(id).Over() })
}

// TestVanished: a job that the batch system forgot goes on, and its run directory says so.
func TestVanished(t *testing.T) {
	b := newBench(t, sim.Options{})
	p := plan("g1", "main")
	id := b.start(p, 1)
	b.Move(20 * time.Second)
	b.c.Vanish(id)
	if jobs, err := b.List(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("List: %v, %v", jobs, err)
	}
	b.Move(5 * time.Minute)
	if e := b.exit(p.Directory); e.Reason != rundir.ExitReasonEnded {
		t.Errorf("exit.json: %+v, want Ended", e)
	}
}

// TestCounts: a test can see what it cost and that each key worked once.
func TestCounts(t *testing.T) {
	b := newBench(t, sim.Options{})
	p := plan("g1", "main")
	b.start(p, 1)
	key := slurmbridge.NewKey(origin, "0000000000000001", 1)
	got := b.c.Counts()
	want := sim.Counts{
		Find: 1, Submit: 1, Release: 1, Write: 1, Submits: map[slurmbridge.Key]int{key: 1},
		Started: map[slurmbridge.Key]int{key: 1}, Worked: map[slurmbridge.Key]int{key: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestManyAtOnce: two hundred runs on one cluster take no time to speak of.
func TestManyAtOnce(t *testing.T) {
	b := newBench(t, sim.Options{Nodes: 50})
	var ids []string
	for i := range 200 {
		ids = append(ids, b.start(plan(fmt.Sprintf("g%d", i), "main"), 1))
	}
	begin := time.Now()
	b.until(time.Hour, "all end", func() bool {
		b.Move(2 * time.Second)
		return b.job(ids[len(ids)-1]).Over()
	})
	b.Move(10 * time.Minute)
	for _, id := range ids {
		if j := b.job(id); j.Phase != slurmbridge.Succeeded {
			t.Fatalf("%+v, want Succeeded", j)
		}
	}
	t.Logf("200 runs took %s", time.Since(begin))
}

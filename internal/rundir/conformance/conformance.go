// Package conformance is what every node side has to pass: one suite over the run directory, for assay-node and for
// whoever plays it.
package conformance

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// Harness is a batch system whose jobs run the node side to test.
type Harness struct {
	Jobs  slurmbridge.Jobs
	Files slurmbridge.Files
	// Origin of the control plane, WorkDir an absolute path that exists, Node the path of assay-node.
	Origin, WorkDir, Node string
	// Prepare fills in what the services of a plan need to run there: command, ports, probes, protocol; and may set the
	// requests of its clients. nil for a player that needs none of it.
	Prepare func(*rundir.Plan)
	// Break makes the named service of a plan fail before it is ready. nil leaves the case out.
	Break func(plan *rundir.Plan, service string)
	// Link returns the target of a symbolic link.
	Link func(path string) (string, bool)
	// Requeue ends every process of a running job without a word and starts the job's script again under the same id, in
	// the given attempt's folder. It returns the exit code of the second start.
	Requeue func(t *testing.T, id, attempt string) int
	// Step lets time pass between two looks; nil waits for real.
	Step func()
	// Patience is the longest wait for anything; 0 takes 60 s.
	Patience time.Duration
}

// run is one case: a run directory and the jobs in it.
type run struct {
	Harness
	t    *testing.T
	rng  *rand.Rand
	root string
}

// Run runs every case, each on a harness of its own and in parallel. The seed is printed; ASSAY_SEED sets it.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	seed := seedOf(t)
	for _, c := range []struct {
		name string
		run  func(*run)
	}{
		{"claim", claim},
		{"current", current},
		{"whole run", wholeRun},
		{"status", status},
		{"restart None", restartNone},
		{"separate jobs", separateJobs},
		{"control stop", controlStop},
		{"control drain", controlDrain},
		{"ended by TERM", terminated},
		{"requeue", requeue},
		{"unknown plan", unknownPlan},
		{"idle", idle},
		{"kept", kept},
		{"service fails", serviceFails},
		{"secrets", secrets},
		{"several ranks", func(r *run) { severalRanks(r, 1, 3) }},
		{"replicas", func(r *run) { severalRanks(r, 2, 2) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			if h.Patience == 0 {
				h.Patience = time.Minute
			}
			sum := fnv.New64a()
			fmt.Fprint(sum, c.name)
			rng := rand.New(rand.NewPCG(seed, sum.Sum64()))
			c.run(&run{Harness: h, t: t, rng: rng, root: rundir.Run(h.WorkDir, h.Origin, "default", "bench", "g1")})
		})
	}
}

func seedOf(t *testing.T) uint64 {
	seed := rand.Uint64()
	if s, ok := os.LookupEnv("ASSAY_SEED"); ok { //nolint:forbidigo // a suite is a part of a test
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("ASSAY_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("seed %d", seed)
	return seed
}

// clientName is the client of every plan; it has two ranks.
const clientName = "loadgen"

// plan is one service and one client of two ranks, with short phases.
func (r *run) plan(repeats int) rundir.Plan {
	const ms = rundir.Duration(time.Millisecond)
	p := rundir.Plan{
		Version: rundir.Version, Origin: r.Origin, Namespace: "default", Owner: "bench", Run: "g1", Job: "main", Attempt: 1,
		RunDirectory: r.root, Directory: rundir.Attempt(r.root, "main", 1),
		Launcher: rundir.LaunchProcess, Seed: r.rng.Uint64N(1 << 53),
		Repeats:     rundir.Repeats{First: 1, Count: repeats, Restart: rundir.RestartProcess},
		IdleTimeout: rundir.Duration(time.Minute),
		Services: []rundir.Service{{
			Name: "server", Engine: "test", Ranks: 1, Argv: []string{"server"}, Ports: []rundir.Port{{Name: "http"}},
			Bind: "127.0.0.1", ReadyTimeout: rundir.Duration(20 * time.Second), ProbeEvery: 50 * ms,
			StopTimeout: rundir.Duration(5 * time.Second), ScrapeEvery: 200 * ms, Protocol: rundir.ProtocolOpenAI, Model: "m",
		}},
		Clients: []rundir.Client{{
			Name: clientName, Ranks: 2, Target: rundir.Target{Service: "server"},
			Inference: &rundir.Inference{
				API: rundir.APICompletions, Model: "m", InputTokens: rundir.Tokens{Min: 4, Max: 4}, OutputTokens: rundir.Tokens{Min: 2, Max: 2},
			},
			ClosedLoop: &rundir.ClosedLoop{Concurrency: 2, ThinkTime: 20 * ms},
			Warmup:     200 * ms, Duration: 800 * ms, TimeoutTotal: rundir.Duration(5 * time.Second), Seed: r.rng.Uint64N(1 << 53),
		}},
	}
	if r.Prepare != nil {
		r.Prepare(&p)
	}
	return p
}

// long gives every client a load that somebody has to end.
func long(p rundir.Plan) rundir.Plan {
	for i := range p.Clients {
		p.Clients[i].Duration = rundir.Duration(10 * time.Minute)
	}
	return p
}

// job is one submitted job.
type job struct {
	*run
	id  string
	key slurmbridge.Key
	dir string
}

// submit writes the files of an attempt and hands the job in; it is still held.
func (r *run) submit(p rundir.Plan) *job {
	r.t.Helper()
	key := slurmbridge.NewKey(r.Origin, fmt.Sprintf("%016x", r.rng.Uint64()), p.Attempt)
	p.Key = string(key)
	b, err := json.Marshal(p)
	r.must(err)
	return r.submitBytes(key, p.Directory, b)
}

func (r *run) submitBytes(key slurmbridge.Key, dir string, plan []byte) *job {
	r.t.Helper()
	script := slurmbridge.Script{Comment: "conformance", Directory: dir, Parts: []slurmbridge.Part{{Nodes: 1}}, Node: r.Node}
	text, err := script.Render(key)
	r.must(err)
	r.must(r.Files.Write(r.t.Context(), map[string][]byte{
		path.Join(dir, rundir.PlanFile): plan, path.Join(dir, rundir.ScriptFile): text,
	}))
	r.must(r.Jobs.Submit(r.t.Context(), key, script))
	jobs, err := r.Jobs.Find(r.t.Context(), key)
	r.must(err)
	if len(jobs) != 1 {
		r.t.Fatalf("%d jobs under %s", len(jobs), key)
	}
	return &job{run: r, id: jobs[0].ID, key: key, dir: dir}
}

// start submits and releases. The job is ended with the test, however that ends.
func (r *run) start(p rundir.Plan) *job {
	r.t.Helper()
	return r.submit(p).release()
}

func (j *job) release() *job {
	j.t.Helper()
	j.must(j.Jobs.Release(j.t.Context(), j.id))
	return j
}

// wait waits for the end of the job and returns its exit code.
func (j *job) wait() int {
	j.t.Helper()
	var last slurmbridge.Job
	j.eventually("the job ends", func() bool {
		jobs, err := j.Jobs.Find(j.t.Context(), j.key)
		j.must(err)
		if len(jobs) != 1 {
			j.t.Fatalf("%d jobs under %s", len(jobs), j.key)
		}
		last = jobs[0]
		return last.Over()
	})
	return last.ExitCode
}

func (r *run) eventually(what string, ok func() bool) {
	r.t.Helper()
	ready := make(chan time.Time)
	close(ready)
	deadline := time.NewTimer(r.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		next := tick.C
		if r.Step != nil {
			r.Step()
			next = ready
		}
		select {
		case <-deadline.C:
			r.t.Fatalf("not within %s: %s", r.Patience, what)
		case <-next:
		}
	}
}

func (r *run) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

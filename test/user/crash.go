package user

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// crashed is a benchmark whose control plane is killed while it runs.
const crashed = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: %s}
spec:
  site: local
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 2}
    warmup: 300ms
    duration: 2s
  repeats: {count: 3}
`

// longestLife is the longest time from a start of the control plane to its next kill: about half a benchmark, so that
// the kills hit all of it, from the submit to the merge of the results.
const longestLife = 4 * time.Second

// Seeded runs a test that draws from a seed. The seed is one of the clock and stands in the test's name, which ends in
// /seed=N. The environment variable ASSAY_SEED=N draws the same again.
func Seeded(t *testing.T, test func(t *testing.T, seed uint64)) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ASSAY_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ASSAY_SEED is not a seed: %v", err)
		}
	}
	t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { test(t, seed) })
}

// KillPlanes kills the process of assay up, at instants that a seed draws, while benchmarks run one after the other, and
// starts it again each time, until the number of kills before the end of a job is reached. Every benchmark must keep the
// processes of its one job and end with a whole result.
func KillPlanes(t *testing.T, kills int) {
	Seeded(t, func(t *testing.T, seed uint64) { killPlanes(t, seed, kills) })
}

func killPlanes(t *testing.T, seed uint64, kills int) {
	u := New(t)
	u.Up()
	c := crash{User: u, random: rand.New(rand.NewPCG(seed, 0))}
	for n := 1; c.kills < kills; n++ {
		name := fmt.Sprintf("crash%d", n)
		u.Must("assay", "kubectl", "apply", "-f", u.Write(name+".yaml", fmt.Sprintf(crashed, name)))
		for c.kills < kills && !c.complete(name) {
			c.again(name)
		}
		u.Must("assay", "kubectl", "wait", "--for=condition=Complete", "bm/"+name, "--timeout", Within.String())
		if records := u.Records(); len(records) != n {
			t.Fatalf("%d jobs were submitted for %d benchmarks: %v", len(records), n, records)
		}
		u.ranOnce(name, fmt.Sprintf("L%d", n), 3)
		if t.Failed() {
			return
		}
	}
	u.Must("assay", "down")
}

// crash is what one call of KillPlanes knows.
type crash struct {
	*User
	random *rand.Rand
	kills  int
}

func (c *crash) complete(benchmark string) bool {
	status := c.Must("assay", "kubectl", "get", "bm", benchmark, "-o", `jsonpath={.status.conditions[?(@.type=="Complete")].status}`)
	return status.Stdout == "True"
}

// again kills the control plane after a time of the seed's choice and starts it again. The processes of its jobs are
// the same before and after, but for those that came to their end. A kill after the end of the job is not counted.
func (c *crash) again(benchmark string) {
	c.t.Helper()
	life := time.Duration(c.random.Int64N(int64(longestLife)))
	<-time.After(life)
	before := c.nodes()
	ended, err := filepath.Glob(c.Path("state", "assay", "*", "work", "*", "*", benchmark, "*", "*", "*", rundir.ExitFile))
	if err != nil {
		c.t.Fatal(err)
	}
	c.KillPlane()
	if len(ended) == 0 {
		c.kills++
	}
	gap := c.nodes()
	c.Up()
	after := c.nodes()
	c.t.Logf("%s: kill %d after %s (job ended: %t): %d of its processes before it, %d after it, %d once the control plane is up again",
		benchmark, c.kills, life.Round(time.Millisecond), len(ended) > 0, len(before), len(gap), len(after))
	for kind, processes := range after {
		if len(processes) > 1 {
			c.t.Errorf("kill %d: %d processes of %s run: %v", c.kills, len(processes), kind, processes)
		}
		if old := gap[kind]; len(old) == 1 && old[0] != processes[0] && old[0].Lives() {
			c.t.Errorf("kill %d: %s was %v and is %v", c.kills, kind, old[0], processes[0])
		}
	}
}

// nodes are the processes of assay-node, by their command lines: batch step, service and client. Those of a simulator
// come and go with the repeats.
func (c *crash) nodes() map[string][]Process {
	out := map[string][]Process{}
	for _, p := range c.Processes() {
		program, args, _ := strings.Cut(p.Command, " ")
		if strings.HasPrefix(filepath.Base(program), "assay-node") && !strings.HasPrefix(args, "llmsim") {
			out[args] = append(out[args], p)
		}
	}
	return out
}

// ranOnce checks that a benchmark with one client and one service ran in one attempt of one job, that no process of it
// was started twice, and that its result is whole.
func (u *User) ranOnce(benchmark, job string, repeats int) {
	u.t.Helper()
	run := u.Run(benchmark)
	attempt := u.one("state", "assay", "*", "work", "*", "*", benchmark, "*", "*", "[0-9]*")
	if owner, err := os.Readlink(filepath.Join(attempt, rundir.ClaimLink)); err != nil || owner != job || filepath.Base(attempt) != "1" {
		u.t.Errorf("%s: attempt %s is claimed by %q, %v: want the first one, claimed by %s", benchmark, filepath.Base(attempt), owner, err, job)
	}
	u.counts(attempt, map[string]int{"JobStarted": 1, "JobEnded": 1})
	u.counts(u.Rank(run, "load"), map[string]int{"Started": 1, "LoadStarts": repeats, "LoadEnded": repeats})
	u.counts(u.Rank(run, "sim"), map[string]int{"Started": 1, "ServerStopped": repeats})
	r := u.Result(run)
	u.Whole(r, repeats)
	if len(r.Jobs) != 1 || r.Jobs[0].ID != job {
		u.t.Errorf("%s ran in the jobs %+v, want %s alone", benchmark, r.Jobs, job)
	}
}

// counts checks how often events stand in a log.
func (u *User) counts(dir string, want map[string]int) {
	u.t.Helper()
	got := map[string]int{}
	for _, e := range u.Events(dir) {
		got[e.Event]++
	}
	for event, n := range want {
		if got[event] != n {
			u.t.Errorf("%s: %d × %s, want %d", dir, got[event], event, n)
		}
	}
}

// Whole checks that a result has all of its repeats, each from the first attempt of its job, and that the counters of
// the servers agree with the clients. A busy machine may have limited the client.
func (u *User) Whole(r results.Result, repeats int) {
	u.t.Helper()
	if !slices.Contains([]string{results.Passed, results.Undecided, results.MeasurementInvalid}, r.Outcome) {
		u.t.Errorf("%s: %s", r.Outcome, r.Message)
	}
	if r.RepeatsWhole != repeats || r.RepeatsPlanned != repeats {
		u.t.Errorf("%d of %d repeats are whole, want %d", r.RepeatsWhole, r.RepeatsPlanned, repeats)
	}
	for _, j := range r.Jobs {
		if j.Attempt != 1 {
			u.t.Errorf("job %s: attempt %d", j.Name, j.Attempt)
		}
	}
	if len(r.CrossChecks) == 0 {
		u.t.Error("no counter of a server was compared")
	}
	for _, c := range r.CrossChecks {
		if !c.Agrees || c.Server == nil || *c.Server != float64(c.Clients) {
			u.t.Errorf("repeat %d: the server's %s and the clients' %s differ: %+v", c.Repeat, c.Metric, c.Total, c)
		}
	}
	for _, c := range r.Clients {
		for _, p := range c.Repeats {
			if !p.Whole || p.Measured.Succeeded == 0 {
				u.t.Errorf("client %s, repeat %d: %+v", c.Name, p.Repeat, p.Measured)
			}
		}
	}
}

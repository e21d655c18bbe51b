// Package conformance is what every transport has to pass: one suite for all batch systems, real or simulated.
package conformance

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"assay.bench/slurmbridge"
)

// Harness is a site to test, freshly opened, with no job on it.
type Harness struct {
	// Jobs and Files of the transport for Origin.
	Jobs   slurmbridge.Jobs
	Files  slurmbridge.Files
	Origin string
	// Dialer of the transport. The site's login node shares the loopback interface of this machine.
	Dialer slurmbridge.Dialer
	// WorkDir is an absolute path that exists, is ours and is seen by jobs.
	WorkDir string
	// Program makes a stand-in for assay-node that a script can name, and returns its absolute path.
	Program func(t *testing.T, p Program) string
	// Reopen opens the same site again, as the next process of assay would; the first one is as good as killed.
	Reopen func(t *testing.T) slurmbridge.Jobs
	// Other opens the same site for another control plane.
	Other func(t *testing.T, origin string) slurmbridge.Jobs
	// BadWorkDirs are folders that Probe has to refuse, with words of the refusal.
	BadWorkDirs func(t *testing.T) map[string]string
	// Step lets time pass between two looks; nil waits for real.
	Step func()
	// Patience is the longest wait for anything; 0 takes 20 s.
	Patience time.Duration
	// ShortLimit is a time limit that the batch system enforces soon.
	ShortLimit time.Duration
	// Many is the number of jobs of the big list; 0 takes 50.
	Many int
	// Part is what a job asks for beside one node.
	Part slurmbridge.Part
	// Nodes are those of a site that the cases share. The last two are for the cases that break one: no other job runs there.
	Nodes []string
	// NoAccounting says that the site keeps no accounts of ended jobs.
	NoAccounting bool
	Faults       Faults
}

// Program is what a stand-in does: it runs for Takes and ends with Code. IgnoreTerm lets it go on after TERM, and Stray
// leaves a process behind in a session of its own.
type Program struct {
	Takes      time.Duration
	Code       int
	IgnoreTerm bool
	Stray      bool
}

// Faults are what a harness can break. A case without its fault fails, unless it is left out by name.
type Faults struct {
	// LoseReply lets the next submit in and loses the answer.
	LoseReply func()
	// Noise makes the site print to standard error.
	Noise func(on bool)
	// Truncate cuts the next answer.
	Truncate func()
	// Purge makes the batch system forget a job that has ended.
	Purge func(id string)
	// Outage makes the site unreachable.
	Outage func(on bool)
	// SkewClock sets the batch system's clock off.
	SkewClock func(d time.Duration)
	// LoseNode takes the nodes of a running job away.
	LoseNode func(id string)
	// Requeue makes the batch system start a running job again.
	Requeue func(id string)
	// FailProlog lets the prolog of a job fail that is about to start, and the batch system start it again.
	FailProlog func(id string)
}

// suite is one case's site with the names that it uses.
type suite struct {
	Harness
	t   *testing.T
	rng *rand.Rand
	n   int
	// breaks is the node that the case breaks; "" for none.
	breaks string
	// pause is the shortest between two looks.
	pause time.Duration
}

// cases are all, in their order.
func cases() []aCase {
	return []aCase{
		{name: "life of a job", run: life},
		{name: "exit code", run: exitCode},
		{name: "held until released", run: held},
		{name: "cancel pending", run: cancelPending},
		{name: "cancel running", run: cancelRunning},
		{name: "cancel what ignores TERM", run: cancelStubborn, waits: true},
		{name: "cancel ended and unknown", run: cancelEnded},
		{name: "nothing stays behind", run: strays, waits: true},
		{name: "find", run: find},
		{name: "duplicates are visible", run: duplicates},
		{name: "own origin only", run: origins},
		{name: "time limit", run: timeLimit, waits: true},
		{name: "fence", run: fence},
		{name: "refused", run: refused},
		{name: "context over", run: contextOver},
		{name: "reopen", run: reopen},
		{name: "past jobs", run: past},
		{name: "many", run: many},
		{name: "concurrent", run: concurrent},
		{name: "files", run: files},
		{name: "probe", run: probe},
		{name: "dial", run: dial},
		{name: "lost reply", run: lostReply},
		{name: "noise", run: noise},
		{name: "truncated answer", run: truncated},
		{name: "purged records", run: purged, waits: true},
		{name: "outage", run: outage},
		{name: "clock off", run: clockOff},
		{name: "node lost", run: nodeLost, waits: true},
		{name: "requeue", run: requeue, waits: true},
		{name: "prolog failed", run: prologFailed},
	}
}

type aCase struct {
	name string
	run  func(*suite)
	// waits says that it does little but wait for the batch system's clocks.
	waits bool
}

// Run runs every case, each on a site of its own, but for those that are left out: their names, and why. The seed of the
// names is printed; ASSAY_SEED sets it.
func Run(t *testing.T, left map[string]string, open func(t *testing.T) Harness) {
	for _, run := range prepare(t, left, false, open) {
		run.now()
	}
}

// RunShared is Run for a site that all cases share: those that wait do so beside the others, and look once a second.
func RunShared(t *testing.T, left map[string]string, open func(t *testing.T) Harness) {
	var waits sync.WaitGroup
	all := prepare(t, left, true, open)
	for _, run := range all {
		if run.waits {
			waits.Go(run.now)
		}
	}
	for _, run := range all {
		if !run.waits {
			run.now()
		}
	}
	waits.Wait()
}

// prepared is a case that can be run.
type prepared struct {
	waits bool
	now   func()
}

// prepare makes the cases ready: beside says that those that wait run beside the others.
func prepare(t *testing.T, left map[string]string, beside bool, open func(t *testing.T) Harness) (all []prepared) {
	seed := seedOf(t)
	for name, why := range left {
		if !slices.ContainsFunc(cases(), func(c aCase) bool { return c.name == name }) {
			t.Errorf("there is no case %q to leave out", name)
		}
		t.Logf("left out: %s: %s", name, why)
	}
	for _, c := range cases() {
		if _, out := left[c.name]; out {
			continue
		}
		run := func(t *testing.T) {
			h := open(t)
			if h.Patience == 0 {
				h.Patience = 20 * time.Second
			}
			sum := fnv.New64a()
			fmt.Fprint(sum, c.name)
			pause := 10 * time.Millisecond
			if beside && c.waits {
				pause = time.Second
			}
			c.run(&suite{Harness: h, t: t, rng: rand.New(rand.NewPCG(seed, sum.Sum64())), pause: pause})
		}
		all = append(all, prepared{c.waits, func() { t.Run(c.name, run) }})
	}
	return all
}

// needs ends a case for which the harness has not what it needs: one that says nothing would pass.
func (s *suite) needs(has bool, what string) {
	s.t.Helper()
	if !has {
		s.t.Fatalf("the harness has no %s: give it, or leave the case out by its name", what)
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

// key makes a new key of the harness's origin.
func (s *suite) key() slurmbridge.Key { return s.keyOf(s.Origin) }

func (s *suite) keyOf(origin string) slurmbridge.Key {
	return slurmbridge.NewKey(origin, fmt.Sprintf("%016x", s.rng.Uint64()), 1)
}

// script is a job that runs a program in a new folder.
func (s *suite) script(p Program) slurmbridge.Script {
	s.t.Helper()
	s.n++
	dir := path.Join(s.WorkDir, fmt.Sprintf("run%d", s.n), "main", "1")
	if s.Files != nil {
		s.must(s.Files.Write(s.t.Context(), map[string][]byte{path.Join(dir, "plan.json"): []byte("{}\n")}))
	}
	part := s.Part
	part.Nodes, part.Exclude = 1, s.away()
	return slurmbridge.Script{
		Comment: "conformance of a transport", Directory: dir, Parts: []slurmbridge.Part{part},
		Node: s.Program(s.t, p),
	}
}

// breaksOne is for a case that breaks a node: the jobs of the case run there, on the first or the second of the two.
func (s *suite) breaksOne(of int) {
	if n := len(s.Nodes); n > 0 {
		s.breaks = s.Nodes[n-of]
	}
}

// away are the nodes that jobs of the case keep away from.
func (s *suite) away() []string {
	switch n := len(s.Nodes); {
	case n == 0:
		return nil
	case s.breaks == "":
		return s.Nodes[n-2:]
	}
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(node string) bool { return node == s.breaks })
}

// submit hands a job in and returns it as the batch system knows it.
func (s *suite) submit(p Program) slurmbridge.Job {
	s.t.Helper()
	return s.submitAs(s.key(), s.script(p))
}

func (s *suite) submitAs(key slurmbridge.Key, script slurmbridge.Script) slurmbridge.Job {
	s.t.Helper()
	s.must(s.Jobs.Submit(s.t.Context(), key, script))
	return s.look(key)
}

// start submits, releases and waits until the job runs. A short one may have ended before anybody saw it run.
func (s *suite) start(p Program) slurmbridge.Job {
	s.t.Helper()
	j := s.submit(p)
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	return s.await(j.Key, "runs", func(j slurmbridge.Job) bool { return running(j) || j.Over() })
}

// look finds the only job under a key.
func (s *suite) look(key slurmbridge.Key) slurmbridge.Job {
	s.t.Helper()
	jobs, err := s.Jobs.Find(s.t.Context(), key)
	s.must(err)
	if len(jobs) != 1 {
		s.t.Fatalf("Find(%s) knows %d jobs, want 1: %+v", key, len(jobs), jobs)
	}
	return jobs[0]
}

func running(j slurmbridge.Job) bool { return j.Phase == slurmbridge.Running }

// await looks until the job is as wanted.
func (s *suite) await(key slurmbridge.Key, what string, ok func(slurmbridge.Job) bool) slurmbridge.Job {
	s.t.Helper()
	var j slurmbridge.Job
	s.eventually("job "+what, func() bool {
		j = s.look(key)
		return ok(j)
	}, func() any { return j })
	return j
}

// eventually waits until something is so. Between two looks it pauses for three times as long as a look took: cases that
// wait side by side leave a site time for what they wait for.
func (s *suite) eventually(what string, ok func() bool, state func() any) {
	s.t.Helper()
	deadline := time.Now().Add(s.Patience)
	for {
		begin := time.Now()
		if ok() {
			return
		}
		if begin.After(deadline) {
			s.t.Fatalf("not within %s: %s; last seen %+v", s.Patience, what, state())
		}
		if s.Step != nil {
			s.Step()
			continue
		}
		next := time.NewTimer(min(max(s.pause, 3*time.Since(begin)), time.Second))
		<-next.C
	}
}

func (s *suite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// ended is a context that is over.
func (s *suite) ended() context.Context {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	return ctx
}

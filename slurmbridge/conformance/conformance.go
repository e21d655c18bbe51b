// Package conformance is what every transport has to pass: one suite for all batch systems, real or simulated.
package conformance

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"testing"
	"time"

	"assay.bench/slurmbridge"
)

// Harness is a site to test, freshly opened, with no job on it.
type Harness struct {
	// Jobs and Files of the transport for Origin. Files may be nil for a transport that carries none.
	Jobs   slurmbridge.Jobs
	Files  slurmbridge.Files
	Origin string
	// WorkDir is an absolute path that exists, is ours and is seen by jobs.
	WorkDir string
	// Program makes a stand-in for assay-node that a script can name, and returns its absolute path.
	Program func(t *testing.T, p Program) string
	// Reopen opens the same site again, as the next process of assay would; the first one is as good as killed.
	Reopen func(t *testing.T) slurmbridge.Jobs
	// Other opens the same site for another control plane. nil leaves the case out.
	Other func(t *testing.T, origin string) slurmbridge.Jobs
	// BadWorkDirs are folders that Probe has to refuse, with words of the refusal. nil leaves the cases out.
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
	// Parallel runs the cases side by side: for a site that is not made anew for each.
	Parallel bool
	Faults   Faults
}

// Program is what a stand-in does: it runs for Takes and ends with Code. IgnoreTerm lets it go on after TERM, and Stray
// leaves a process behind in a session of its own.
type Program struct {
	Takes      time.Duration
	Code       int
	IgnoreTerm bool
	Stray      bool
}

// Faults are what a harness can break. A nil one leaves its case out.
type Faults struct {
	// LoseReply lets the next submit in and loses the answer.
	LoseReply func()
	// Noise makes the site print to standard error.
	Noise func(on bool)
	// Truncate cuts the next answer.
	Truncate func()
	// Purge makes the batch system forget ended jobs.
	Purge func()
	// Outage makes the site unreachable.
	Outage func(on bool)
	// SkewClock sets the batch system's clock off.
	SkewClock func(d time.Duration)
	// LoseNode takes the nodes of a running job away.
	LoseNode func(id string)
	// Requeue makes the batch system start a running job again.
	Requeue func(id string)
	// FailProlog lets the prolog of the next start fail.
	FailProlog func()
}

// suite is one case's site with the names that it uses.
type suite struct {
	Harness
	t   *testing.T
	rng *rand.Rand
	n   int
}

// Run runs every case, each on a site of its own. The seed of the names is printed; ASSAY_SEED sets it.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	seed := seedOf(t)
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"life of a job", life},
		{"exit code", exitCode},
		{"held until released", held},
		{"cancel pending", cancelPending},
		{"cancel running", cancelRunning},
		{"cancel what ignores TERM", cancelStubborn},
		{"cancel ended and unknown", cancelEnded},
		{"nothing stays behind", strays},
		{"find", find},
		{"duplicates are visible", duplicates},
		{"own origin only", origins},
		{"time limit", timeLimit},
		{"fence", fence},
		{"refused", refused},
		{"context over", contextOver},
		{"reopen", reopen},
		{"many", many},
		{"concurrent", concurrent},
		{"files", files},
		{"probe", probe},
		{"lost reply", lostReply},
		{"noise", noise},
		{"truncated answer", truncated},
		{"purged records", purged},
		{"outage", outage},
		{"clock off", clockOff},
		{"node lost", nodeLost},
		{"requeue", requeue},
		{"prolog failed", prologFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			if h.Parallel {
				t.Parallel()
			}
			if h.Patience == 0 {
				h.Patience = 20 * time.Second
			}
			sum := fnv.New64a()
			fmt.Fprint(sum, c.name)
			c.run(&suite{Harness: h, t: t, rng: rand.New(rand.NewPCG(seed, sum.Sum64()))})
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
	part.Nodes = 1
	return slurmbridge.Script{
		Comment: "conformance of a transport", Directory: dir, Parts: []slurmbridge.Part{part},
		Node: s.Program(s.t, p),
	}
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

// start submits, releases and waits until the job runs.
func (s *suite) start(p Program) slurmbridge.Job {
	s.t.Helper()
	j := s.submit(p)
	s.must(s.Jobs.Release(s.t.Context(), j.ID))
	return s.await(j.Key, "runs", running)
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

// eventually waits until something is so.
func (s *suite) eventually(what string, ok func() bool, state func() any) {
	s.t.Helper()
	deadline := time.Now().Add(s.Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s; last seen %+v", s.Patience, what, state())
		}
		if s.Step != nil {
			s.Step()
			continue
		}
		<-tick.C
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

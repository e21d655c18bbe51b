package slurmjob

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/sim"
)

// folder takes files, but for those in a folder that is none, and counts the writes.
type folder struct {
	slurmbridge.Files

	mu     sync.Mutex
	writes int
	bad    string
}

func (f *folder) Write(ctx context.Context, files map[string][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(p string) bool { return filepath.Dir(p) == f.bad }) {
		return errors.New("not a directory")
	}
	return f.Files.Write(ctx, files)
}

// told is a site at which some jobs run, and a clock.
type told struct {
	*Kind
	*folder

	t   *testing.T
	now time.Time
}

func newTold(t *testing.T) *told {
	w := &told{t: t, now: noon}
	w.Kind = New(Deps{Now: func() time.Time { return w.now }})
	w.folder = &folder{Files: sim.New(sim.Options{Now: func() time.Time { return noon }}).Site(origin)}
	return w
}

func (w *told) dir(job int) string { return fmt.Sprintf("/w/%d", job) }

func (w *told) key(job int) slurmbridge.Key {
	return slurmbridge.NewKey(origin, fmt.Sprintf("%08d-0000-4000-8000-000000000005", job), 1)
}

// pass is what a pass over a job does about its lease.
func (w *told) pass(job int, want string) {
	w.t.Helper()
	l := leaseAt(w.now, want)
	w.memory.with(w.key(job), func(*note) {})
	if w.memory.of(w.key(job)).lease != l {
		w.writeControl(w.t.Context(), siteOf(sj()), w.folder, WriteControl{Key: w.key(job), Directory: w.dir(job), Lease: l})
	}
}

// tick makes the two passes over each of some jobs that there are while a lease is the newest.
func (w *told) tick(jobs int) {
	w.t.Helper()
	for range leaseEvery / gather {
		for job := range jobs {
			w.pass(job, rundir.WantRun)
		}
		w.now = w.now.Add(gather)
	}
}

// lease is what a job's node reads.
func (w *told) lease(job int) string {
	w.t.Helper()
	path := filepath.Join(w.dir(job), rundir.ControlFile)
	files, err := w.Read(w.t.Context(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	if files[path] == nil {
		return "nothing"
	}
	c, err := rundir.ParseControl(files[path])
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(c.Want, " ", c.Sequence-noon.Unix()/10)
}

// Two hundred jobs are told as often as one, by one write for all: each is a program that runs on the login node.
func TestLeasesShareAWrite(t *testing.T) {
	w := newTold(t)
	const jobs, ticks = 200, 30
	for range ticks * leaseEvery / gather {
		for job := range jobs {
			w.pass(job, rundir.WantRun)
			w.now = w.now.Add(gather / jobs)
		}
	}
	// A write for each tick, and one that the first job made before there was another.
	if w.writes < ticks-1 || w.writes > ticks+1 {
		t.Errorf("%d writes in %d ticks", w.writes, ticks)
	}
	for job := range jobs {
		if got := w.lease(job); got != fmt.Sprint("Run ", ticks-1) {
			t.Errorf("job %d was told %s", job, got)
		}
	}
}

func TestLeaseOfOneWaitsForNobody(t *testing.T) {
	w := newTold(t)
	for tick := range 3 {
		w.pass(1, rundir.WantRun)
		if got := w.lease(1); got != fmt.Sprint("Run ", tick) {
			t.Errorf("at once it was told %s", got)
		}
		w.now = w.now.Add(leaseEvery)
	}
}

// Who is to stop is told at once, and not told to run by what was due before.
func TestStopIsTheLastWord(t *testing.T) {
	w := newTold(t)
	w.tick(3)
	w.pass(1, rundir.WantRun)
	w.pass(1, rundir.WantStop)
	if got := w.lease(1); got != "Stop 1" {
		t.Errorf("it was told %s", got)
	}
	w.pass(2, rundir.WantRun)
	w.forget(siteOf(sj()), w.key(2))
	w.now = w.now.Add(gather)
	w.pass(0, rundir.WantRun)
	got := []string{w.lease(0), w.lease(1), w.lease(2)}
	if diff := cmp.Diff([]string{"Run 1", "Stop 1", "Run 0"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One folder that takes no file keeps no other job from its lease; a site that does not answer is not asked for each.
func TestLeasesThatFail(t *testing.T) {
	w := newTold(t)
	w.bad = w.dir(1)
	w.tick(3)
	w.tick(3)
	got := []string{w.lease(0), w.lease(1), w.lease(2)}
	if diff := cmp.Diff([]string{"Run 1", "nothing", "Run 1"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.bad, w.Files = "", unreachableFiles{w.Files}
	w.writes = 0
	if w.tick(3); w.writes != 2 {
		t.Errorf("a site that does not answer was asked %d times in as many rounds as two", w.writes)
	}
}

// unreachableFiles can be read and not written.
type unreachableFiles struct{ slurmbridge.Files }

func (unreachableFiles) Write(context.Context, map[string][]byte) error {
	return slurmbridge.ErrUnreachable
}

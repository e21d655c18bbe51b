package user

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// Run is the folder of the only run of a benchmark on a control plane of this user.
func (u *User) Run(benchmark string) string {
	u.t.Helper()
	return u.one("state", "assay", "*", "work", "*", "*", benchmark, "*")
}

// Records are the folders of the local jobs that were ever submitted on the control planes of this user.
func (u *User) Records() []string {
	u.t.Helper()
	found, err := filepath.Glob(u.Path("state", "assay", "*", "jobs", "jobs", "L*"))
	if err != nil {
		u.t.Fatal(err)
	}
	return found
}

// Await waits until the status of a component's first rank is as wanted.
func (u *User) Await(benchmark, component string, wanted func(rundir.Status) bool) rundir.Status {
	u.t.Helper()
	return u.AwaitRank(benchmark, component, 0, wanted)
}

// AwaitRank waits until the status of a component's rank is as wanted.
func (u *User) AwaitRank(benchmark, component string, rank int, wanted func(rundir.Status) bool) rundir.Status {
	u.t.Helper()
	var s rundir.Status
	Until(u.t, fmt.Sprintf("%s: %s/%d", benchmark, component, rank), func() bool {
		dirs, err := filepath.Glob(u.Path("state", "assay", "*", "work", "*", "*", benchmark, "*", "*", "1", component, strconv.Itoa(rank)))
		if err != nil || len(dirs) == 0 {
			return false
		}
		s = u.Status(dirs[0])
		return wanted(s)
	})
	return s
}

// Loads says that a client makes its load.
func Loads(s rundir.Status) bool {
	return s.Phase == rundir.PhaseWarmup || s.Phase == rundir.PhaseMeasuring
}

// Status reads the status of a rank's folder; the zero Status while there is none.
func (u *User) Status(dir string) rundir.Status {
	u.t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, rundir.StatusFile))
	if os.IsNotExist(err) {
		return rundir.Status{}
	}
	if err != nil {
		u.t.Fatal(err)
	}
	s, err := rundir.ParseStatus(b)
	if err != nil {
		u.t.Fatalf("%s: %v", dir, err)
	}
	return *s
}

// Ranks are the folders of a component's ranks in a run's folder: of all jobs and of all their attempts.
func (u *User) Ranks(run, component string) []string {
	u.t.Helper()
	found, err := filepath.Glob(filepath.Join(run, "*", "[0-9]*", component, "[0-9]*"))
	if err != nil {
		u.t.Fatal(err)
	}
	return found
}

// Rank is the folder of a component that has one rank, was in one job and had one attempt.
func (u *User) Rank(run, component string) string {
	u.t.Helper()
	found := u.Ranks(run, component)
	if len(found) != 1 {
		u.t.Fatalf("%s has the ranks %v, want one", component, found)
	}
	return found[0]
}

// Events reads the events.jsonl of a rank or of an attempt.
func (u *User) Events(dir string) []rundir.Event {
	u.t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, rundir.EventsFile))
	if err != nil {
		u.t.Fatal(err)
	}
	events, broken := rundir.ParseEvents(b)
	if broken > 0 {
		u.t.Errorf("%s: %d lines of %s cannot be read", dir, broken, rundir.EventsFile)
	}
	return events
}

// Event is the only event of a name in a rank or in an attempt.
func (u *User) Event(dir, name string) rundir.Event {
	u.t.Helper()
	var found []rundir.Event
	for _, e := range u.Events(dir) {
		if e.Event == name {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		u.t.Fatalf("%s has the events %s %v, want one", dir, name, found)
	}
	return found[0]
}

// Exit reads the exit.json of a rank or of an attempt.
func (u *User) Exit(dir string) rundir.Exit {
	u.t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, rundir.ExitFile))
	if err != nil {
		u.t.Fatal(err)
	}
	e, err := rundir.ParseExit(b)
	if err != nil {
		u.t.Fatalf("%s: %v", dir, err)
	}
	return *e
}

// Result reads a result.json.
func (u *User) Result(dir string) results.Result {
	u.t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, rundir.ResultFile))
	if err != nil {
		u.t.Fatal(err)
	}
	r, err := results.Parse(b)
	if err != nil {
		u.t.Fatal(err)
	}
	return r
}

// Counters are what a service's rank has counted in a repeat, by target.
func (u *User) Counters(rank string, repeat int) map[string]rundir.CounterTarget {
	u.t.Helper()
	b, err := os.ReadFile(filepath.Join(rundir.Repeat(rank, repeat), rundir.CountersFile))
	if err != nil {
		u.t.Fatal(err)
	}
	c, err := rundir.ParseCounters(b)
	if err != nil {
		u.t.Fatal(err)
	}
	out := map[string]rundir.CounterTarget{}
	for _, target := range c.Targets {
		out[target.Name] = target
	}
	return out
}

package benchmark

import (
	"context"
	"fmt"
	"slices"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// Evidence is what the run directory holds of a run: all that a result is made of. A job that never got a plan is
// left out.
type Evidence struct {
	Jobs []JobEvidence
}

// JobEvidence is what one job left in its newest attempt.
type JobEvidence struct {
	Name string
	Plan *rundir.Plan
	// Exit is the job's own end; nil for none.
	Exit *rundir.Exit
	// Ranks are the ranks of its components.
	Ranks []RankEvidence
	// Results are what its clients' ranks measured. Broken are files that are not whole.
	Results []results.Rank
	Broken  []string
	// Counters are those of its services, one for each rank and repeat.
	Counters []rundir.Counters
	// Images are those that its services ran in, by service.
	Images map[string]*rundir.UsedImage
}

// RankEvidence is what one rank of a component says of itself.
type RankEvidence struct {
	Component string
	Rank      int
	// Status and Exit are nil when the rank wrote none.
	Status *rundir.Status
	Exit   *rundir.Exit
}

// reader reads a run directory and keeps the first error.
type reader struct {
	ctx   context.Context //nolint:containedctx // the one call of readEvidence, which it does not outlive
	files slurmbridge.Files
	err   error
}

// read returns the files that exist; nothing after an error.
func (r *reader) read(paths []string) map[string][]byte {
	if r.err != nil || len(paths) == 0 {
		return nil
	}
	var found map[string][]byte
	found, r.err = r.files.Read(r.ctx, paths...)
	return found
}

// readEvidence reads the run directory of a run that has ended, and the SHA-256 of its result.json. An error says that
// the site did not answer: nothing is concluded from it.
//
// A job that exists names its newest attempt; one that is gone is read through its link current, which leads to the
// newest attempt that ever ran.
func readEvidence(ctx context.Context, files slurmbridge.Files, bm *v1alpha1.Benchmark, jobs map[string]*v1alpha1.SlurmJob) (*Evidence, string, error) {
	r := &reader{ctx: ctx, files: files}
	run := bm.Status.Run
	out := &Evidence{}
	for _, w := range waves(bm, run) {
		for _, job := range w {
			attempt := rundir.Current(run.Directory, job.Name)
			if object := jobs[job.Name]; object != nil && object.Status.Directory != "" {
				attempt = object.Status.Directory
			}
			if slices.Contains(run.Jobs, job.Name) {
				r.job(out, job.Name, attempt)
			}
		}
	}
	path := resultPath(run.Directory)
	written, ok := r.read([]string{path})[path]
	if r.err != nil {
		return nil, "", fmt.Errorf("read %s: %w", run.Directory, r.err)
	}
	if !ok {
		return out, "", nil
	}
	return out, digest(written), nil
}

func resultPath(directory string) string { return directory + "/" + rundir.ResultFile }

// job reads one attempt of a job.
func (r *reader) job(out *Evidence, name, attempt string) {
	planPath, exitPath := attempt+"/"+rundir.PlanFile, attempt+"/"+rundir.ExitFile
	found := r.read([]string{planPath, exitPath})
	b, ok := found[planPath]
	if !ok {
		return
	}
	e := JobEvidence{Name: name}
	var err error
	if e.Plan, err = rundir.ParsePlan(b); err != nil {
		e.Broken = append(e.Broken, fmt.Sprintf("%s: %v", planPath, err))
		out.Jobs = append(out.Jobs, e)
		return
	}
	if b, ok := found[exitPath]; ok {
		e.Exit = parsed(&e, exitPath, b, rundir.ParseExit)
	}
	r.ranks(&e, attempt)
	r.images(&e, attempt)
	for _, s := range e.Plan.Services {
		r.counters(&e, attempt, s)
	}
	for _, c := range e.Plan.Clients {
		for k := range e.Plan.Repeats.Count {
			r.results(&e, attempt, c, e.Plan.Repeats.First+k)
		}
	}
	out.Jobs = append(out.Jobs, e)
}

// parsed reads a file, or notes that it is broken.
func parsed[T any](e *JobEvidence, path string, b []byte, parse func([]byte) (*T, error)) *T {
	v, err := parse(b)
	if err != nil {
		e.Broken = append(e.Broken, fmt.Sprintf("%s: %v", path, err))
		return nil
	}
	return v
}

// ranks reads how each rank ended, in one round trip.
func (r *reader) ranks(e *JobEvidence, attempt string) {
	var paths []string
	each := func(visit func(component string, rank int, directory string)) {
		for _, s := range e.Plan.Services {
			for i := range s.Ranks {
				visit(s.Name, i, rundir.Rank(attempt, s.Name, i))
			}
		}
		for _, c := range e.Plan.Clients {
			for i := range c.Ranks {
				visit(c.Name, i, rundir.Rank(attempt, c.Name, i))
			}
		}
	}
	each(func(_ string, _ int, d string) {
		paths = append(paths, d+"/"+rundir.StatusFile, d+"/"+rundir.ExitFile)
	})
	found := r.read(paths)
	each(func(component string, rank int, d string) {
		one := RankEvidence{Component: component, Rank: rank}
		if b, ok := found[d+"/"+rundir.StatusFile]; ok {
			one.Status = parsed(e, d+"/"+rundir.StatusFile, b, rundir.ParseStatus)
		}
		if b, ok := found[d+"/"+rundir.ExitFile]; ok {
			one.Exit = parsed(e, d+"/"+rundir.ExitFile, b, rundir.ParseExit)
		}
		e.Ranks = append(e.Ranks, one)
	})
}

// counters reads a service's counters of all repeats, in one round trip.
func (r *reader) counters(e *JobEvidence, attempt string, s rundir.Service) {
	var paths []string
	for rank := range s.Ranks {
		for k := range e.Plan.Repeats.Count {
			paths = append(paths, rundir.Repeat(rundir.Rank(attempt, s.Name, rank), e.Plan.Repeats.First+k)+"/"+rundir.CountersFile)
		}
	}
	found := r.read(paths)
	for _, path := range paths {
		if b, ok := found[path]; ok {
			if c := parsed(e, path, b, rundir.ParseCounters); c != nil {
				e.Counters = append(e.Counters, *c)
			}
		}
	}
}

// results reads what all ranks of a client measured in one repeat: one round trip, so that a large run is not in
// memory twice.
func (r *reader) results(e *JobEvidence, attempt string, c rundir.Client, repeat int) {
	paths := make([]string, c.Ranks)
	for rank := range c.Ranks {
		paths[rank] = rundir.Repeat(rundir.Rank(attempt, c.Name, rank), repeat) + "/" + rundir.ResultFile
	}
	found := r.read(paths)
	for i, path := range paths {
		b, ok := found[path]
		if !ok {
			continue
		}
		rank, err := results.ParseRank(b)
		if err == nil && (rank.Client != c.Name || rank.Rank != i || rank.Repeat != repeat) {
			err = fmt.Errorf("it belongs to %s, rank %d, repeat %d", rank.Client, rank.Rank, rank.Repeat)
		}
		if err != nil {
			e.Broken = append(e.Broken, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		e.Results = append(e.Results, rank)
	}
}

// end is how a rank ended: its own exit, else what its last status says.
func (e RankEvidence) end() (reason, message string) {
	switch {
	case e.Exit != nil:
		return e.Exit.Reason, e.Exit.Message
	case e.Status != nil && (e.Status.Phase == rundir.PhaseFailed || e.Status.Phase == rundir.PhaseEnded):
		return e.Status.Reason, e.Status.Message
	}
	return "", ""
}

// endings are what went wrong while the ranks of services ended, beside how they ended.
func (e JobEvidence) endings() []string {
	var out []string
	for _, r := range e.Ranks {
		if r.Exit == nil {
			continue
		}
		who := r.Component
		if r.Rank > 0 {
			who = fmt.Sprintf("%s rank %d", who, r.Rank)
		}
		for _, words := range r.Exit.Warnings {
			out = append(out, who+": "+words)
		}
	}
	return out
}

// ended is when the last of the jobs and ranks ended, or zero.
func (e *Evidence) ended() time.Time {
	var last time.Time
	later := func(x *rundir.Exit) {
		if x != nil && x.Time.After(last) {
			last = x.Time
		}
	}
	for _, job := range e.Jobs {
		later(job.Exit)
		for _, r := range job.Ranks {
			later(r.Exit)
		}
	}
	return last.UTC()
}

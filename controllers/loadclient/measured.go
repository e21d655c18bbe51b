package loadclient

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// Measured is what the ranks of a client wrote over all repeats.
type Measured struct {
	// Ranks and Repeats that were planned.
	Ranks, Repeats int
	// Results are those that are whole.
	Results []results.Rank
	// Reason and Message are how the load ended: the first rank's that did not end as planned; "" for none.
	Reason, Message string
}

// observeMeasured reads the attempts of the client's jobs.
func (k *Kind) observeMeasured(ctx context.Context, c *v1alpha1.LoadClient, w *World) error {
	site := string(c.Spec.Site)
	if w.Benchmark != nil {
		site = string(w.Benchmark.Spec.Site)
	}
	door, err := k.deps.Doors.Door(c.Namespace, site)
	if err != nil {
		return err
	}
	m := &Measured{Ranks: int(max(1, c.Spec.Instances)), Repeats: int(repeats(w))}
	for _, directory := range attempts(w) {
		if err := m.read(ctx, door.Files, directory, component(c)); err != nil {
			return err
		}
	}
	w.Measured = m
	return nil
}

// component is the client's folder below an attempt.
func component(c *v1alpha1.LoadClient) string {
	return cmp.Or(c.Labels[v1alpha1.LabelComponent], c.Name)
}

// repeats is how many repeats the whole run has.
func repeats(w *World) int32 {
	switch {
	case w.Benchmark != nil:
		return max(1, w.Benchmark.Spec.Repeats.Count)
	case len(w.Jobs) > 0:
		return max(1, w.Jobs[0].Spec.Run.Repeats.Count)
	}
	return 1
}

// attempts are the folders to read: the newest attempt of each job that exists, and for jobs of a Benchmark that are
// gone, whatever their link current leads to.
func attempts(w *World) []string {
	var out []string
	known := map[string]bool{}
	for _, job := range w.Jobs {
		known[job.Name] = true
		if job.Status.Directory != "" {
			out = append(out, job.Status.Directory)
		}
	}
	if w.Benchmark == nil || w.Benchmark.Status.Run == nil {
		return out
	}
	for _, name := range w.Benchmark.Status.Run.Jobs {
		if !known[name] {
			out = append(out, rundir.Current(w.Benchmark.Status.Run.Directory, name))
		}
	}
	return out
}

// read adds what one attempt holds of the client: nothing, when the client does not run in it.
func (m *Measured) read(ctx context.Context, files slurmbridge.Files, attempt, client string) error {
	planPath := attempt + "/" + rundir.PlanFile
	found, err := files.Read(ctx, planPath)
	if err != nil {
		return fmt.Errorf("read %s: %w", planPath, err)
	}
	plan := wholePlan(found[planPath])
	for _, c := range plan.Clients {
		if c.Name != client {
			continue
		}
		m.Ranks = c.Ranks
		for k := range plan.Repeats.Count {
			if err := m.readRepeat(ctx, files, attempt, c, plan.Repeats.First+k); err != nil {
				return err
			}
		}
		return m.readEnds(ctx, files, attempt, c)
	}
	return nil
}

// wholePlan reads plan.json. Nothing was started from one that is missing or not whole: it names no client.
func wholePlan(b []byte) *rundir.Plan {
	plan, err := rundir.ParsePlan(b)
	if err != nil {
		return &rundir.Plan{}
	}
	return plan
}

// readRepeat reads the results of all ranks in one round trip. A file that is not whole counts as missing.
func (m *Measured) readRepeat(ctx context.Context, files slurmbridge.Files, attempt string, c rundir.Client, repeat int) error {
	paths := make([]string, c.Ranks)
	for i := range c.Ranks {
		paths[i] = rundir.Repeat(rundir.Rank(attempt, c.Name, i), repeat) + "/" + rundir.ResultFile
	}
	found, err := files.Read(ctx, paths...)
	if err != nil {
		return fmt.Errorf("read the results of %s: %w", c.Name, err)
	}
	for i, path := range paths {
		r, err := results.ParseRank(found[path])
		if err == nil && r.Client == c.Name && r.Rank == i && r.Repeat == repeat {
			m.Results = append(m.Results, r)
		}
	}
	return nil
}

// readEnds reads how the ranks ended.
func (m *Measured) readEnds(ctx context.Context, files slurmbridge.Files, attempt string, c rundir.Client) error {
	paths := make([]string, c.Ranks)
	for i := range c.Ranks {
		paths[i] = rundir.Rank(attempt, c.Name, i) + "/" + rundir.ExitFile
	}
	found, err := files.Read(ctx, paths...)
	if err != nil {
		return fmt.Errorf("read the ends of %s: %w", c.Name, err)
	}
	for _, path := range paths {
		e, err := rundir.ParseExit(found[path])
		if err == nil && e.Reason != rundir.ExitReasonEnded && m.Reason == "" {
			m.Reason, m.Message = e.Reason, e.Message
		}
	}
	return nil
}

// judge is the client's own result: its numbers, and an outcome that knows no SLO.
func (m *Measured) judge(c *v1alpha1.LoadClient) (results.Result, error) {
	in := results.Input{
		Head:    results.Result{RepeatsPlanned: m.Repeats},
		Clients: []results.ClientInput{{Name: component(c), Target: target(c), Ranks: m.Ranks, Results: m.Results}},
		Failure: m.failure(),
	}
	return results.Build(in)
}

// failure is what ended the load before its time, or nil.
func (m *Measured) failure() *results.Failure {
	whole, some := 0, false
	for _, r := range m.Results {
		some = some || r.Measured.Offered > 0
		if !r.Truncated {
			whole++
		}
	}
	words := strings.TrimSuffix(m.Reason+": "+m.Message, ": ")
	switch {
	case m.Reason == rundir.ExitReasonAborted:
		return &results.Failure{Outcome: results.Failed, Message: words}
	case whole >= m.Ranks*m.Repeats:
		return nil
	case m.Reason == rundir.ExitReasonTimeLimit:
		return &results.Failure{Outcome: results.TimedOut, Message: words}
	case m.Reason == rundir.ExitReasonStopped:
		return &results.Failure{Outcome: results.Aborted, Message: words}
	case some:
		return nil
	case words == "":
		return &results.Failure{Outcome: results.Failed, Message: "nothing was measured"}
	}
	return &results.Failure{Outcome: results.Failed, Message: words}
}

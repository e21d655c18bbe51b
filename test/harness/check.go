package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// Result reads the result of a benchmark's run from its folder, and checks that it is the one of the status.
func (w *World) Result(bm *v1alpha1.Benchmark) results.Result {
	w.t.Helper()
	run := bm.Status.Run
	if run == nil {
		w.t.Fatalf("Benchmark %s has no run", bm.Name)
	}
	at := path.Join(run.Directory, rundir.ResultFile)
	files, err := w.Cluster.Site(w.Origin).Read(context.Background(), at)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(files[at])
	if got := hex.EncodeToString(sum[:]); got != run.ResultHash {
		w.t.Fatalf("%s has the SHA-256 %s, the status says %s", at, got, run.ResultHash)
	}
	var r results.Result
	if err := json.Unmarshal(files[at], &r); err != nil {
		w.t.Fatalf("%s: %v", at, err)
	}
	return r
}

// Whole waits until a benchmark's run has passed, and checks that nothing is missing from its result.
func (w *World) Whole(bm *v1alpha1.Benchmark) results.Result {
	w.t.Helper()
	w.UntilCondition(bm, v1alpha1.ConditionComplete, "True")
	r := w.Result(bm)
	if r.Outcome != results.Passed || r.RepeatsWhole != r.RepeatsPlanned || r.RepeatsPlanned != int(max(1, bm.Spec.Repeats.Count)) {
		w.t.Fatalf("outcome %s (%s), %d of %d repeats are whole", r.Outcome, r.Message, r.RepeatsWhole, r.RepeatsPlanned)
	}
	if len(r.Clients) != len(bm.Spec.Clients) || len(r.Services) != len(bm.Spec.Services) {
		w.t.Fatalf("%d clients and %d services are in the result", len(r.Clients), len(r.Services))
	}
	for _, c := range r.Clients {
		for _, part := range c.Repeats {
			if !part.Whole || part.Measured.Succeeded == 0 {
				w.t.Fatalf("client %s, repeat %d: whole %t, %d answers", c.Name, part.Repeat, part.Whole, part.Measured.Succeeded)
			}
		}
		if len(c.Repeats) != r.RepeatsPlanned {
			w.t.Fatalf("client %s has %d repeats of %d", c.Name, len(c.Repeats), r.RepeatsPlanned)
		}
	}
	return r
}

// ExactlyOnce checks that the cluster was given a number of jobs, each of them once, and began each of them once.
func (w *World) ExactlyOnce(jobs int) {
	w.t.Helper()
	w.NeverTwice()
	counts := w.Cluster.Counts()
	if len(counts.Submits) != jobs || len(counts.Started) != jobs || len(counts.Worked) != jobs {
		w.t.Errorf("%d jobs were submitted, %d started, %d worked, want %d each", len(counts.Submits), len(counts.Started), len(counts.Worked), jobs)
	}
}

// NeverTwice checks that the cluster was given no job twice, and began none twice.
func (w *World) NeverTwice() {
	w.t.Helper()
	counts := w.Cluster.Counts()
	for key, submits := range counts.Submits {
		if submits > 1 || counts.Started[key] > 1 || counts.Worked[key] > 1 {
			w.t.Errorf("job %s: submitted %d times, started %d times, worked %d times", key, submits, counts.Started[key], counts.Worked[key])
		}
	}
}

// Alive returns the jobs of the cluster that have not ended.
func (w *World) Alive() []slurmbridge.Job {
	w.t.Helper()
	jobs, err := w.Cluster.Site(w.Origin).List(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	var out []slurmbridge.Job
	for _, j := range jobs {
		if !j.Over() {
			out = append(out, j)
		}
	}
	return out
}

// UntilEmpty waits until no object but the Site is left, and checks that no job is left at that instant.
func (w *World) UntilEmpty() {
	w.t.Helper()
	w.Until("an empty namespace", func() string {
		if left := w.Objects(); len(left) > 0 {
			return fmt.Sprint(left)
		}
		return ""
	})
	if left := w.Alive(); len(left) > 0 {
		w.t.Errorf("jobs are left: %v", left)
	}
}

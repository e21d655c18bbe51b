package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
)

// worse is the exit code that counts more: 130 > 5 > 4 > 3 > 7 > 0.
func worse(a, b int) int {
	order := map[int]int{0: 0, 7: 1, 3: 2, 4: 3, 5: 4, 130: 5}
	if order[b] > order[a] {
		return b
	}
	return a
}

// refusal is a benchmark that goes no further until a person acts. A run has nobody to wait for.
type refusal struct {
	name, reason, message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %s: %s", r.name, r.reason, r.message) }

// code is the recipe's fault or the site's.
func (r *refusal) code() int {
	switch r.reason {
	case v1alpha1.ReasonSiteMissing, v1alpha1.ReasonTargetMissing, v1alpha1.ReasonInvalidParameters, v1alpha1.ReasonHostAccessRefused:
		return exitUsage
	}
	return exitInfrastructure
}

// refusedFor is how long a benchmark has to be stalled: a controller may see it before what it refers to.
const refusedFor = 3 * time.Second

// refused returns a *refusal for a benchmark that was stalled for long enough.
func (s *session) refused(name string, bm *v1alpha1.Benchmark) error {
	stalled := meta.FindStatusCondition(bm.Status.Conditions, v1alpha1.ConditionStalled)
	if stalled == nil {
		delete(s.refusals, name)
		return nil
	}
	since, known := s.refusals[name]
	if !known {
		if s.refusals == nil {
			s.refusals = map[string]time.Time{}
		}
		since = s.o.Now()
		s.refusals[name] = since
	}
	if s.o.Now().Sub(since) < refusedFor {
		return nil
	}
	return &refusal{name: name, reason: stalled.Reason, message: stalled.Message}
}

// unsaved says that results are there and cannot be written to where they should go.
type unsaved struct{ err error }

func (u *unsaved) Error() string { return u.err.Error() }
func (u *unsaved) Unwrap() error { return u.err }

// gaveUp ends a session that cannot go on.
func (s *session) gaveUp(ctx context.Context, err error) error {
	var refused *refusal
	var kept *unsaved
	switch {
	case errors.As(err, &refused):
		err = errors.Join(err, s.cancel(ctx))
		s.sayKept()
		return &exitError{code: refused.code(), err: err}
	case errors.As(err, &kept):
		s.output.discard()
		return errors.Join(fmt.Errorf("%w: make room there, then write the results with %s", err, s.wayBack()), s.plane.stop())
	}
	if apierrors.IsNotFound(err) {
		return &exitError{code: exitAborted, err: errors.Join(fmt.Errorf("%w: somebody deleted it, or it was never applied", err), s.cancel(ctx))}
	}
	select {
	case why := <-s.plane.failed: // it says more than a request that nobody answered
		err = why
	case <-time.After(breakNews):
	}
	return s.detached(err)
}

// breakNews is how long it may take until a control plane says that it cannot go on.
const breakNews = time.Second

// ended ends everything that the session started.
func (s *session) ended(ctx context.Context) error {
	if err := errors.Join(s.output.done(), s.clean(ctx)); err != nil {
		return err
	}
	if s.worst == 0 {
		return nil
	}
	return &exitError{code: s.worst}
}

// interrupted cancels: jobs end, what was measured is kept, and the user hears what was ended.
func (s *session) interrupted(ctx context.Context, sig os.Signal) error {
	s.progress.sayf("assay: %s: cancelling", sig)
	jobs := s.runningJobs(ctx)
	err := s.cancel(ctx)
	for _, j := range jobs {
		s.progress.sayf("assay: ended job %s", j)
	}
	s.sayKept()
	return &exitError{code: exitAborted, err: err}
}

// sayKept says where the results of a run are that did not come to its end.
func (s *session) sayKept() {
	if fileExists(s.output.path) {
		s.progress.sayf("assay: what was written until then is in %s", s.output.path)
	}
}

// cancel deletes the benchmarks and everything that the session started, and keeps what was measured until then.
func (s *session) cancel(ctx context.Context) error {
	directories := s.directories(ctx)
	if len(directories)+len(s.saved) == 0 {
		return s.cancelled(ctx)
	}
	return s.clean(ctx, func() error {
		for name, directory := range directories {
			if _, err := s.output.save(s.folder(name), directory, nil); err != nil {
				s.output.discard()
				return errors.Join(fmt.Errorf("%w: it stays in %s until assay prune", err, directory), s.plane.stop())
			}
		}
		return s.output.done()
	})
}

// cancelled takes everything back where no run began.
func (s *session) cancelled(ctx context.Context) error {
	defer s.output.discard()
	return s.clean(ctx)
}

// detached leaves jobs and control plane's state as they are.
func (s *session) detached(cause error) error {
	stopped := s.plane.stop()
	hint := fmt.Errorf("the run goes on without me: %s", s.wayBack())
	if cause != nil {
		return errors.Join(cause, hint, stopped)
	}
	return &exitError{code: exitHangup, err: errors.Join(hint, stopped)}
}

// wayBack is how to find what goes on.
func (s *session) wayBack() string {
	if s.plane.owned {
		return "assay attach " + s.plane.folder.Short()
	}
	return fmt.Sprintf("KUBECONFIG=%s assay kubectl get bm -A", slurmbridge.Quote(s.plane.folder.Kubeconfig()))
}

// exitHangup is what a shell makes of a program that SIGHUP ended.
const exitHangup = 129

// runningJobs names the jobs of the session's benchmarks; a standing control plane may have others.
func (s *session) runningJobs(ctx context.Context) []string {
	var list v1alpha1.SlurmJobList
	if err := s.plane.client.List(ctx, &list); err != nil {
		return nil
	}
	var out []string
	for _, j := range list.Items {
		owner := j.Namespace + "/" + j.Labels[v1alpha1.LabelBenchmark]
		if slices.Contains(s.names, owner) && j.Status.JobID != "" && !meta.IsStatusConditionTrue(j.Status.Conditions, v1alpha1.ConditionComplete) {
			out = append(out, fmt.Sprintf("%s (%s)", j.Status.JobID, j.Name))
		}
	}
	return out
}

func (s *session) directories(ctx context.Context) map[string]string {
	out := map[string]string{}
	for _, name := range s.names {
		if _, saved := s.saved[name]; saved {
			continue
		}
		if bm, err := s.benchmark(ctx, name); err == nil && bm.Status.Run != nil {
			out[name] = bm.Status.Run.Directory
		}
	}
	return out
}

// goneWithin is how long deleted benchmarks may take to let go of their jobs.
const goneWithin = 60 * time.Second

// clean deletes the session's benchmarks, waits until their jobs are gone, and ends the control plane with its state.
// The steps in between run once the jobs are gone.
func (s *session) clean(ctx context.Context, between ...func() error) error {
	for _, name := range s.names {
		namespace, short, _ := strings.Cut(name, "/")
		bm := &v1alpha1.Benchmark{}
		bm.Namespace, bm.Name = namespace, short
		if err := s.plane.client.Delete(ctx, bm); client.IgnoreNotFound(err) != nil {
			return s.detached(fmt.Errorf("delete %s: %w", name, err))
		}
	}
	deadline := s.o.Now().Add(goneWithin)
	for _, name := range s.names {
		for {
			_, err := s.benchmark(ctx, name)
			if apierrors.IsNotFound(err) {
				break
			}
			if s.o.Now().After(deadline) {
				return s.detached(fmt.Errorf("%s is not gone after %s: its jobs have not ended", name, goneWithin))
			}
			select {
			case <-ctx.Done():
				return s.detached(ctx.Err())
			case <-time.After(lookEvery / 5):
			}
		}
	}
	for _, f := range between {
		if err := f(); err != nil {
			return err
		}
	}
	return s.plane.close()
}

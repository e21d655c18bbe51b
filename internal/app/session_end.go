package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/state"
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
	if err := errors.Join(s.collected(), s.clean(ctx)); err != nil {
		return err
	}
	if s.worst == 0 {
		return nil
	}
	return &exitError{code: s.worst}
}

// collected notes that the results are where they should be: assay prune may take the rest.
func (s *session) collected() error {
	if err := s.output.done(); err != nil || !s.plane.owned {
		return err
	}
	var err error
	s.plane.folder, err = s.plane.folder.Change(func(i *state.Info) { i.Collected = true })
	return err
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
				return errors.Join(fmt.Errorf("%w: it stays in %s until assay prune%s", err, directory, s.wayToSave()), s.plane.stop())
			}
		}
		return s.collected()
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

// wayToSave is how what was cancelled is written after all.
func (s *session) wayToSave() string {
	if !s.plane.owned {
		return ""
	}
	return ": make room for it, then write it with " + s.wayBack()
}

// exitHangup is what a shell makes of a program that SIGHUP ended.
const exitHangup = 129

// runningJobs names the session's jobs; a standing control plane may have others.
func (s *session) runningJobs(ctx context.Context) []string {
	var list v1alpha1.SlurmJobList
	if err := s.plane.client.List(ctx, &list); err != nil {
		return nil
	}
	var out []string
	for _, j := range list.Items {
		if s.isMine(&j) && j.Status.JobID != "" && !meta.IsStatusConditionTrue(j.Status.Conditions, v1alpha1.ConditionComplete) {
			out = append(out, fmt.Sprintf("%s (%s)", j.Status.JobID, j.Name))
		}
	}
	return out
}

// directories are the run folders of the benchmarks whose results are not written yet. One that was deleted before that
// may have left its folder in the state of a control plane of the session's own, which goes with it.
func (s *session) directories(ctx context.Context) map[string]string {
	out := map[string]string{}
	for _, name := range s.names {
		if _, saved := s.saved[name]; saved {
			continue
		}
		bm, err := s.benchmark(ctx, name)
		switch {
		case err == nil && bm.Status.Run != nil:
			out[name] = bm.Status.Run.Directory
		case apierrors.IsNotFound(err) && s.plane.owned:
			for _, work := range s.plane.works() {
				if left := matching(filepath.Join(work, s.plane.folder.Info.Origin, name), "*"); len(left) > 0 {
					out[name] = left[len(left)-1]
				}
			}
		}
	}
	return out
}

// goneWithin is how long deleted objects may take to let go of their jobs, beside what their servers take to stop.
const goneWithin = 60 * time.Second

// patience is goneWithin and the longest time that a server may take to stop.
func patience(ctx context.Context, c client.Client) (time.Duration, error) {
	var services v1alpha1.ServiceList
	if err := c.List(ctx, &services); err != nil {
		return 0, fmt.Errorf("look at the services: %w", err)
	}
	longest := time.Duration(0)
	for i := range services.Items {
		longest = max(longest, services.Items[i].Spec.StopTimeout.Or(0))
	}
	return goneWithin + longest, nil
}

// clean deletes what the session created, waits until its jobs are gone, and ends the control plane with its state. The
// steps in between run once the jobs are gone.
func (s *session) clean(ctx context.Context, between ...func() error) error {
	wait, err := patience(ctx, s.plane.client)
	if err != nil {
		return s.detached(err)
	}
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := removeAll(within, s.plane.client, runKinds(), s.isMine); err != nil {
		return s.detached(err)
	}
	for _, f := range between {
		if err := f(); err != nil {
			return err
		}
	}
	return s.plane.close(ctx, s.o)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// session follows the benchmarks of one run from their start to their results. assay run begins one, assay attach
// takes one up again.
type session struct {
	o        *OS
	plane    *plane
	output   output
	format   string
	names    []string // namespace/name
	progress *progress
	// saved are the benchmarks whose results are written, with their folder.
	saved map[string]string
	worst int
}

// lookEvery is the pace at which a session looks at its benchmarks.
const lookEvery = 500 * time.Millisecond

// begin checks every object and applies all of them, or none.
func (s *session) begin(ctx context.Context, objects []recipe.Object) error {
	if err := s.plane.ensureLocalSite(ctx, objects); err != nil {
		return err
	}
	if err := check(ctx, s.plane.client, objects); err != nil {
		return err
	}
	if err := apply(ctx, s.plane.client, objects); err != nil {
		return err
	}
	if s.plane.owned {
		s.progress.say("assay: control plane %s; if this terminal is lost: assay attach %s", s.plane.folder.Short(), s.plane.folder.Short())
	}
	return nil
}

// finish follows the benchmarks until all are complete, or a signal ends the session.
func (s *session) finish(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	defer s.o.Notify(signals, endSignals()...)()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		done, err := s.look(ctx)
		if err != nil {
			return s.detached(err)
		}
		if done {
			return s.ended(ctx)
		}
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				return s.detached(nil)
			}
			return s.interrupted(ctx, sig)
		case <-tick.C:
		}
	}
}

// look shows every benchmark that is under way, and saves the results of those that are complete.
func (s *session) look(ctx context.Context) (done bool, err error) {
	done = true
	for _, name := range s.names {
		if _, saved := s.saved[name]; saved {
			continue
		}
		bm, err := s.benchmark(ctx, name)
		if err != nil {
			return false, err
		}
		if meta.IsStatusConditionTrue(bm.Status.Conditions, v1alpha1.ConditionComplete) {
			if err := s.save(ctx, name, bm); err != nil {
				return false, err
			}
			continue
		}
		if stalled := meta.FindStatusCondition(bm.Status.Conditions, v1alpha1.ConditionStalled); stalled != nil && bm.Status.Run == nil {
			return false, fmt.Errorf("%s: %s: %s", name, stalled.Reason, stalled.Message)
		}
		done = false
		var clients v1alpha1.LoadClientList
		if err := s.plane.client.List(ctx, &clients, client.InNamespace(bm.Namespace), client.MatchingLabels{v1alpha1.LabelBenchmark: bm.Name}); err != nil {
			return false, fmt.Errorf("look at the clients of %s: %w", name, err)
		}
		s.progress.update(bm, clients.Items)
	}
	return done, nil
}

func (s *session) benchmark(ctx context.Context, name string) (*v1alpha1.Benchmark, error) {
	namespace, short, _ := strings.Cut(name, "/")
	bm := &v1alpha1.Benchmark{}
	if err := s.plane.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: short}, bm); err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	return bm, nil
}

// save writes the results of one benchmark and shows its summary.
func (s *session) save(ctx context.Context, name string, bm *v1alpha1.Benchmark) error {
	sub := ""
	if len(s.names) > 1 {
		sub = strings.ReplaceAll(name, "/", ".")
	}
	directory := ""
	if bm.Status.Run != nil {
		directory = bm.Status.Run.Directory
	}
	raw, err := s.result(ctx, bm)
	if err != nil {
		return err
	}
	target, err := s.output.save(sub, directory, raw)
	if err != nil {
		return err
	}
	if s.saved == nil {
		s.saved = map[string]string{}
	}
	s.saved[name] = target
	s.progress.close()
	return s.show(bm, raw, target)
}

// result reads the run's result.json through the site's door.
func (s *session) result(ctx context.Context, bm *v1alpha1.Benchmark) ([]byte, error) {
	if bm.Status.Run == nil || bm.Status.Run.ResultHash == "" {
		return nil, nil
	}
	path := filepath.Join(bm.Status.Run.Directory, rundir.ResultFile)
	files, err := s.plane.readFiles(ctx, bm.Namespace, string(bm.Spec.Site), path)
	if err != nil {
		return nil, fmt.Errorf("read the result of %s: %w", bm.Name, err)
	}
	return files[path], nil
}

// show writes the summary, or the result itself, to standard output.
func (s *session) show(bm *v1alpha1.Benchmark, raw []byte, target string) error {
	outcome := results.Failed
	if c := meta.FindStatusCondition(bm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		outcome = c.Reason
		if raw == nil {
			fmt.Fprintf(s.o.Stdout, "✗ %s  %s: %s\n", bm.Name, c.Reason, c.Message)
		}
	}
	s.worst = worse(s.worst, results.ExitCode(outcome))
	if raw == nil {
		fmt.Fprintf(s.o.Stdout, "\n  logs: %s\n", target)
		return nil
	}
	if s.format == formatJSON {
		_, err := s.o.Stdout.Write(raw)
		return err
	}
	r, err := results.Parse(raw)
	if err != nil {
		return err
	}
	if err := results.Summary(s.o.Stdout, r); err != nil {
		return err
	}
	fmt.Fprintf(s.o.Stdout, "\n  results: %s\n", target)
	return nil
}

// worse is the exit code that counts more: 130 > 5 > 4 > 3 > 7 > 0.
func worse(a, b int) int {
	order := map[int]int{0: 0, 7: 1, 3: 2, 4: 3, 5: 4, 130: 5}
	if order[b] > order[a] {
		return b
	}
	return a
}

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
	s.progress.say("assay: %s: cancelling", sig)
	jobs := s.runningJobs(ctx)
	directories := s.directories(ctx)
	err := s.clean(ctx, func() error {
		for name, directory := range directories {
			if _, err := s.output.save(strings.ReplaceAll(name, "/", "."), directory, nil); err != nil {
				return err
			}
		}
		return s.output.done()
	})
	for _, j := range jobs {
		s.progress.say("assay: ended job %s", j)
	}
	s.progress.say("assay: what was written until then is in %s", s.output.path)
	return &exitError{code: exitAborted, err: err}
}

// cancelled takes everything back after a begin that failed.
func (s *session) cancelled(ctx context.Context) error {
	defer s.output.discard()
	return s.clean(ctx)
}

// detached leaves jobs and control plane's state as they are.
func (s *session) detached(cause error) error {
	s.plane.stop()
	hint := fmt.Errorf("the run goes on without me: assay attach %s", s.plane.folder.Short())
	if cause != nil {
		return errors.Join(cause, hint)
	}
	return &exitError{code: exitHangup, err: hint}
}

// exitHangup is what a shell makes of a program that SIGHUP ended.
const exitHangup = 129

func (s *session) runningJobs(ctx context.Context) []string {
	var list v1alpha1.SlurmJobList
	if err := s.plane.client.List(ctx, &list); err != nil {
		return nil
	}
	var out []string
	for _, j := range list.Items {
		if j.Status.JobID != "" && !meta.IsStatusConditionTrue(j.Status.Conditions, v1alpha1.ConditionComplete) {
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

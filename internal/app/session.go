package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// session follows the benchmarks of one run from their start to their results. assay run begins one, assay attach
// takes one up again.
type session struct {
	o      *OS
	plane  *plane
	output output
	format string
	names  []string // namespace/name
	// made is what the session created, as it was then. On a control plane of its own everything is the session's.
	made     []client.Object
	progress *progress
	// signals that end the session; they are caught before there is anything that a signal would leave behind.
	signals <-chan os.Signal
	// saved are the benchmarks whose results are written, with their folder.
	saved map[string]string
	// refusals are the benchmarks that wait for a person, and since when.
	refusals map[string]time.Time
	worst    int
}

// lookEvery is the pace at which a session looks at its benchmarks.
const lookEvery = 500 * time.Millisecond

// begin checks every object and stores all of them; after an error, what was made is in s.made.
func (s *session) begin(ctx context.Context, objects []recipe.Object) error {
	var err error
	if s.made, err = s.plane.accept(ctx, objects); err != nil {
		return err
	}
	if s.plane.owned {
		back := s.wayBack()
		s.progress.sayf("assay: control plane %s; if this terminal is lost: %s", s.plane.folder.Short(), back)
		s.plane.logger.Info("if the terminal is lost, attach", "command", back)
	}
	return nil
}

// finish follows the benchmarks until all are complete, or something ends the session before.
func (s *session) finish(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		done, err := s.look(ctx)
		if err != nil {
			return s.gaveUp(ctx, err)
		}
		if done {
			return s.ended(ctx)
		}
		select {
		case sig := <-s.signals:
			if sig == syscall.SIGHUP {
				return s.detached(nil)
			}
			return s.interrupted(ctx, sig)
		case err := <-s.plane.failed:
			return s.detached(err)
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
		if s.isComplete(bm) {
			err := s.save(ctx, name, bm)
			if errors.Is(err, slurmbridge.ErrNotOpen) { // an attach may find the end before the site was opened again
				done = false
				continue
			}
			if err != nil {
				return false, err
			}
			continue
		}
		if err := s.refused(name, bm); err != nil {
			return false, err
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

// isComplete says that the run of what this session created has ended; on a standing control plane the conditions may
// still be those of a run before.
func (s *session) isComplete(bm *v1alpha1.Benchmark) bool {
	c := meta.FindStatusCondition(bm.Status.Conditions, v1alpha1.ConditionComplete)
	if c == nil || c.Status != metav1.ConditionTrue {
		return false
	}
	own := s.own(bm.UID)
	return own == nil || c.ObservedGeneration >= own.GetGeneration()
}

// own is what the session created with this UID; nil for nothing, or when that is not known any more.
func (s *session) own(uid types.UID) client.Object {
	i := slices.IndexFunc(s.made, func(o client.Object) bool { return o.GetUID() == uid })
	if i < 0 {
		return nil
	}
	return s.made[i]
}

// isMine says whether an object is the session's: it created it, or what made it.
func (s *session) isMine(o client.Object) bool {
	if s.plane.owned || s.own(o.GetUID()) != nil {
		return true
	}
	owner := metav1.GetControllerOf(o)
	return owner != nil && s.own(owner.UID) != nil
}

// benchmark reads one of the session's. One that somebody else made under its name is not found.
func (s *session) benchmark(ctx context.Context, name string) (*v1alpha1.Benchmark, error) {
	namespace, short, _ := strings.Cut(name, "/")
	bm := &v1alpha1.Benchmark{}
	err := s.plane.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: short}, bm)
	if err == nil && !s.isMine(bm) {
		err = apierrors.NewNotFound(v1alpha1.SchemeGroupVersion.WithResource("benchmarks").GroupResource(), short)
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	return bm, nil
}

// save writes the results of one benchmark and shows its summary.
func (s *session) save(ctx context.Context, name string, bm *v1alpha1.Benchmark) error {
	directory := ""
	if bm.Status.Run != nil {
		directory = bm.Status.Run.Directory
	}
	raw, err := s.result(ctx, bm)
	if err != nil {
		return err
	}
	target, err := s.output.save(s.folder(name), directory, raw)
	if err != nil {
		return &unsaved{err}
	}
	if s.saved == nil {
		s.saved = map[string]string{}
	}
	s.saved[name] = target
	s.progress.close()
	return s.show(bm, raw, target)
}

// folder is the folder of a benchmark in the output folder: the output folder itself when there is only one.
func (s *session) folder(name string) string {
	if len(s.names) == 1 {
		return ""
	}
	return strings.ReplaceAll(name, "/", ".")
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

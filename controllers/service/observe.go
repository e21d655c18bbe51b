package service

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// World is what a Service's decision is made from.
type World struct {
	// Benchmark made the Service; nil when none did, or when it is gone.
	Benchmark *v1alpha1.Benchmark
	// Job is the newest SlurmJob that the Service runs in; nil for none.
	Job *v1alpha1.SlurmJob
	// Children are those of a Service of its own; looked for only when it is deleted or lacks its job.
	Children []reconcile.Child
	// Secrets are those of a Service of its own whose run is over.
	Secrets []reconcile.Child
	// Site is the Site that the spec names; nil when there is none.
	Site *v1alpha1.Site
	// Closed says why nothing can be started on the site now; "" when it can.
	Closed string
	// Start is what a run that starts now would be.
	Start Start
	// Unwritten says why the last write into the run directory failed, and is "" when it did not.
	Unwritten string
	// Outside is how the service shows from outside its site; nil while nothing is to be asked.
	Outside *Outside
}

// Start is what a run that starts now would be.
type Start struct {
	// Run is its name, and Directory its folder; both are "" when every name of this generation is taken.
	Run, Directory string
	// Seed is random.
	Seed int64
}

// Observe reads the SlurmJob, the Benchmark, for a Service of its own the site, and what was heard from outside.
func (k *Kind) Observe(ctx context.Context, s *v1alpha1.Service) (World, error) {
	w, err := k.observe(ctx, s)
	if err == nil {
		w.Outside = k.lookOutside(ctx, s, w.Job)
	}
	return w, err
}

func (k *Kind) observe(ctx context.Context, s *v1alpha1.Service) (World, error) {
	var w World
	var err error
	if owned(s) {
		if w.Benchmark, err = k.benchmark(ctx, s); err != nil {
			return w, err
		}
		w.Job, err = k.job(ctx, k.client, s, labels.Set{
			v1alpha1.LabelBenchmark: s.Labels[v1alpha1.LabelBenchmark], v1alpha1.LabelRun: s.Labels[v1alpha1.LabelRun],
		})
		return w, err
	}
	mine := ownLabels(s)
	if !s.DeletionTimestamp.IsZero() {
		k.unwritten.Note(s.UID, nil)
		w.Children, err = k.children.List(ctx, s.Namespace, mine)
		return w, err
	}
	if w.Job, err = k.job(ctx, k.client, s, mine); err != nil {
		return w, err
	}
	if w.Job == nil || !fits(w.Job, s) {
		// The cache may lag behind, and know only the former job.
		if w.Job, err = k.job(ctx, k.live, s, mine); err != nil {
			return w, err
		}
	}
	if w.Job != nil && fits(w.Job, s) {
		if reconcile.IsComplete(w.Job.Status.Conditions) {
			w.Secrets, err = k.children.Secrets(ctx, s.Namespace, mine)
		}
		return w, err
	}
	return w, k.observeStart(ctx, s, &w)
}

// ownLabels are the labels of what a Service of its own makes.
func ownLabels(s *v1alpha1.Service) labels.Set {
	return labels.Set{v1alpha1.LabelOwnerKind: reconcile.KindService, v1alpha1.LabelOwnerName: s.Name}
}

func (k *Kind) benchmark(ctx context.Context, s *v1alpha1.Service) (*v1alpha1.Benchmark, error) {
	owner := metav1.GetControllerOf(s)
	var bm v1alpha1.Benchmark
	err := k.client.Get(ctx, types.NamespacedName{Namespace: s.Namespace, Name: owner.Name}, &bm)
	if apierrors.IsNotFound(err) || err == nil && bm.UID != owner.UID {
		return nil, nil
	}
	return &bm, err
}

// job returns the newest job that the Service runs in: that of the latest repeat.
func (k *Kind) job(ctx context.Context, from client.Reader, s *v1alpha1.Service, with labels.Set) (*v1alpha1.SlurmJob, error) {
	var list v1alpha1.SlurmJobList
	if err := from.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingLabels(with)); err != nil {
		return nil, fmt.Errorf("list SlurmJobs of %s: %w", s.Name, err)
	}
	ref := v1alpha1.ComponentReference{Kind: reconcile.KindService, Name: s.Name}
	mine := slices.DeleteFunc(list.Items, func(j v1alpha1.SlurmJob) bool { return !reconcile.JobRuns(&j, ref) })
	if len(mine) == 0 {
		return nil, nil
	}
	newest := slices.MaxFunc(mine, func(a, b v1alpha1.SlurmJob) int {
		return cmp.Or(cmp.Compare(a.Spec.Run.FirstRepeat, b.Spec.Run.FirstRepeat), a.CreationTimestamp.Compare(b.CreationTimestamp.Time))
	})
	return &newest, nil
}

// observeStart looks at what a new run would meet.
func (k *Kind) observeStart(ctx context.Context, s *v1alpha1.Service, w *World) error {
	var err error
	w.Unwritten = k.unwritten.Words(s.UID)
	if w.Children, err = k.children.List(ctx, s.Namespace, ownLabels(s)); err != nil || s.Spec.Site == "" {
		return err
	}
	var site v1alpha1.Site
	switch err := k.client.Get(ctx, types.NamespacedName{Namespace: s.Namespace, Name: string(s.Spec.Site)}, &site); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	w.Site = &site
	door, err := k.deps.Doors.Door(s.Namespace, string(s.Spec.Site))
	if w.Closed = reconcile.Words(err); w.Closed != "" {
		return nil
	}
	return k.start(ctx, s, door, w)
}

// start names the run, so that it never meets the folder of a former one.
func (k *Kind) start(ctx context.Context, s *v1alpha1.Service, door slurmbridge.Door, w *World) error {
	at := func(run string) string {
		return rundir.Run(door.WorkDir, door.Origin, s.Namespace, runOwner(s), run)
	}
	run, err := rundir.FreeName(ctx, s.Generation, string(s.UID), func(run string) rundir.RunFiles {
		return rundir.RunFiles{
			Record: at(run) + "/" + rundir.RecordFile,
			Plan:   rundir.Attempt(at(run), jobName(s, run), 1) + "/" + rundir.PlanFile,
		}
	}, door.Files.Read)
	if w.Closed = reconcile.Words(err); w.Closed != "" {
		return nil
	}
	if run != "" {
		w.Start.Run, w.Start.Directory = run, at(run)
	}
	var b [8]byte
	if _, err := io.ReadFull(k.deps.Random, b[:]); err != nil {
		return fmt.Errorf("random seed: %w", err)
	}
	w.Start.Seed = int64(binary.BigEndian.Uint64(b[:])>>12) + 1 // JSON's readers hold 53 bits
	return nil
}

// runOwner is the first folder of the run's path.
func runOwner(s *v1alpha1.Service) string { return "service." + s.Name }

package loadclient

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

// World is what a LoadClient's decision is made from.
type World struct {
	// Benchmark made the LoadClient; nil when none did, or when it is gone.
	Benchmark *v1alpha1.Benchmark
	// Jobs are the SlurmJobs that the LoadClient runs in, in the order of their repeats.
	Jobs []*v1alpha1.SlurmJob
	// Children are those of a LoadClient of its own; looked for only when it is deleted or lacks its job.
	Children []reconcile.Child
	// Site is the Site that the spec names; nil when there is none.
	Site *v1alpha1.Site
	// Closed says why nothing can be started on the site now; "" when it can.
	Closed string
	// Target is the Service of a LoadClient of its own; nil when it does not exist. TargetJob is its newest SlurmJob.
	Target    *v1alpha1.Service
	TargetJob *v1alpha1.SlurmJob
	// Start is what a run that starts now would be.
	Start Start
	// Unwritten says why the last write into the run directory failed, and is "" when it did not.
	Unwritten string
	// Measured is what the ranks wrote, once the load has ended; Silent is what went wrong when it was read.
	Measured *Measured
	Silent   string
}

// Start is what a run that starts now would be.
type Start struct {
	// Run is its name, and Directory its folder; both are "" when every name of this generation is taken.
	Run, Directory string
	// Seed is random.
	Seed int64
}

// Observe reads the SlurmJobs, the Benchmark, and, once the load has ended, what the ranks measured.
func (k *Kind) Observe(ctx context.Context, c *v1alpha1.LoadClient) (World, error) {
	var w World
	var err error
	switch {
	case owned(c):
		err = k.observeOwned(ctx, c, &w)
	case !c.DeletionTimestamp.IsZero():
		k.unwritten.Note(c.UID, nil)
		w.Children, err = k.children.List(ctx, c.Namespace, ownLabels(c))
		return w, err
	default:
		err = k.observeOwn(ctx, c, &w)
	}
	if err != nil || !loadOver(c, &w) || reconcile.IsComplete(c.Status.Conditions) {
		return w, err
	}
	w.Silent = reconcile.Words(k.observeMeasured(ctx, c, &w))
	return w, nil
}

func (k *Kind) observeOwned(ctx context.Context, c *v1alpha1.LoadClient, w *World) error {
	owner := metav1.GetControllerOf(c)
	var bm v1alpha1.Benchmark
	err := k.client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: owner.Name}, &bm)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	case bm.UID == owner.UID:
		w.Benchmark = &bm
	}
	w.Jobs, err = k.jobs(ctx, k.client, c.Namespace, v1alpha1.ComponentReference{Kind: reconcile.KindLoadClient, Name: c.Name}, labels.Set{
		v1alpha1.LabelBenchmark: c.Labels[v1alpha1.LabelBenchmark], v1alpha1.LabelRun: c.Labels[v1alpha1.LabelRun],
	})
	return err
}

// ownLabels are the labels of what a LoadClient of its own makes.
func ownLabels(c *v1alpha1.LoadClient) labels.Set {
	return labels.Set{v1alpha1.LabelOwnerKind: reconcile.KindLoadClient, v1alpha1.LabelOwnerName: c.Name}
}

// jobs returns the jobs that a component runs in, in the order of their repeats.
func (k *Kind) jobs(ctx context.Context, from client.Reader, namespace string, ref v1alpha1.ComponentReference, with labels.Set) ([]*v1alpha1.SlurmJob, error) {
	var list v1alpha1.SlurmJobList
	if err := from.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels(with)); err != nil {
		return nil, fmt.Errorf("list SlurmJobs of %s: %w", ref.Name, err)
	}
	var out []*v1alpha1.SlurmJob
	for i := range list.Items {
		if reconcile.JobRuns(&list.Items[i], ref) {
			out = append(out, &list.Items[i])
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.SlurmJob) int {
		return cmp.Or(cmp.Compare(a.Spec.Run.FirstRepeat, b.Spec.Run.FirstRepeat),
			a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// observeOwn looks for the job of a LoadClient of its own, and at what a new run would meet.
func (k *Kind) observeOwn(ctx context.Context, c *v1alpha1.LoadClient, w *World) error {
	ref := v1alpha1.ComponentReference{Kind: reconcile.KindLoadClient, Name: c.Name}
	var err error
	if w.Jobs, err = k.jobs(ctx, k.client, c.Namespace, ref, ownLabels(c)); err != nil {
		return err
	}
	if len(w.Jobs) == 0 || wantsRun(c, w.Jobs) {
		// The cache may lag behind, and know only the former job.
		if w.Jobs, err = k.jobs(ctx, k.live, c.Namespace, ref, ownLabels(c)); err != nil {
			return err
		}
	}
	if !wantsRun(c, w.Jobs) {
		return nil
	}
	w.Unwritten = k.unwritten.Words(c.UID)
	if w.Children, err = k.children.List(ctx, c.Namespace, ownLabels(c)); err != nil {
		return err
	}
	if err := k.observeTarget(ctx, c, w); err != nil {
		return err
	}
	return k.observeSite(ctx, c, w)
}

// observeTarget reads the Service that the load is for, and its job: the node finds the endpoint there.
func (k *Kind) observeTarget(ctx context.Context, c *v1alpha1.LoadClient, w *World) error {
	if c.Spec.Target.Service == "" {
		return nil
	}
	var s v1alpha1.Service
	switch err := k.client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: c.Spec.Target.Service}, &s); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	w.Target = &s
	if s.Status.Job == "" {
		return nil
	}
	var job v1alpha1.SlurmJob
	err := k.client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: s.Status.Job}, &job)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.TargetJob = &job
	return err
}

func (k *Kind) observeSite(ctx context.Context, c *v1alpha1.LoadClient, w *World) error {
	if c.Spec.Site == "" {
		return nil
	}
	var site v1alpha1.Site
	switch err := k.client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: string(c.Spec.Site)}, &site); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	w.Site = &site
	door, err := k.deps.Doors.Door(c.Namespace, string(c.Spec.Site))
	if w.Closed = reconcile.Words(err); w.Closed != "" {
		return nil
	}
	return k.start(ctx, c, door, w)
}

// start names the run, so that it never meets the folder of a former one.
func (k *Kind) start(ctx context.Context, c *v1alpha1.LoadClient, door slurmbridge.Door, w *World) error {
	at := func(run string) string {
		return rundir.Run(door.WorkDir, door.Origin, c.Namespace, runOwner(c), run)
	}
	run, err := rundir.FreeName(ctx, c.Generation, string(c.UID), func(run string) rundir.RunFiles {
		return rundir.RunFiles{
			Record: at(run) + "/" + rundir.RecordFile,
			Plan:   rundir.Attempt(at(run), jobName(c, run), 1) + "/" + rundir.PlanFile,
		}
	}, door.Files.Read)
	if w.Closed = reconcile.Words(err); w.Closed != "" {
		return nil
	}
	if run != "" {
		w.Start.Run, w.Start.Directory = run, at(run)
	}
	w.Start.Seed = c.Spec.Seed
	if w.Start.Seed > 0 {
		return nil
	}
	var b [8]byte
	if _, err := io.ReadFull(k.deps.Random, b[:]); err != nil {
		return fmt.Errorf("random seed: %w", err)
	}
	w.Start.Seed = int64(binary.BigEndian.Uint64(b[:])>>12) + 1 // JSON's readers hold 53 bits
	return nil
}

// runOwner is the first folder of the run's path.
func runOwner(c *v1alpha1.LoadClient) string { return "loadclient." + c.Name }

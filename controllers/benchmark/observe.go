package benchmark

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// World is what a Benchmark's decision is made from.
type World struct {
	// Children are all children, of whatever run, when the Benchmark is being deleted.
	Children []reconcile.Child
	// Former are the children of all runs so far, when a new run is to start.
	Former []reconcile.Child
	// Services, Clients and Jobs are those of the run of the status, by name.
	Services map[string]*v1alpha1.Service
	Clients  map[string]*v1alpha1.LoadClient
	Jobs     map[string]*v1alpha1.SlurmJob
	// Secrets of the run; looked for only once it has ended.
	Secrets []reconcile.Child
	// Taken names an object that has a name which a child needs and is not ours; "" for none.
	Taken string
	// Site is the Site that the spec names; nil when there is none.
	Site *v1alpha1.Site
	// Closed says why the site's door is not open, and is "" when it is. Silent is what went wrong when the run
	// directory was read.
	Closed, Silent string
	// Start is what a run that starts now would be.
	Start *Start
	// Evidence is what the run directory holds, once the run has ended.
	Evidence *Evidence
	// Written is the SHA-256 of the run's result.json; "" for none.
	Written string
	// Unwritten says why the last write into the run directory failed, and is "" when it did not.
	Unwritten string
	// Version of the program.
	Version string
}

// Start is what a run that starts now would be.
type Start struct {
	// Run is its name, and Directory its folder; both are "" when every name of this generation is taken.
	Run, Directory string
	// Seed is random.
	Seed int64
}

// Observe reads the children, the site's door, and, once the run has ended, its run directory.
func (k *Kind) Observe(ctx context.Context, bm *v1alpha1.Benchmark) (World, error) {
	w := World{Version: k.deps.Version}
	w.Unwritten = k.unwritten.Words(bm.UID)
	mine := labels.Set{v1alpha1.LabelBenchmark: bm.Name}
	if !bm.DeletionTimestamp.IsZero() {
		var err error
		w.Children, err = k.children.List(ctx, bm.Namespace, mine)
		k.unwritten.Note(bm.UID, nil)
		return w, err
	}
	site, err := k.site(ctx, bm)
	if err != nil {
		return w, err
	}
	w.Site = site
	door, err := k.deps.Doors.Door(bm.Namespace, string(bm.Spec.Site))
	w.Closed = reconcile.Words(err)
	if wantsRun(bm) {
		return w, k.observeStart(ctx, bm, door, &w)
	}
	if err := k.observeRun(ctx, bm, &w); err != nil {
		return w, err
	}
	if bm.Status.Run.Ended() {
		w.Secrets, err = k.secrets(ctx, bm)
		return w, err
	}
	if !look(bm, w.Jobs, k.deps.Now()).ended {
		return w, nil
	}
	if w.Closed == "" {
		w.Evidence, w.Written, err = readEvidence(ctx, door.Files, bm, w.Jobs)
		w.Silent = reconcile.Words(err)
	}
	w.Secrets, err = k.secrets(ctx, bm)
	return w, err
}

func (k *Kind) site(ctx context.Context, bm *v1alpha1.Benchmark) (*v1alpha1.Site, error) {
	var site v1alpha1.Site
	err := k.client.Get(ctx, types.NamespacedName{Namespace: bm.Namespace, Name: string(bm.Spec.Site)}, &site)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return &site, err
}

func (k *Kind) secrets(ctx context.Context, bm *v1alpha1.Benchmark) ([]reconcile.Child, error) {
	return k.children.Secrets(ctx, bm.Namespace, labels.Set{
		v1alpha1.LabelBenchmark: bm.Name, v1alpha1.LabelRun: bm.Status.Run.Name,
	})
}

// observeStart looks at what a new run would meet.
func (k *Kind) observeStart(ctx context.Context, bm *v1alpha1.Benchmark, door slurmbridge.Door, w *World) error {
	var err error
	if w.Former, err = k.children.List(ctx, bm.Namespace, labels.Set{v1alpha1.LabelBenchmark: bm.Name}); err != nil {
		return err
	}
	if len(w.Former) > 0 {
		// They may be those of a run that has begun already, of which the cache does not know yet.
		if err := k.children.Fresh(ctx, bm); err != nil {
			return err
		}
	}
	w.Start = &Start{}
	if w.Start.Seed, err = seed(k.deps.Random); err != nil {
		return err
	}
	if w.Closed != "" {
		return nil
	}
	w.Start.Run, w.Start.Directory, err = freeRun(ctx, door, bm)
	if w.Silent = reconcile.Words(err); w.Silent != "" {
		return nil
	}
	w.Taken, err = k.taken(ctx, bm, &v1alpha1.RunStatus{Name: w.Start.Run})
	return err
}

// seed draws a positive number that JSON's readers hold exactly.
func seed(random io.Reader) (int64, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("random seed: %w", err)
	}
	return int64(binary.BigEndian.Uint64(b[:])>>12) + 1, nil
}

// freeRun finds the first name of this generation under which no run was ever recorded. A Benchmark that was deleted
// and made again starts over with generation 1, and its results stay.
func freeRun(ctx context.Context, door slurmbridge.Door, bm *v1alpha1.Benchmark) (name, directory string, err error) {
	at := func(run string) string { return rundir.Run(door.WorkDir, door.Origin, bm.Namespace, bm.Name, run) }
	files := func(run string) rundir.RunFiles { return rundir.RunFiles{Record: recordPath(at(run))} }
	name, err = rundir.FreeName(ctx, bm.Generation, string(bm.UID), files, door.Files.Read)
	if err != nil || name == "" {
		return "", "", err
	}
	return name, at(name), nil
}

// observeRun reads the children of the run. While one is missing it asks the API server itself, so that a cache that
// lags behind does not make the same child twice.
func (k *Kind) observeRun(ctx context.Context, bm *v1alpha1.Benchmark, w *World) error {
	if err := k.listRun(ctx, k.client, bm, w); err != nil {
		return err
	}
	whole := len(w.Services) == len(bm.Spec.Services) && len(w.Clients) == len(bm.Spec.Clients)
	v := look(bm, w.Jobs, k.deps.Now())
	if bm.Status.Run.Ended() || whole && len(v.missing) == 0 && len(v.gone) == 0 {
		return nil
	}
	if err := k.listRun(ctx, k.live, bm, w); err != nil {
		return err
	}
	var err error
	w.Taken, err = k.taken(ctx, bm, bm.Status.Run)
	return err
}

func (k *Kind) listRun(ctx context.Context, from client.Reader, bm *v1alpha1.Benchmark, w *World) error {
	var services v1alpha1.ServiceList
	var clients v1alpha1.LoadClientList
	var jobs v1alpha1.SlurmJobList
	for _, list := range []client.ObjectList{&services, &clients, &jobs} {
		if err := from.List(ctx, list, client.InNamespace(bm.Namespace), client.MatchingLabels{v1alpha1.LabelBenchmark: bm.Name}); err != nil {
			return fmt.Errorf("list children: %w", err)
		}
	}
	run := bm.Status.Run.Name
	w.Services, w.Clients, w.Jobs = map[string]*v1alpha1.Service{}, map[string]*v1alpha1.LoadClient{}, map[string]*v1alpha1.SlurmJob{}
	for i := range services.Items {
		ofRun(run, w.Services, &services.Items[i])
	}
	for i := range clients.Items {
		ofRun(run, w.Clients, &clients.Items[i])
	}
	for i := range jobs.Items {
		ofRun(run, w.Jobs, &jobs.Items[i])
	}
	return nil
}

// ofRun takes an object that belongs to the run.
func ofRun[O client.Object](run string, into map[string]O, o O) {
	if o.GetLabels()[v1alpha1.LabelRun] == run {
		into[o.GetName()] = o
	}
}

// taken looks for objects of somebody else that have the name of a child.
func (k *Kind) taken(ctx context.Context, bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus) (string, error) {
	check := func(o client.Object, kind, name string) (string, error) {
		err := k.client.Get(ctx, types.NamespacedName{Namespace: bm.Namespace, Name: name}, o)
		switch {
		case apierrors.IsNotFound(err):
			return "", nil
		case err != nil:
			return "", err
		case o.GetLabels()[v1alpha1.LabelBenchmark] == bm.Name:
			return "", nil
		}
		return kind + " " + name, nil
	}
	for _, c := range components(bm) {
		var o client.Object = &v1alpha1.Service{}
		kind := "services.assay.bench"
		if c.kind == reconcile.KindLoadClient {
			o, kind = &v1alpha1.LoadClient{}, "loadclients.assay.bench"
		}
		if taken, err := check(o, kind, childName(bm, c.name)); taken != "" || err != nil {
			return taken, err
		}
	}
	for _, w := range waves(bm, run) {
		for _, job := range w {
			if taken, err := check(&v1alpha1.SlurmJob{}, "slurmjobs.assay.bench", job.Name); taken != "" || err != nil {
				return taken, err
			}
		}
	}
	return "", nil
}

// digest is a SHA-256 in hexadecimal digits.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

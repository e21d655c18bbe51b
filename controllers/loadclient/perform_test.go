package loadclient

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// memory is a run directory in memory, and the door to it.
type memory map[string][]byte

func (m memory) Read(_ context.Context, paths ...string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, p := range paths {
		if b, ok := m[p]; ok {
			out[p] = b
		}
	}
	return out, nil
}

func (m memory) Write(_ context.Context, files map[string][]byte) error {
	maps.Copy(m, files)
	return nil
}

func (m memory) Open(context.Context, string, int64) (io.ReadCloser, error) {
	return nil, fs.ErrNotExist
}

func (m memory) Door(_, name string) (slurmbridge.Door, error) {
	if name != "here" {
		return slurmbridge.Door{}, fmt.Errorf("site %s: %w", name, slurmbridge.ErrNotOpen)
	}
	return slurmbridge.Door{Files: m, WorkDir: "/work", Origin: "o"}, nil
}

// rig is a controller on a fake API server and a run directory in memory.
type rig struct {
	t          *testing.T
	api        client.Client
	files      memory
	controller *reconcile.Controller[*v1alpha1.LoadClient, v1alpha1.LoadClientStatus, World]
}

func newRig(t *testing.T, objects ...client.Object) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects = append(objects, &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", Namespace: "ns"}})
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.LoadClient{}, &v1alpha1.SlurmJob{}).Build()
	files, clock := memory{}, func() time.Time { return now }
	return &rig{t: t, api: api, files: files, controller: &reconcile.Controller[*v1alpha1.LoadClient, v1alpha1.LoadClientStatus, World]{
		Kind:   newKind(api, api, Deps{Doors: files, Random: rand.NewChaCha8([32]byte{1}), Now: clock}),
		Client: api, Events: events.NewFakeRecorder(100), Owner: fieldOwner, Now: clock,
	}}
}

func (r *rig) passes(n int) {
	r.t.Helper()
	for range n {
		if _, err := r.controller.Reconcile(r.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "load"}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) get(name string, o client.Object) error {
	return r.api.Get(r.t.Context(), types.NamespacedName{Namespace: "ns", Name: name}, o)
}

// play writes what the node leaves behind: a whole measurement in one repeat.
func (r *rig) play(attempt string) {
	r.t.Helper()
	r.files[attempt+"/plan.json"] = []byte(`{"version":1,"launcher":"process","repeats":{"first":1,"count":1,"restart":"None"},"idleTimeout":"15m",
		"clients":[{"name":"load","ranks":1,"target":{"url":"http://x"},"inference":{"api":"Completions","inputTokens":{"min":1,"max":1},"outputTokens":{"min":1,"max":1},"temperature":0},"closedLoop":{"concurrency":8},"duration":"25s","seed":1}],
		"key":"","origin":"","namespace":"","owner":"","run":"","job":"","attempt":1,"runDirectory":"","directory":"","seed":1}`)
	folder := rundir.Rank(attempt, "load", 0)
	r.files[folder+"/exit.json"] = []byte(`{"version":1,"reason":"Ended","code":0,"time":"2026-11-23T12:09:00Z"}`)
	b, err := results.Seal(rank(r.t, 1))
	if err != nil {
		r.t.Fatal(err)
	}
	r.files[rundir.Repeat(folder, 1)+"/result.json"] = b
}

func TestWholeLife(t *testing.T) {
	r := newRig(t, own(func(c *v1alpha1.LoadClient) {
		c.Spec.Target, c.Finalizers = v1alpha1.Target{URL: "http://x"}, []string{v1alpha1.FinalizerChildren}
	}))
	r.passes(2)
	var job v1alpha1.SlurmJob
	if err := r.get("lc-load-g3", &job); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.JobRun{
		Owner: "loadclient.load", Name: "g3", FirstRepeat: 1, Repeats: v1alpha1.Repeats{Count: 1, Restart: "None"},
		DeleteObjects: true, Seed: job.Spec.Run.Seed,
	}
	if diff := cmp.Diff(want, job.Spec.Run); diff != "" || job.Spec.Run.Seed <= 0 {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if _, ok := r.files["/work/o/ns/loadclient.load/g3/run.json"]; !ok {
		t.Error("the run is not recorded")
	}

	job.Status.Directory = "/work/o/ns/loadclient.load/g3/lc-load-g3/1"
	exits("Ended", 1)(&job, reconcile.Conditions{})
	if err := r.api.Status().Update(t.Context(), &job); err != nil {
		t.Fatal(err)
	}
	r.play(job.Status.Directory)
	r.passes(2)
	var c v1alpha1.LoadClient
	if err := r.get("load", &c); err != nil {
		t.Fatal(err)
	}
	if !reconcile.IsComplete(c.Status.Conditions) || !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionSound) || len(c.Status.Results) == 0 {
		t.Errorf("status %+v", c.Status)
	}

	if err := r.api.Delete(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	r.passes(4)
	if err := r.get("load", &c); !apierrors.IsNotFound(err) {
		t.Errorf("the LoadClient is still there: %v", err)
	}
	if err := r.get("lc-load-g3", &job); !apierrors.IsNotFound(err) {
		t.Errorf("its job is still there: %v", err)
	}
}

// TestReadsJobsThatAreGone finds what a stopped run measured, without the SlurmJob's object.
func TestReadsJobsThatAreGone(t *testing.T) {
	r := newRig(t)
	c := ofBenchmark()
	bm := aBenchmark(func(bm *v1alpha1.Benchmark, _ reconcile.Conditions) {
		bm.Spec.Site, bm.Status.Run.Jobs = "here", []string{"bm-g1", "bm-g1-other"}
	})
	r.play(rundir.Current(bm.Status.Run.Directory, "bm-g1"))
	w := World{Benchmark: bm}
	if err := r.controller.Kind.(*Kind).observeMeasured(t.Context(), c, &w); err != nil {
		t.Fatal(err)
	}
	if w.Measured.Ranks != 1 || w.Measured.Repeats != 2 || len(w.Measured.Results) != 1 || w.Measured.Results[0].Repeat != 1 {
		t.Errorf("measured %+v", w.Measured)
	}
}

// TestIgnoresBrokenResults: a cut file counts as missing.
func TestIgnoresBrokenResults(t *testing.T) {
	r := newRig(t)
	r.play("/a/1")
	path := rundir.Repeat(rundir.Rank("/a/1", "load", 0), 1) + "/result.json"
	r.files[path] = r.files[path][:len(r.files[path])/2]
	var m Measured
	if err := m.read(t.Context(), r.files, "/a/1", "load"); err != nil || len(m.Results) != 0 {
		t.Errorf("%d results, %v", len(m.Results), err)
	}
}

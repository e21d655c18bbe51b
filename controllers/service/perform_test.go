package service

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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
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
	controller *reconcile.Controller[*v1alpha1.Service, v1alpha1.ServiceStatus, World]
}

func newRig(t *testing.T) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Service{}).
		WithObjects(own(), &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", Namespace: "ns"}}).Build()
	files, clock := memory{}, func() time.Time { return now }
	return &rig{t: t, api: api, files: files, controller: &reconcile.Controller[*v1alpha1.Service, v1alpha1.ServiceStatus, World]{
		Kind:   newKind(api, api, Deps{Doors: files, Random: rand.NewChaCha8([32]byte{1}), Now: clock}),
		Client: api, Events: events.NewFakeRecorder(100), Owner: fieldOwner, Now: clock,
	}}
}

func (r *rig) passes(n int) {
	r.t.Helper()
	for range n {
		if _, err := r.controller.Reconcile(r.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "sim"}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) get(name string, o client.Object) error {
	return r.api.Get(r.t.Context(), types.NamespacedName{Namespace: "ns", Name: name}, o)
}

func (r *rig) jobs() []v1alpha1.SlurmJob {
	r.t.Helper()
	var list v1alpha1.SlurmJobList
	if err := r.api.List(r.t.Context(), &list); err != nil {
		r.t.Fatal(err)
	}
	return list.Items
}

// anotherSpec changes the spec after the job was handed in, and lets the controller follow.
func (r *rig) anotherSpec() {
	r.t.Helper()
	r.files["/work/o/ns/service.sim/g3/bsvc-sim-g3/1/plan.json"] = []byte("{}")
	var s v1alpha1.Service
	if err := r.get("sim", &s); err != nil {
		r.t.Fatal(err)
	}
	s.Spec.IdleTimeout = "1m"
	if err := r.api.Update(r.t.Context(), &s); err != nil {
		r.t.Fatal(err)
	}
	r.passes(4)
}

func TestOwnJob(t *testing.T) {
	r := newRig(t)
	r.passes(3) // the finalizer, the job, and once more
	jobs := r.jobs()
	if len(jobs) != 1 || jobs[0].Name != "bsvc-sim-g3" || jobs[0].Spec.Run.Seed <= 0 {
		t.Fatalf("jobs %+v", jobs)
	}
	want := v1alpha1.JobRun{
		Owner: "service.sim", Name: "g3", FirstRepeat: 1, Repeats: v1alpha1.Repeats{Count: 1, Restart: "None"},
		IdleTimeout: "15m", KeepServices: true, Seed: jobs[0].Spec.Run.Seed,
	}
	if diff := cmp.Diff(want, jobs[0].Spec.Run); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if _, ok := r.files["/work/o/ns/service.sim/g3/run.json"]; !ok {
		t.Error("the run is not recorded")
	}
	if err := r.get("sim-g3", &corev1.Secret{}); err != nil {
		t.Error(err)
	}
}

// TestAnotherSpec replaces the job and the credential, and the new run has a folder of its own.
func TestAnotherSpec(t *testing.T) {
	r := newRig(t)
	r.passes(3)
	former := r.jobs()[0]
	r.anotherSpec()
	jobs := r.jobs()
	if len(jobs) != 1 || jobs[0].Spec.Run.IdleTimeout != "1m" || jobs[0].Spec.Run.Name == former.Spec.Run.Name {
		t.Errorf("jobs %+v", jobs)
	}
}

// TestLaggingCache: the cache still holds the former job alone while the new one exists.
func TestLaggingCache(t *testing.T) {
	r := newRig(t)
	r.passes(3)
	former := r.jobs()
	r.anotherSpec()
	current := r.jobs()
	lagging := interceptor.NewClient(r.api.(client.WithWatch), interceptor.Funcs{
		List: func(ctx context.Context, api client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if jobs, ok := list.(*v1alpha1.SlurmJobList); ok {
				jobs.Items = former
				return nil
			}
			return api.List(ctx, list, opts...)
		},
	})
	r.controller.Client = lagging
	r.controller.Kind = newKind(lagging, r.api, r.controller.Kind.(*Kind).deps)
	r.passes(2)
	if after := r.jobs(); len(after) != 1 || after[0].UID != current[0].UID || after[0].Name != current[0].Name {
		t.Errorf("jobs %+v: the new one was taken for the former one", after)
	}
}

func TestDeletionLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.passes(3)
	var s v1alpha1.Service
	if err := r.get("sim", &s); err != nil {
		t.Fatal(err)
	}
	if err := r.api.Delete(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	r.passes(4)
	if err := r.get("sim", &s); !apierrors.IsNotFound(err) {
		t.Errorf("the Service is still there: %v", err)
	}
	if err := r.get("sim-g3", &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("its credential is still there: %v", err)
	}
	if jobs := r.jobs(); len(jobs) > 0 {
		t.Errorf("its jobs are still there: %+v", jobs)
	}
}

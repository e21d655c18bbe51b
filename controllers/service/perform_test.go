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

func TestOwnJob(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Service{}).
		WithObjects(own(), &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", Namespace: "ns"}}).Build()
	files, clock := memory{}, func() time.Time { return now }
	c := &reconcile.Controller[*v1alpha1.Service, v1alpha1.ServiceStatus, World]{
		Kind:   newKind(api, api, Deps{Doors: files, Random: rand.NewChaCha8([32]byte{1}), Now: clock}),
		Client: api, Events: events.NewFakeRecorder(100), Owner: fieldOwner, Now: clock,
	}
	pass := func() {
		t.Helper()
		if _, err := c.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "sim"}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // the finalizer, the job, and once more
		pass()
	}
	var job v1alpha1.SlurmJob
	if err := api.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "bsvc-sim-g3"}, &job); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.JobRun{
		Owner: "service.sim", Name: "g3", FirstRepeat: 1, Repeats: v1alpha1.Repeats{Count: 1, Restart: "None"},
		IdleTimeout: "15m", KeepServices: true, Seed: job.Spec.Run.Seed,
	}
	if diff := cmp.Diff(want, job.Spec.Run); diff != "" || job.Spec.Run.Seed <= 0 {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	var jobs v1alpha1.SlurmJobList
	if err := api.List(t.Context(), &jobs); err != nil || len(jobs.Items) != 1 {
		t.Errorf("%d jobs, %v", len(jobs.Items), err)
	}
	if _, ok := files["/work/o/ns/service.sim/g3/run.json"]; !ok {
		t.Error("the run is not recorded")
	}
	if err := api.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "sim-g3"}, &corev1.Secret{}); err != nil {
		t.Error(err)
	}

	// Another spec: the former job and credential go, and a job with a new name comes.
	var s v1alpha1.Service
	get := func() error { return api.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "sim"}, &s) }
	if err := get(); err != nil {
		t.Fatal(err)
	}
	s.Spec.IdleTimeout = "1m"
	if err := api.Update(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		pass()
	}
	if err := api.List(t.Context(), &jobs); err != nil || len(jobs.Items) != 1 || jobs.Items[0].Spec.Run.IdleTimeout != "1m" || jobs.Items[0].Name == job.Name {
		t.Errorf("jobs after a change: %+v, %v", jobs.Items, err)
	}

	// Deleted: nothing stays.
	if err := get(); err != nil {
		t.Fatal(err)
	}
	if err := api.Delete(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		pass()
	}
	if err := get(); !apierrors.IsNotFound(err) {
		t.Errorf("the Service is still there: %v", err)
	}
	for _, list := range []client.ObjectList{&v1alpha1.SlurmJobList{}, &corev1.SecretList{}} {
		if err := api.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if items, err := runtime.DefaultUnstructuredConverter.ToUnstructured(list); err != nil || items["items"] != nil && len(items["items"].([]any)) > 0 {
			t.Errorf("left behind: %v, %v", items["items"], err)
		}
	}
}

// Package benchmark makes the Services, LoadClients and SlurmJobs of a Benchmark's run, and judges what they measured.
package benchmark

import (
	"context"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// fieldOwner is the field manager of everything that this controller writes.
const fieldOwner = "assay-benchmark"

// Deps are what the controller needs of the world.
type Deps struct {
	// Doors are the open sites.
	Doors slurmbridge.Doors
	// Random gives the seeds and credentials of runs.
	Random io.Reader
	// Now is the clock.
	Now func() time.Time
	// Version of the program stands in each result.
	Version string
}

// Kind is the controller's knowledge of Benchmarks.
type Kind struct {
	deps     Deps
	client   client.Client
	live     client.Reader
	children reconcile.Children
	// unwritten holds what this process could not write into a run directory.
	unwritten reconcile.Unwritten
}

// +kubebuilder:rbac:groups=assay.bench,resources=benchmarks,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=assay.bench,resources=benchmarks/status,verbs=get;patch
// +kubebuilder:rbac:groups=assay.bench,resources=benchmarks/finalizers,verbs=update
// +kubebuilder:rbac:groups=assay.bench,resources=services;loadclients;slurmjobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=assay.bench,resources=sites,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=list;create;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager.
func SetupWithManager(mgr ctrl.Manager, deps Deps) error {
	k := newKind(mgr.GetClient(), mgr.GetAPIReader(), deps)
	mine := handler.EnqueueRequestsFromMapFunc(byLabel)
	return ctrl.NewControllerManagedBy(mgr).
		Named("benchmark").
		For(&v1alpha1.Benchmark{}).
		Watches(&v1alpha1.Service{}, mine).
		Watches(&v1alpha1.LoadClient{}, mine).
		Watches(&v1alpha1.SlurmJob{}, mine).
		Watches(&v1alpha1.Site{}, handler.EnqueueRequestsFromMapFunc(k.bySite)).
		Complete(&reconcile.Controller[*v1alpha1.Benchmark, v1alpha1.BenchmarkStatus, World]{
			Kind: k, Client: mgr.GetClient(), Events: mgr.GetEventRecorder(fieldOwner), Owner: fieldOwner, Now: deps.Now,
		})
}

func newKind(c client.Client, live client.Reader, deps Deps) *Kind {
	return &Kind{deps: deps, client: c, live: live, children: reconcile.Children{Client: c, Live: live, Owner: fieldOwner}}
}

// New returns an empty Benchmark.
func (k *Kind) New() *v1alpha1.Benchmark { return &v1alpha1.Benchmark{} }

// Finalizer is the same for every Benchmark: it has children.
func (k *Kind) Finalizer(*v1alpha1.Benchmark) string { return v1alpha1.FinalizerChildren }

// byLabel maps a child to its Benchmark.
func byLabel(_ context.Context, o client.Object) []ctrl.Request {
	name := o.GetLabels()[v1alpha1.LabelBenchmark]
	if name == "" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// bySite maps a Site to the Benchmarks that wait for it.
func (k *Kind) bySite(ctx context.Context, o client.Object) []ctrl.Request {
	var list v1alpha1.BenchmarkList
	if err := k.client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
		return nil // a Benchmark that waits for its site also looks again by itself
	}
	var out []ctrl.Request
	for i := range list.Items {
		bm := &list.Items[i]
		if string(bm.Spec.Site) == o.GetName() && wantsRun(bm) {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(bm)})
		}
	}
	return out
}

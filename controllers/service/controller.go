// Package service tells how a Service goes from what its SlurmJob says, and makes a SlurmJob for a Service that no
// Benchmark owns.
package service

import (
	"context"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// fieldOwner is the field manager of everything that this controller writes.
const fieldOwner = "assay-service"

// Deps are what the controller needs of the world.
type Deps struct {
	// Doors are the open sites.
	Doors slurmbridge.Doors
	// Random gives the seeds and credentials of runs.
	Random io.Reader
	// Now is the clock.
	Now func() time.Time
}

// Kind is the controller's knowledge of Services.
type Kind struct {
	deps     Deps
	client   client.Client
	live     client.Reader
	children reconcile.Children
	// unwritten holds what this process could not write into a run directory.
	unwritten reconcile.Unwritten
	// outside holds what services answered from outside their sites.
	outside *outside
}

// +kubebuilder:rbac:groups=assay.bench,resources=services,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=assay.bench,resources=services/status,verbs=get;patch
// +kubebuilder:rbac:groups=assay.bench,resources=services/finalizers,verbs=update
// +kubebuilder:rbac:groups=assay.bench,resources=slurmjobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=assay.bench,resources=sites;benchmarks,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=list;create;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager.
func SetupWithManager(mgr ctrl.Manager, deps Deps) error {
	k := newKind(mgr.GetClient(), mgr.GetAPIReader(), deps)
	return ctrl.NewControllerManagedBy(mgr).
		Named("service").
		For(&v1alpha1.Service{}).
		Watches(&v1alpha1.SlurmJob{}, handler.EnqueueRequestsFromMapFunc(byComponent)).
		Watches(&v1alpha1.Benchmark{}, handler.EnqueueRequestsFromMapFunc(k.byBenchmark)).
		Watches(&v1alpha1.Site{}, handler.EnqueueRequestsFromMapFunc(k.bySite)).
		Complete(&reconcile.Controller[*v1alpha1.Service, v1alpha1.ServiceStatus, World]{
			Kind: k, Client: mgr.GetClient(), Events: mgr.GetEventRecorder(fieldOwner), Owner: fieldOwner, Now: deps.Now,
		})
}

func newKind(c client.Client, live client.Reader, deps Deps) *Kind {
	return &Kind{
		deps: deps, client: c, live: live, children: reconcile.Children{Client: c, Live: live, Owner: fieldOwner}, outside: newOutside(),
	}
}

// New returns an empty Service.
func (k *Kind) New() *v1alpha1.Service { return &v1alpha1.Service{} }

// Finalizer is needed only by a Service that makes its own SlurmJob.
func (k *Kind) Finalizer(s *v1alpha1.Service) string {
	if owned(s) {
		return ""
	}
	return v1alpha1.FinalizerChildren
}

// owned says that a Benchmark made the Service.
func owned(s *v1alpha1.Service) bool {
	o := metav1.GetControllerOf(s)
	return o != nil && o.Kind == "Benchmark"
}

// byComponent maps a SlurmJob to the Services that run in it.
func byComponent(_ context.Context, o client.Object) []ctrl.Request {
	job, ok := o.(*v1alpha1.SlurmJob)
	if !ok {
		return nil
	}
	var out []ctrl.Request
	for _, c := range job.Spec.Components {
		if c.Kind == reconcile.KindService {
			out = append(out, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: job.Namespace, Name: c.Name}})
		}
	}
	return out
}

// byBenchmark maps a Benchmark to its Services: its end is theirs.
func (k *Kind) byBenchmark(_ context.Context, o client.Object) []ctrl.Request {
	bm, ok := o.(*v1alpha1.Benchmark)
	if !ok || !bm.Status.Run.Ended() {
		return nil
	}
	var out []ctrl.Request
	for _, s := range bm.Spec.Services {
		out = append(out, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: bm.Namespace, Name: bm.Name + "-" + string(s.Name)}})
	}
	return out
}

// bySite maps a Site to the Services of their own that name it.
func (k *Kind) bySite(ctx context.Context, o client.Object) []ctrl.Request {
	var list v1alpha1.ServiceList
	if err := k.client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
		return nil // a Service that waits for its site also looks again by itself
	}
	var out []ctrl.Request
	for i := range list.Items {
		if s := &list.Items[i]; string(s.Spec.Site) == o.GetName() && s.Status.Job == "" {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return out
}

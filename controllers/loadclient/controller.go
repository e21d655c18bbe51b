// Package loadclient tells how a LoadClient goes from what its SlurmJobs say and its ranks measured, and makes a
// SlurmJob for a LoadClient that no Benchmark owns.
package loadclient

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
const fieldOwner = "assay-loadclient"

// Deps are what the controller needs of the world.
type Deps struct {
	// Doors are the open sites.
	Doors slurmbridge.Doors
	// Random gives the seeds of runs.
	Random io.Reader
	// Now is the clock.
	Now func() time.Time
}

// Kind is the controller's knowledge of LoadClients.
type Kind struct {
	deps     Deps
	client   client.Client
	live     client.Reader
	children reconcile.Children
	// unwritten holds what this process could not write into a run directory.
	unwritten reconcile.Unwritten
}

// +kubebuilder:rbac:groups=assay.bench,resources=loadclients,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=assay.bench,resources=loadclients/status,verbs=get;patch
// +kubebuilder:rbac:groups=assay.bench,resources=loadclients/finalizers,verbs=update
// +kubebuilder:rbac:groups=assay.bench,resources=slurmjobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=assay.bench,resources=sites;benchmarks;services,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager.
func SetupWithManager(mgr ctrl.Manager, deps Deps) error {
	k := newKind(mgr.GetClient(), mgr.GetAPIReader(), deps)
	return ctrl.NewControllerManagedBy(mgr).
		Named("loadclient").
		For(&v1alpha1.LoadClient{}).
		Watches(&v1alpha1.SlurmJob{}, handler.EnqueueRequestsFromMapFunc(byComponent)).
		Watches(&v1alpha1.Benchmark{}, handler.EnqueueRequestsFromMapFunc(byBenchmark)).
		Watches(&v1alpha1.Service{}, handler.EnqueueRequestsFromMapFunc(k.waiting(func(c *v1alpha1.LoadClient) string {
			return c.Spec.Target.Service
		}))).
		Watches(&v1alpha1.Site{}, handler.EnqueueRequestsFromMapFunc(k.waiting(func(c *v1alpha1.LoadClient) string {
			return string(c.Spec.Site)
		}))).
		Complete(&reconcile.Controller[*v1alpha1.LoadClient, v1alpha1.LoadClientStatus, World]{
			Kind: k, Client: mgr.GetClient(), Events: mgr.GetEventRecorder(fieldOwner), Owner: fieldOwner, Now: deps.Now,
		})
}

func newKind(c client.Client, live client.Reader, deps Deps) *Kind {
	return &Kind{deps: deps, client: c, live: live, children: reconcile.Children{Client: c, Live: live, Owner: fieldOwner}}
}

// New returns an empty LoadClient.
func (k *Kind) New() *v1alpha1.LoadClient { return &v1alpha1.LoadClient{} }

// Finalizer is needed only by a LoadClient that makes its own SlurmJob.
func (k *Kind) Finalizer(c *v1alpha1.LoadClient) string {
	if owned(c) {
		return ""
	}
	return v1alpha1.FinalizerChildren
}

// owned says that a Benchmark made the LoadClient.
func owned(c *v1alpha1.LoadClient) bool {
	o := metav1.GetControllerOf(c)
	return o != nil && o.Kind == "Benchmark"
}

// byComponent maps a SlurmJob to the LoadClients that run in it.
func byComponent(_ context.Context, o client.Object) []ctrl.Request {
	job, ok := o.(*v1alpha1.SlurmJob)
	if !ok {
		return nil
	}
	var out []ctrl.Request
	for _, c := range job.Spec.Components {
		if c.Kind == reconcile.KindLoadClient {
			out = append(out, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: job.Namespace, Name: c.Name}})
		}
	}
	return out
}

// byBenchmark maps a Benchmark to its LoadClients: its end is theirs.
func byBenchmark(_ context.Context, o client.Object) []ctrl.Request {
	bm, ok := o.(*v1alpha1.Benchmark)
	if !ok || !bm.Status.Run.Ended() {
		return nil
	}
	var out []ctrl.Request
	for _, c := range bm.Spec.Clients {
		out = append(out, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: bm.Namespace, Name: bm.Name + "-" + string(c.Name)}})
	}
	return out
}

// waiting maps an object to the LoadClients of their own that name it and have no job yet.
func (k *Kind) waiting(name func(*v1alpha1.LoadClient) string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []ctrl.Request {
		var list v1alpha1.LoadClientList
		if err := k.client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			return nil // a LoadClient that waits also looks again by itself
		}
		var out []ctrl.Request
		for i := range list.Items {
			if c := &list.Items[i]; !owned(c) && c.Status.Job == "" && name(c) == o.GetName() {
				out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(c)})
			}
		}
		return out
	}
}

// Package site opens the doors to batch systems, keeps them open while jobs need them, and sweeps up what is left
// behind in them.
package site

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
)

// +kubebuilder:rbac:groups=assay.bench,resources=sites,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=assay.bench,resources=sites/status,verbs=patch
// +kubebuilder:rbac:groups=assay.bench,resources=slurmjobs,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Deps are what the controller needs.
type Deps struct {
	// Client reads from the cache; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Events takes what the janitor did.
	Events events.EventRecorder
	// Registry takes the doors that are opened.
	Registry *Registry
	// Openers are the kinds of doors, in the order in which they are asked.
	Openers []Opener
	// AllowHost lets doors run commands on this host.
	AllowHost bool
	// Origin describes this control plane; its Origin and Counter are filled in.
	Origin Origin
	// Meter counts; nil for nobody.
	Meter Meter
	// SweepEvery is the janitor's pace; zero for 10 minutes.
	SweepEvery time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Kind is what the controller knows. It is a reconcile.Kind.
type Kind struct{ Deps }

// New makes the controller's knowledge.
func New(d Deps) *Kind {
	if d.Meter == nil {
		d.Meter = unmetered{}
	}
	if d.SweepEvery == 0 {
		d.SweepEvery = 10 * time.Minute
	}
	return &Kind{Deps: d}
}

// New returns an empty object.
func (k *Kind) New() *v1alpha1.Site { return &v1alpha1.Site{} }

// Finalizer keeps a Site while SlurmJobs refer to it.
func (k *Kind) Finalizer(*v1alpha1.Site) string { return v1alpha1.FinalizerInUse }

// Decide says what to do about the site, from what was seen.
func (k *Kind) Decide(site *v1alpha1.Site, seen world, now time.Time) decision {
	return decide(site, seen, now)
}

// workers is the number of sites that are looked at side by side: one that hangs holds up no other.
const workers = 4

// indexUsers is the field index of SlurmJobs by their site.
const indexUsers = "site.users"

// Setup adds the controller to a manager.
func Setup(mgr manager.Manager, k *Kind) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.SlurmJob{}, indexUsers, func(o client.Object) []string {
		return []string{string(o.(*v1alpha1.SlurmJob).Spec.Site)}
	})
	if err != nil {
		return fmt.Errorf("index of SlurmJobs by site: %w", err)
	}
	owner := "assay-site"
	r := &reconcile.Controller[*v1alpha1.Site, v1alpha1.SiteStatus, world]{
		Kind: k, Client: mgr.GetClient(), Events: k.Events, Owner: owner, Now: k.Now,
	}
	if err := mgr.Add(manager.RunnableFunc(k.tidy)); err != nil {
		return err
	}
	return builder.ControllerManagedBy(mgr).Named("site").
		For(&v1alpha1.Site{}).
		Watches(&v1alpha1.SlurmJob{}, countUsers()).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// countPause gathers what many jobs do at once into one look.
const countPause = 500 * time.Millisecond

// sight is what a Site counts of a SlurmJob.
type sight struct {
	ended, live, deleting bool
	phase                 string
}

func sightOf(job *v1alpha1.SlurmJob) sight {
	return sight{hasEnded(job), isLive(job), !job.DeletionTimestamp.IsZero(), job.Status.Phase}
}

// countUsers wakes a Site, a little later, when a SlurmJob of it comes, changes its phase, or goes.
func countUsers() handler.EventHandler {
	wake := func(o client.Object, q workqueue.TypedRateLimitingInterface[ctrl.Request]) {
		job, ok := o.(*v1alpha1.SlurmJob)
		if !ok {
			return
		}
		q.AddAfter(ctrl.Request{NamespacedName: client.ObjectKey{Namespace: job.Namespace, Name: string(job.Spec.Site)}}, countPause)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[ctrl.Request]) {
			wake(e.Object, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[ctrl.Request]) {
			wake(e.Object, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[ctrl.Request]) {
			before, ok := e.ObjectOld.(*v1alpha1.SlurmJob)
			after, ok2 := e.ObjectNew.(*v1alpha1.SlurmJob)
			if ok && ok2 && sightOf(before) != sightOf(after) {
				wake(after, q)
			}
		},
	}
}

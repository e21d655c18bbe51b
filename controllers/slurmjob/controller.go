// Package slurmjob makes one allocation happen, exactly once: it names the job, stores the name, hands the job in,
// follows it through its run directory, and ends it.
//
//	Intended ─► files ─► look ─► submit, held ─► look ─► release ─► Queued ─► Running ─► Ended
//	                                 └─ no answer: Uncertain, look again before anything else
package slurmjob

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
)

// +kubebuilder:rbac:groups=assay.bench,resources=slurmjobs,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=assay.bench,resources=slurmjobs/status,verbs=patch
// +kubebuilder:rbac:groups=assay.bench,resources=sites;services;loadclients,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Poller is what this controller needs of a site's poll.
type Poller interface {
	// Watch begins to serve a key, or changes what is wanted of it.
	Watch(key slurmbridge.Key, w poll.Watched)
	// Seen returns what was seen of a key since Watch.
	Seen(key slurmbridge.Key) (poll.View, bool)
	// Forget stops to serve a key.
	Forget(key slurmbridge.Key)
	// Expect says that something was just done to a job.
	Expect()
	// Lookup asks the batch system itself, after the call, and where since is not zero the site's accounting too.
	Lookup(ctx context.Context, key slurmbridge.Key, since time.Time) ([]slurmbridge.Job, error)
}

// Deps are what the controller needs.
type Deps struct {
	// Client reads from the cache; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Doors finds open sites, Poller the poll of an open site.
	Doors  slurmbridge.Doors
	Poller func(namespace, name string) (Poller, bool)
	// Process names this process of the control plane.
	Process string
	// Meter counts; nil for nobody.
	Meter Meter
	// Now is the clock.
	Now func() time.Time
}

// Kind is what the controller knows. It is a reconcile.Kind.
type Kind struct {
	Deps
	memory     *memory
	preflights *preflights
	turns      *turns
	leases     *leases
}

// New makes the controller's knowledge.
func New(d Deps) *Kind {
	if d.Meter == nil {
		d.Meter = unmetered{}
	}
	return &Kind{Deps: d, memory: newMemory(), preflights: newPreflights(), turns: newTurns(), leases: newLeases()}
}

// New returns an empty object.
func (k *Kind) New() *v1alpha1.SlurmJob { return &v1alpha1.SlurmJob{} }

// Finalizer keeps an object until its jobs are gone.
func (k *Kind) Finalizer(*v1alpha1.SlurmJob) string { return v1alpha1.FinalizerJobs }

// Decide tells the story of the job, from what was seen.
func (k *Kind) Decide(job *v1alpha1.SlurmJob, seen world, now time.Time) decision {
	before := job.Status.DeepCopy()
	d := decide(job, seen, now)
	if c, some := counts(*before, d); some {
		d.Do = slices.Insert(d.Do, 0, reconcile.Effect(c))
	}
	return d
}

// Wake has the object of a key looked at soon. It does not block; a poller calls it.
func (k *Kind) Wake(key slurmbridge.Key) { k.memory.wake(key) }

// Field indexes of SlurmJobs.
const (
	indexSite      = "slurmjob.site"
	indexComponent = "slurmjob.component"
)

// workers is the number of objects that are looked at side by side. Most of their time they wait for a shared look-up, or
// for their turn under the site's limit of requests; the more of them wait, the more share a look-up.
const workers = 96

// Setup adds the controller to a manager.
func Setup(mgr manager.Manager, k *Kind) error {
	if err := addIndexes(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	owner := "assay-slurmjob"
	r := &reconcile.Controller[*v1alpha1.SlurmJob, v1alpha1.SlurmJobStatus, world]{
		Kind: k, Client: mgr.GetClient(), Events: mgr.GetEventRecorder(owner), Owner: owner, Now: k.Now,
	}
	return builder.ControllerManagedBy(mgr).Named("slurmjob").
		For(&v1alpha1.SlurmJob{}).
		Watches(&v1alpha1.Site{}, handler.EnqueueRequestsFromMapFunc(k.jobsOfSite), builder.WithPredicates(siteChanged())).
		Watches(&v1alpha1.Service{}, handler.EnqueueRequestsFromMapFunc(k.jobsOf("Service")), builder.WithPredicates(specChanged())).
		Watches(&v1alpha1.LoadClient{}, handler.EnqueueRequestsFromMapFunc(k.jobsOf("LoadClient")), builder.WithPredicates(specChanged())).
		WatchesRawSource(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
			k.memory.setQueue(q)
			return nil
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.SlurmJob{}, indexSite, func(o client.Object) []string {
		return []string{string(o.(*v1alpha1.SlurmJob).Spec.Site)}
	})
	if err != nil {
		return fmt.Errorf("index of SlurmJobs by site: %w", err)
	}
	err = indexer.IndexField(ctx, &v1alpha1.SlurmJob{}, indexComponent, func(o client.Object) []string {
		spec := &o.(*v1alpha1.SlurmJob).Spec
		var out []string
		for _, ref := range spec.Components {
			out = append(out, ref.Kind+"/"+ref.Name)
		}
		for _, peer := range spec.Run.Peers {
			out = append(out, peer.Kind+"/"+peer.Name)
		}
		return out
	})
	if err != nil {
		return fmt.Errorf("index of SlurmJobs by component: %w", err)
	}
	return nil
}

// jobsOfSite maps a Site to the SlurmJobs that refer to it.
func (k *Kind) jobsOfSite(ctx context.Context, o client.Object) []ctrl.Request {
	return k.list(ctx, o.GetNamespace(), client.MatchingFields{indexSite: o.GetName()})
}

// jobsOf maps a component to the SlurmJobs that have to do with it.
func (k *Kind) jobsOf(kind string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []ctrl.Request {
		return k.list(ctx, o.GetNamespace(), client.MatchingFields{indexComponent: kind + "/" + o.GetName()})
	}
}

// list ignores an error: what is not woken by a watch is looked at by its own time.
func (k *Kind) list(ctx context.Context, namespace string, which client.MatchingFields) []ctrl.Request {
	var jobs v1alpha1.SlurmJobList
	if err := k.Client.List(ctx, &jobs, client.InNamespace(namespace), which); err != nil {
		return nil
	}
	var out []ctrl.Request
	for i := range jobs.Items {
		out = append(out, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: jobs.Items[i].Name}})
	}
	return out
}

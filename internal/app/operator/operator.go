// Package operator joins the five controllers and the registry of open sites on one API server.
package operator

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/benchmark"
	"assay.bench/controllers/loadclient"
	"assay.bench/controllers/service"
	"assay.bench/controllers/site"
	"assay.bench/controllers/slurmjob"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/limit"
)

// Options are what the shapes of the product differ in.
type Options struct {
	// Origin is the id of the control plane: at least 8 hexadecimal digits.
	Origin string
	// Self tells others whose jobs and folders the origin's are.
	Self site.Origin
	// Process names this process of the control plane; no other one has the same name.
	Process string
	// Version of the program stands in each result.
	Version string
	// Openers are the kinds of doors, in the order in which they are asked.
	Openers []site.Opener
	// AllowHost lets Sites run commands on this host.
	AllowHost bool
	// Metrics takes the metrics of the bridge; nil for a registry that nobody reads.
	Metrics prometheus.Registerer
	// Now is the clock.
	Now func() time.Time
	// Manager are controller-runtime's own options; Scheme is filled in.
	Manager ctrl.Options
}

// New joins the controllers; the manager is not started. Close the registry after the manager ended.
func New(config *rest.Config, o Options) (manager.Manager, *site.Registry, error) {
	var err error
	if o.Manager.Scheme, err = NewScheme(); err != nil {
		return nil, nil, err
	}
	mgr, err := ctrl.NewManager(config, o.Manager)
	if err != nil {
		return nil, nil, fmt.Errorf("start the controllers: %w", err)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	meter, err := limit.NewMetrics(o.Metrics, o.Now)
	if err != nil {
		return nil, nil, err
	}
	// The registry wakes the controller of jobs, which finds doors in the registry.
	var jobs *slurmjob.Kind
	registry := site.NewRegistry(o.Origin, func(k slurmbridge.Key) { jobs.Wake(k) }, o.Now)
	jobs = slurmjob.New(slurmjob.Deps{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Doors: registry, Now: o.Now, Process: o.Process, Meter: meter,
		Poller: func(namespace, name string) (slurmjob.Poller, bool) {
			p, ok := registry.Poller(namespace, name)
			return p, ok
		},
	})
	sites := site.New(site.Deps{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("assay-site"),
		Registry: registry, Openers: limited(o.Openers, meter), AllowHost: o.AllowHost, Now: o.Now, Origin: o.Self, Meter: meter,
	})
	for _, setup := range []func() error{
		func() error { return site.Setup(mgr, sites) },
		func() error { return slurmjob.Setup(mgr, jobs) },
		func() error {
			return service.SetupWithManager(mgr, service.Deps{Doors: registry, Random: rand.Reader, Now: o.Now})
		},
		func() error {
			return loadclient.SetupWithManager(mgr, loadclient.Deps{Doors: registry, Random: rand.Reader, Now: o.Now})
		},
		func() error {
			return benchmark.SetupWithManager(mgr, benchmark.Deps{Doors: registry, Random: rand.Reader, Now: o.Now, Version: o.Version})
		},
	} {
		if err := setup(); err != nil {
			registry.Close()
			return nil, nil, fmt.Errorf("start the controllers: %w", err)
		}
	}
	return mgr, registry, nil
}

// NewScheme knows our kinds and the built-in ones.
func NewScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("scheme: %w", err)
	}
	if err := v1alpha1.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("scheme: %w", err)
	}
	return s, nil
}

package app

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"assay.bench/controllers/benchmark"
	"assay.bench/controllers/loadclient"
	"assay.bench/controllers/service"
	"assay.bench/controllers/site"
	"assay.bench/controllers/slurmjob"
	"assay.bench/slurmbridge"
)

// managerOptions are what the shapes of the product differ in.
type managerOptions struct {
	// origin of the control plane, and the folder of its local jobs.
	origin, jobsDir, stateDir string
	// allowHost lets Sites run commands on this host.
	allowHost bool
	// metrics and probes are addresses to listen on; "0" for none.
	metrics, probes string
	leaderElection  bool
	log             logr.Logger
}

// newManager joins the five controllers on one API server. The registry must be closed after the manager ended.
func newManager(o *OS, config *rest.Config, opts managerOptions) (manager.Manager, *site.Registry, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, nil, err
	}
	grace := 10 * time.Second
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Logger: opts.log,
		Metrics:                server.Options{BindAddress: opts.metrics},
		HealthProbeBindAddress: opts.probes,
		LeaderElection:         opts.leaderElection, LeaderElectionID: "assay.assay.bench", LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout: &grace,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("start the controllers: %w", err)
	}
	// The registry wakes the controller of jobs, which finds doors in the registry.
	var jobs *slurmjob.Kind
	registry := site.NewRegistry(opts.origin, func(k slurmbridge.Key) { jobs.Wake(k) }, o.Now)
	jobs = slurmjob.New(slurmjob.Deps{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Doors: registry, Now: o.Now,
		Process: fmt.Sprintf("%s/%d/%d", o.Host, o.PID, o.Now().UnixNano()),
		Poller: func(namespace, name string) (slurmjob.Poller, bool) {
			p, ok := registry.Poller(namespace, name)
			return p, ok
		},
	})
	sites := site.New(site.Deps{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("assay-site"),
		Registry: registry, Openers: openers(o, opts.origin, opts.jobsDir), AllowHost: opts.allowHost, Now: o.Now,
		Origin: site.Origin{User: o.User, Host: o.Host, PID: o.PID, ProcessStart: o.Now(), StateFolder: opts.stateDir},
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
			return benchmark.SetupWithManager(mgr, benchmark.Deps{Doors: registry, Random: rand.Reader, Now: o.Now, Version: version})
		},
	} {
		if err := setup(); err != nil {
			registry.Close()
			return nil, nil, fmt.Errorf("start the controllers: %w", err)
		}
	}
	return mgr, registry, nil
}

package app

import (
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"assay.bench/controllers/site"
	"assay.bench/internal/app/operator"
	"assay.bench/internal/app/state"
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
	leaseNamespace  string
	log             logr.Logger
	// noteWork is told of each work folder on this host before anything is put there; nil for nobody.
	noteWork func(dir string) error
	// noteSite is told of each Site with a batch system before its door is opened; nil for nobody.
	noteSite func(state.Site) error
}

// newManager joins the five controllers on one API server. The registry must be closed after the manager ended.
func newManager(o *OS, config *rest.Config, opts managerOptions) (manager.Manager, *site.Registry, error) {
	grace := 10 * time.Second
	// The registry that is served is the process's own; where nothing is served, nobody reads the metrics.
	var registerer prometheus.Registerer
	if opts.metrics != "0" {
		registerer = metrics.Registry
	}
	return operator.New(config, operator.Options{
		Origin:    opts.origin,
		Self:      site.Origin{User: o.User, Host: o.Host, PID: o.PID, ProcessStart: o.Now(), StateFolder: opts.stateDir},
		Process:   fmt.Sprintf("%s/%d/%d", o.Host, o.PID, o.Now().UnixNano()),
		Version:   version,
		Openers:   openers(o, opts),
		AllowHost: opts.allowHost,
		Metrics:   registerer,
		Now:       o.Now,
		Manager: ctrl.Options{
			Logger:                 opts.log,
			Metrics:                server.Options{BindAddress: opts.metrics},
			HealthProbeBindAddress: opts.probes,
			LeaderElection:         opts.leaderElection, LeaderElectionID: "assay.assay.bench", LeaderElectionReleaseOnCancel: true,
			LeaderElectionNamespace: opts.leaseNamespace,
			GracefulShutdownTimeout: &grace,
		},
	})
}

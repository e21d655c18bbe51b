package harness

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/internal/app/operator"
	"assay.bench/slurmbridge/poll"
)

// Process is one process of the controllers, with a memory of its own. It sees only the namespace of its World.
type Process struct {
	registry *site.Registry
	power    *power
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error
}

// start begins a process that ends at kill, if that is not nil.
func (w *World) start(kill *Kill) (*Process, error) {
	w.processes++
	p := &Process{power: newPower(kill), ended: make(chan struct{})}
	several, grace := true, 10*time.Second
	mgr, registry, err := operator.New(w.plane.config, operator.Options{
		Origin:  w.Origin,
		Self:    site.Origin{User: "test", Host: "test", PID: w.processes},
		Process: fmt.Sprintf("test/%d", w.processes),
		Version: "test",
		Openers: w.openers(p.power),
		Now:     time.Now,
		Manager: ctrl.Options{
			Logger:                  w.log.WithValues("process", w.processes),
			Metrics:                 server.Options{BindAddress: "0"},
			Cache:                   cache.Options{DefaultNamespaces: w.namespaces},
			Controller:              config.Controller{SkipNameValidation: &several},
			GracefulShutdownTimeout: &grace,
			NewClient: func(config *rest.Config, options client.Options) (client.Client, error) {
				c, err := client.NewWithWatch(config, options)
				if err != nil {
					return nil, err
				}
				return p.power.client(c, w.stored), nil
			},
		},
	})
	if err != nil {
		return nil, err
	}
	p.registry = registry
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		p.err = mgr.Start(ctx)
		registry.Close()
	}()
	return p, nil
}

// stop waits until nothing of the process runs any more.
func (p *Process) stop() error {
	p.cancel()
	<-p.ended
	return p.err
}

// openers are the kinds of doors of a World: its cluster, and one to this host that must stay shut.
func (w *World) openers(p *power) []site.Opener {
	return []site.Opener{{
		Name:    "local",
		Host:    site.Always,
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.Local != nil },
		Open: func(context.Context, *v1alpha1.Site, site.Secrets) (site.Opened, error) {
			w.t.Error("a door to this host was opened")
			return site.Opened{}, fmt.Errorf("no test may open it")
		},
	}, {
		Name:    "sim",
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.Sim != nil },
		Open: func(context.Context, *v1alpha1.Site, site.Secrets) (site.Opened, error) {
			of := w.Cluster.Site(w.Origin)
			d := door{Prober: of, jobs: of, files: of, power: p}
			return site.Opened{Jobs: d, Files: d, Prober: d, Node: "/work/bin/assay-node", Pace: Pace()}, nil
		},
	}}
}

// Pace is how often a World's cluster is asked: often, for it costs nothing and tests wait for it.
func Pace() poll.Pace {
	return poll.Pace{
		ListMin: 50 * time.Millisecond, ListMax: 200 * time.Millisecond,
		ReadStarting: 50 * time.Millisecond, ReadSteady: 200 * time.Millisecond,
		LookupWait: 2 * time.Millisecond,
	}
}

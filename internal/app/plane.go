package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/app/state"
	"assay.bench/internal/controlplane"
	"assay.bench/slurmbridge"
)

// plane is a control plane that a command works with: one that runs in this process, or a standing one that it only
// talks to.
type plane struct {
	folder state.Folder
	client client.Client
	// owned says that the control plane runs in this process; the rest is set only then.
	owned    bool
	log      io.Closer
	logger   logr.Logger
	server   *controlplane.Server
	registry *site.Registry
	// cancel ends the controllers, which then close ended; failed gets why they, or the API server, cannot go on.
	cancel context.CancelFunc
	ended  chan struct{}
	failed chan error
}

// roomyGC is GOGC where nobody set it: a control plane makes much garbage beside little that stays. A sixth of its work was
// to collect it; 20 MB more spare most of that.
const roomyGC = 200

// openServer starts the API server of a state folder, without controllers.
func openServer(ctx context.Context, o *OS, folder state.Folder) (*plane, error) {
	if o.Env("GOGC") == "" {
		debug.SetGCPercent(roomyGC)
	}
	file, err := os.OpenFile(folder.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	log := logr.FromSlogHandler(slog.NewJSONHandler(file, nil))
	ctrl.SetLogger(log)
	server, err := controlplane.Start(ctx, controlplane.Options{StateDir: folder.Plane(), TempDir: os.TempDir(), Log: log, Now: o.Now})
	if err != nil {
		return nil, errors.Join(inUse(folder, err), file.Close())
	}
	p := &plane{folder: folder, owned: true, log: file, logger: log, server: server}
	if p.client, err = newClient(server.Config()); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// inUse says who holds the folder and how to reach it.
func inUse(folder state.Folder, err error) error {
	var held *controlplane.InUseError
	if !errors.As(err, &held) {
		return fmt.Errorf("start the control plane: %w", err)
	}
	who := "another process"
	if held.PID != 0 {
		who = fmt.Sprintf("process %d on %s, since %s", held.PID, held.Host, held.Since.Local().Format("15:04:05"))
	}
	if folder.Info.Kind == state.KindUp {
		return alreadyUp(folder, who)
	}
	return usage(fmt.Errorf("the run %s is followed already (%s): end that first, or look at it with KUBECONFIG=%s assay kubectl get bm -A",
		folder.Short(), who, slurmbridge.Quote(folder.Kubeconfig())))
}

// alreadyUp refuses a second control plane of one context.
func alreadyUp(folder state.Folder, who string) error {
	return usage(fmt.Errorf("the control plane %q is up already (%s): export KUBECONFIG=%s, or end it with assay down --context %s",
		folder.Info.Context, who, slurmbridge.Quote(folder.Kubeconfig()), folder.Info.Context))
}

// openPlane starts the API server and the controllers of a state folder.
func openPlane(ctx context.Context, o *OS, folder state.Folder) (*plane, error) {
	if err := checkNode(ctx, o); err != nil {
		return nil, err
	}
	p, err := openServer(ctx, o, folder)
	if err != nil {
		return nil, err
	}
	if p.folder, err = folder.Change(func(i *state.Info) { i.Host, i.PID = o.Host, o.PID }); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	mgr, registry, err := newManager(o, p.server.Config(), managerOptions{
		origin: folder.Info.Origin, jobsDir: folder.Jobs(), stateDir: folder.Path, allowHost: true,
		metrics: "0", probes: "0", log: ctrl.Log, noteWork: folder.AddWork, noteSite: folder.AddSite,
	})
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.registry = registry
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel, p.ended, p.failed = cancel, make(chan struct{}), make(chan error, 2)
	go func() {
		defer close(p.ended)
		if err := mgr.Start(running); err != nil {
			p.failed <- fmt.Errorf("the controllers ended: %w", err)
		}
	}()
	go func() {
		<-p.server.Done()
		if err := p.server.Err(); err != nil {
			p.failed <- fmt.Errorf("the control plane in %s cannot go on: %w", folder.Path, err)
		}
	}()
	return p, nil
}

// standingPlane talks to the control plane of a context.
func standingPlane(root, name string) (*plane, error) {
	folder, found, err := state.Standing(root, name)
	if err != nil {
		return nil, err
	}
	if !found || !folder.Running() {
		return nil, usage(fmt.Errorf("the control plane %q is not up: start it with assay up --context %s", name, name))
	}
	return connect(folder)
}

// connect talks to a running control plane.
func connect(folder state.Folder) (*plane, error) {
	config, err := clientcmd.BuildConfigFromFlags("", folder.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", folder.Short(), err)
	}
	config.QPS, config.Burst = 50, 100
	c, err := newClient(rest.AddUserAgent(config, "assay"))
	if err != nil {
		return nil, err
	}
	return &plane{folder: folder, client: c}, nil
}

// stopWithin is how long the control plane may take to end.
const stopWithin = 20 * time.Second

// stop ends controllers, API server and etcd, in this order, and leaves the state. Jobs go on.
func (p *plane) stop() error {
	if !p.owned {
		return nil
	}
	if p.cancel != nil {
		p.cancel()
		<-p.ended
		p.registry.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return errors.Join(p.server.Stop(ctx), p.log.Close())
}

// close ends the control plane and removes its state, unless a job lives that needs it.
func (p *plane) close(ctx context.Context, o *OS) error {
	if !p.owned {
		return nil
	}
	if err := p.stop(); err != nil {
		return err
	}
	return removeState(ctx, o, p.folder)
}

// works are the work folders of the control plane, also those that its Sites named since it began.
func (p *plane) works() []string {
	now, err := state.Open(p.folder.Path)
	if err != nil {
		now = p.folder
	}
	return now.Works()
}

// ensureLocalSite makes the Site of this machine in every namespace where something is to run on it and the recipe has
// none; without objects in the default namespace.
func (p *plane) ensureLocalSite(ctx context.Context, objects []recipe.Object) error {
	for _, namespace := range localNamespaces(objects) {
		s := &v1alpha1.Site{}
		s.Namespace, s.Name = namespace, localSite
		s.Spec.Jobs.Local = &v1alpha1.LocalDoor{}
		s.Spec.WorkDir = p.folder.Work()
		if err := p.client.Create(ctx, s); client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("make the Site %s/%s: %w", namespace, localSite, err)
		}
	}
	return nil
}

func localNamespaces(objects []recipe.Object) []string {
	if objects == nil {
		return []string{defaultNamespace}
	}
	var out []string
	seen := map[string]bool{}
	for _, o := range objects {
		name, placed := siteName(o)
		if !placed || name != localSite || siteOf(objects, o) != nil || seen[o.GetNamespace()] {
			continue
		}
		seen[o.GetNamespace()] = true
		out = append(out, o.GetNamespace())
	}
	return out
}

// Package controlplane is a Kubernetes API server inside the process: CustomResourceDefinitions, the few built-in
// kinds of coreapi, and etcd on a unix socket, for one user on one host.
//
// It behaves as a cluster does, as far as Assay and kubectl can tell, with these exceptions. There is no garbage
// collector: ownerReferences are stored and nothing follows them, and --cascade=foreground and orphan delete at once.
// There is one user and no roles. There is no metrics route, no aggregation and no priority and fairness.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"assay.bench/config/crd"
	"assay.bench/internal/controlplane/statedir"
)

// undoTimeout is how long the parts of a server that did not start may take to end.
const undoTimeout = 10 * time.Second

// Options are for one server.
type Options struct {
	// StateDir holds everything that outlives the process: an absolute path of a folder on local disk, mode 0700, of
	// this user. It is made if it is missing.
	StateDir string
	// TempDir is where a short folder for the socket of etcd is made when StateDir is too long for one. Without it
	// such a StateDir is refused.
	TempDir string
	// Log gets what the API server and etcd say, errors too, at V(1). The part of it that goes through klog goes to
	// the first server of the process. The zero value discards it.
	Log logr.Logger
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
}

// InUseError says that another process holds the state folder. Nothing of that process was touched.
type InUseError = statedir.InUseError

// Server is a running control plane.
type Server struct {
	log        logr.Logger
	lock       *os.File
	socketDir  string
	etcd       *store
	listener   net.Listener
	config     *rest.Config
	kubeconfig string

	// cancel ends the API server and the sweeper. api and sweep are closed when they have ended.
	cancel     context.CancelFunc
	api, sweep chan struct{}
	started    func() bool
	// done is closed when the server has ended or cannot go on; err is then why, if nobody asked for it.
	done     chan struct{}
	err      error
	stopOnce sync.Once
	stopErr  error
}

// Start opens the state folder and returns when the API answers, our kinds are served, and the kubeconfig is
// written. The state, the credentials and, if it is free, the port are those of the last start. ctx bounds the start
// only; call Stop to end the server. A folder that another process holds gives *InUseError at once.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := statedir.Prepare(o.StateDir); err != nil {
		return nil, err
	}
	held, err := statedir.Lock(o.StateDir, o.Now())
	if err != nil {
		return nil, err
	}
	setUpProcess(o.Log)
	s := &Server{log: o.Log, lock: held, done: make(chan struct{})}
	if err := s.start(ctx, o); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return nil, errors.Join(err, s.Stop(ctx))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	id, err := statedir.LoadIdentity(o.StateDir, o.Now())
	if err != nil {
		return err
	}
	port := id.Port
	if s.listener, id.Port, err = listen(port); err != nil {
		return err
	}
	if id.Port != port {
		if err := id.Store(o.StateDir); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
	}
	socket, folder, err := socketPath(o.StateDir, o.TempDir)
	if err != nil {
		return err
	}
	s.socketDir = folder
	if s.etcd, err = startEtcd(ctx, filepath.Join(o.StateDir, etcdFolder), socket, o.Log); err != nil {
		return err
	}
	api, err := newAPIServer(socket, s.listener, id, o.Now)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	s.config = rest.CopyConfig(api.GenericAPIServer.LoopbackClientConfig)
	run := s.serve(api)
	if err := s.settle(ctx, api, o.Now); err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	if err := s.sweepNamespaces(run, api); err != nil {
		return err
	}
	s.kubeconfig, err = writeKubeconfig(o.StateDir, "https://"+s.listener.Addr().String(), id)
	return err
}

// serve runs the API server until the context that it returns ends, and notices when it or etcd ends by itself.
func (s *Server) serve(api *apiServer) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.api = cancel, make(chan struct{})
	s.started = api.Informers.Apiextensions().V1().CustomResourceDefinitions().Informer().HasSynced
	prepared := api.GenericAPIServer.PrepareRun()
	// The server publishes the schemas of custom resources, version 3 too, only when it has a document of version 2.
	// There is none: it would be built anew for each definition, and kubectl asks for version 3 since 1.27.
	api.GenericAPIServer.StaticOpenAPISpec = &spec.Swagger{}
	go func() {
		defer close(s.api)
		if err := prepared.RunWithContext(ctx); err != nil {
			s.log.V(libraryLevel).Info("API server ended", "error", err)
		}
	}()
	go func() {
		defer close(s.done)
		err := s.failure(ctx)
		if ctx.Err() != nil { // what ends after a stop did not fail
			<-s.api
			return
		}
		s.err = err
		cancel()
	}()
	return ctx
}

// failure waits until ctx ends, or a part of the server ends by itself.
func (s *Server) failure(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.api:
		return errors.New("the API server ended by itself")
	case err := <-s.etcd.Err():
		return fmt.Errorf("etcd ended: %w", err)
	case err := <-s.etcd.broken:
		return fmt.Errorf("etcd cannot go on: %w", err)
	case <-s.etcd.Server.StopNotify():
		return errors.New("etcd ended by itself")
	}
}

// sweepNamespaces empties namespaces that are being deleted, until ctx ends. All definitions must be known by now: the
// objects of one that is not would be left behind.
func (s *Server) sweepNamespaces(ctx context.Context, api *apiServer) error {
	client, err := metadata.NewForConfig(s.config)
	if err != nil {
		return err
	}
	c := cleaner{client: client, crds: api.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister()}
	s.sweep = make(chan struct{})
	go func() {
		defer close(s.sweep)
		api.core.Sweep(ctx, sweepInterval, c.empty)
	}()
	return nil
}

// settle waits until the server answers, and brings what must be there from the start.
func (s *Server) settle(ctx context.Context, api *apiServer, now func() time.Time) error {
	client, err := clientset.NewForConfig(s.config)
	if err != nil {
		return err
	}
	if err := poll(ctx, slow, func() (bool, error) { return ready(ctx, client.RESTClient()) }); err != nil {
		return err
	}
	if err := api.core.Prepare(ctx); err != nil {
		return err
	}
	crds, err := crd.All()
	if err != nil {
		return err
	}
	i := installer{client: client.ApiextensionsV1().CustomResourceDefinitions(), rest: client.RESTClient(), server: api, now: now}
	return i.run(ctx, crds)
}

// Config returns the configuration of a client in this process. The client may do everything and is not throttled.
func (s *Server) Config() *rest.Config { return rest.CopyConfig(s.config) }

// Kubeconfig returns the path of the kubeconfig in the state folder; its mode is 0600.
func (s *Server) Kubeconfig() string { return s.kubeconfig }

// Done is closed when the server has ended, by Stop, or when it cannot go on, because the disk is full for example.
// Call Stop in that case too.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why the server could not go on. It is nil while the server runs, and after Stop.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the API server, then etcd, and lets go of the state folder. Stop managers before, or they lose their
// server in the middle of a write. When ctx ends, Stop does not wait any longer for requests. The state stays; a
// second call does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Server) stop(ctx context.Context) error {
	var errs []error
	switch {
	case s.cancel != nil:
		s.awaitHooks(ctx)
		s.cancel()
		errs = append(errs, ended(ctx, s.sweep), ended(ctx, s.api))
	case s.listener != nil:
		errs = append(errs, s.listener.Close())
	}
	if s.etcd != nil {
		errs = append(errs, s.etcd.close())
	}
	if s.socketDir != "" {
		errs = append(errs, os.RemoveAll(s.socketDir))
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// ended waits for a part of the server; nil is one that never started.
func ended(ctx context.Context, part <-chan struct{}) error {
	if part == nil {
		return nil
	}
	select {
	case <-part:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("API server: it did not end: %w", context.Cause(ctx))
	}
}

// awaitHooks waits for the last start hook of the API server. The server ends the whole process when it is cancelled
// before that.
func (s *Server) awaitHooks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = poll(ctx, fast, func() (bool, error) { return s.started(), nil })
}

// Package harness runs the whole system for tests: a real API server, the five controllers with the real client, and a
// simulated cluster, in which the process of the controllers can be killed at a chosen point.
//
// A Plane is an API server that all tests of a program share. A World is one test's part of it: a namespace, a cluster
// with a clock of its own, and one process of the controllers after another.
package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/internal/app/operator"
	"assay.bench/internal/controlplane"
)

// startWithin bounds the start and the end of an API server on a machine that is busy with other things.
const startWithin = 2 * time.Minute

// sideBySide is how many tests run at a time: most of what they do is wait.
const sideBySide = "16"

// roomy lets the heap grow to five times of what lives: an API server makes much garbage, and time is scarcer here.
const roomy = 400

// Plane is an API server that serves the definitions of Assay.
type Plane struct {
	config *rest.Config
	scheme *runtime.Scheme
	worlds atomic.Int64
}

// NewPlane takes an API server that serves the definitions already.
func NewPlane(config *rest.Config) (*Plane, error) {
	scheme, err := operator.NewScheme()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS = -1 // tests are many at a time
	return &Plane{config: config, scheme: scheme}, nil
}

// Client reads and writes without a cache.
func (p *Plane) Client() (client.Client, error) {
	return client.New(p.config, client.Options{Scheme: p.scheme})
}

// APIServer is one that a test program starts: Config is for its clients, Stop ends it.
type APIServer struct {
	Config *rest.Config
	Stop   func(context.Context) error
}

// Embedded starts the control plane of the product, with its state in a folder.
func Embedded(ctx context.Context, dir string) (APIServer, error) {
	s, err := controlplane.Start(ctx, controlplane.Options{StateDir: filepath.Join(dir, "state"), TempDir: dir})
	if err != nil {
		return APIServer{}, err
	}
	return APIServer{Config: s.Config(), Stop: s.Stop}, nil
}

// Main starts one API server, runs the tests of a program against it, and returns the program's exit code. Parallel
// tests are many at a time unless -parallel says otherwise.
func Main(m *testing.M, start func(ctx context.Context, dir string) (APIServer, error), use func(*Plane)) int {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", sideBySide); err != nil {
			return failed(err)
		}
	}
	debug.SetGCPercent(roomy)
	ctrl.SetLogger(logr.Discard()) // each World keeps its own log
	dir, err := os.MkdirTemp(memory(), "assay-test")
	if err != nil {
		return failed(err)
	}
	code, err := run(m, dir, start, use)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return failed(err)
	}
	return code
}

// memory is a folder in memory where there is one: etcd waits for the disk at each write, and a busy one takes seconds.
func memory() string {
	const shm = "/dev/shm"
	probe, err := os.MkdirTemp(shm, "assay-test")
	if err != nil || os.Remove(probe) != nil {
		return ""
	}
	return shm
}

func run(m *testing.M, dir string, start func(ctx context.Context, dir string) (APIServer, error), use func(*Plane)) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	server, err := start(ctx, dir)
	if err != nil {
		return 1, fmt.Errorf("start the API server: %w", err)
	}
	plane, err := NewPlane(server.Config)
	code := 1
	if err == nil {
		use(plane)
		code = m.Run()
	}
	ctx, cancel = context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	return code, errors.Join(err, server.Stop(ctx))
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

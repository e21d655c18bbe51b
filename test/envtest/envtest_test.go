//go:build envtest

// Package envtest runs the lifecycle of the controllers on a real kube-apiserver with a real etcd.
package envtest

import (
	"context"
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"assay.bench/config/crd"
	"assay.bench/test/harness"
	"assay.bench/test/system/crash"
	"assay.bench/test/system/lifecycle"
)

// plane is the kube-apiserver that all tests of this package share.
var plane *harness.Plane

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, start, func(p *harness.Plane) { plane = p }))
}

// start starts the kube-apiserver and etcd of the folder KUBEBUILDER_ASSETS, and applies our definitions.
func start(_ context.Context, dir string) (harness.APIServer, error) {
	all, err := crd.All()
	if err != nil {
		return harness.APIServer{}, err
	}
	env := &envtest.Environment{CRDInstallOptions: envtest.CRDInstallOptions{CRDs: all}}
	env.ControlPlane.Etcd = &envtest.Etcd{DataDir: dir}
	config, err := env.Start()
	if err != nil {
		return harness.APIServer{}, err
	}
	return harness.APIServer{Config: config, Stop: func(context.Context) error { return env.Stop() }}, nil
}

// TestLifecycle is the suite that also runs on the product's own control plane.
func TestLifecycle(t *testing.T) { lifecycle.Run(t, plane) }

// TestCrash kills the controllers at each place in a fixed order.
func TestCrash(t *testing.T) {
	for _, c := range crash.Fixed() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			crash.Run(t, plane, c)
		})
	}
}

package app

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/internal/app/operator"
	"assay.bench/internal/app/state"
)

// newClient reads and writes without a cache.
func newClient(config *rest.Config) (client.Client, error) {
	scheme, err := operator.NewScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to the control plane: %w", err)
	}
	return c, nil
}

// userConfig is the cluster of KUBECONFIG, else the standing control plane.
func userConfig(o *OS) (*rest.Config, error) {
	path := o.Env("KUBECONFIG")
	if path == "" {
		root, err := state.Root(o.Env, o.Home, o.UID)
		if err != nil {
			return nil, err
		}
		folder, found, err := state.Standing(root, defaultContext)
		if err != nil {
			return nil, err
		}
		if !found || !folder.Running() {
			return nil, usage(fmt.Errorf("KUBECONFIG is not set and no control plane is up: start one with assay up"))
		}
		path = folder.Kubeconfig()
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, usage(fmt.Errorf("kubeconfig: %w", err))
	}
	return config, nil
}

// userClient connects to userConfig's cluster.
func userClient(o *OS) (client.Client, error) {
	config, err := userConfig(o)
	if err != nil {
		return nil, err
	}
	return newClient(config)
}

// originClient connects to a running control plane by the first digits of its origin, or to the user's.
func originClient(o *OS, digits string) (client.Client, error) {
	if digits == "" {
		return userClient(o)
	}
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return nil, err
	}
	folder, err := state.Find(root, digits)
	if err != nil {
		return nil, usage(err)
	}
	p, err := connect(folder)
	if err != nil {
		return nil, err
	}
	return p.client, nil
}

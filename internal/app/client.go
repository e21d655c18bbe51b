package app

import (
	"fmt"
	"path/filepath"

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

// clusterWords say in a help text what userConfig does.
const clusterWords = `It talks to the cluster of KUBECONFIG, else to the standing control plane of assay up, else to the cluster of the pod that
it runs in, else to that of ~/.kube/config.`

// userConfig is the cluster that the user means. What they name by a variable goes first, then what they started on this
// machine: a pod may be a CI job, and the file that kubectl always reads is often another cluster's.
func userConfig(o *OS) (*rest.Config, error) {
	if paths := o.Env("KUBECONFIG"); paths != "" {
		return fileConfig("KUBECONFIG="+paths, filepath.SplitList(paths)...)
	}
	pod := o.Env("KUBERNETES_SERVICE_HOST") != ""
	path, err := standingKubeconfig(o)
	switch {
	case path != "":
		return fileConfig(path, path)
	case pod: // one without a home folder has no state either
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, usage(fmt.Errorf("no cluster: this is a pod, and its service account cannot be used: %w: give it one, or set KUBECONFIG", err))
		}
		return config, nil
	case err != nil:
		return nil, err
	}
	if path = filepath.Join(o.Home, ".kube", "config"); !fileExists(path) {
		return nil, usage(fmt.Errorf("KUBECONFIG is not set and no control plane is up: start one with assay up; of an assay run that goes on, assay attach lists the --origin for assay logs, and of one that ended the logs are in the folder run of its results"))
	}
	return fileConfig(path, path)
}

// fileConfig joins kubeconfigs as kubectl does; those that do not exist are left out.
func fileConfig(what string, paths ...string) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: paths}
	merged, err := rules.Load()
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w", what, err))
	}
	config, err := clientcmd.NewDefaultClientConfig(*merged, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w: name a kubeconfig with a current context", what, err))
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

//go:build tools

// Package envtest names the programs of a real Kubernetes API server, for hack/envtest.sh to build: at the versions
// of our own build, so that Go's build cache serves both.
package envtest

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)

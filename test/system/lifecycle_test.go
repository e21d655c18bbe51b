package system

import (
	"testing"

	"assay.bench/test/system/lifecycle"
)

// TestLifecycle runs on the product's own control plane what test/envtest runs on a real kube-apiserver.
func TestLifecycle(t *testing.T) { lifecycle.Run(t, plane) }

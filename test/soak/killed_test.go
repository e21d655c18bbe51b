//go:build soak

package soak

import (
	"testing"

	"assay.bench/test/user"
)

// TestAHundredKilledControlPlanes kills the control plane a hundred times. The seed of the instants is in the test's name;
// ASSAY_SEED runs one again.
func TestAHundredKilledControlPlanes(t *testing.T) { user.KillPlanes(t, 100) }

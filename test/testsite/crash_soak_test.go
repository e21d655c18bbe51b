//go:build e2e && soak

package testsite

import "testing"

// A hundred kills through every transport, and twenty of jobs of services.
func TestSoakCrashes(t *testing.T) { crashAll(t, 100, 20, true) }

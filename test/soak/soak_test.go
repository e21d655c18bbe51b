//go:build soak

// Package soak is what takes hours: hundreds of crashes at each place, and hundreds of benchmarks at once.
package soak

import (
	"os"
	"testing"

	"assay.bench/test/harness"
	"assay.bench/test/system/crash"
	"assay.bench/test/system/lifecycle"
)

// plane is the API server that all tests of this package share.
var plane *harness.Plane

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Embedded, func(p *harness.Plane) { plane = p }))
}

// seeds of the cases at each place.
const seeds = 500

// TestCrash kills the controllers at each place in turn, as seeds say. One seed runs again with
// -run 'TestCrash/PLACE/seed=N$'.
func TestCrash(t *testing.T) {
	for _, place := range crash.Places() {
		t.Run(string(place), func(t *testing.T) {
			for seed := range uint64(seeds) {
				c := crash.Random(place, seed)
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					crash.Run(t, plane, c)
				})
			}
		})
	}
}

// TestMany applies 200 benchmarks at once.
func TestMany(t *testing.T) { lifecycle.Many(t, plane, 200) }

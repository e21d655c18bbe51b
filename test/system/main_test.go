// Package system tests the whole: the real API server of the product, all controllers, and a simulated cluster.
package system

import (
	"os"
	"testing"

	"assay.bench/test/harness"
)

// plane is the API server that all tests of this package share.
var plane *harness.Plane

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Embedded, func(p *harness.Plane) { plane = p }))
}

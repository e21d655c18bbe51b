package system

import (
	"testing"

	"assay.bench/test/system/lifecycle"
)

// TestMany applies a number of benchmarks at once; the tier soak applies ten times as many.
func TestMany(t *testing.T) { lifecycle.Many(t, plane, 20) }

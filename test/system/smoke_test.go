package system

import (
	"testing"

	"assay.bench/test/harness"
)

func TestSmoke(t *testing.T) {
	w := plane.World(t, harness.Options{})
	w.Start()
	w.Site()
	bm := harness.Benchmark("bm")
	w.Create(bm)
	w.Whole(bm)
	w.ExactlyOnce(1)
	w.Delete(bm)
	w.UntilEmpty()
}

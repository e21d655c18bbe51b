//go:build bench

package bench

import (
	"context"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"assay.bench/test/harness"
	"assay.bench/test/system/lifecycle"
)

// many applies many benchmarks at once on a simulated cluster; lifecycle.Many fails unless all complete, each job was
// started once, and the site was asked for its jobs once a tick.
func many(t *testing.T, r *rows, s size) {
	ctrl.SetLogger(logr.Discard()) // a world keeps its own log
	server, err := harness.Embedded(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	plane, err := harness.NewPlane(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	seen := lifecycle.Many(t, plane, s.many)
	r.atMost("many benchmarks at once on sim: lists for each tick", "", 1, float64(seen.Lists)/float64(seen.Ticks))
	r.atMost("many benchmarks at once on sim: jobs for each benchmark", "", 1, float64(seen.Submits)/float64(s.many))
}

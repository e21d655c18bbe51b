package benchmark

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
)

// TestLaggingCache: the second run has begun, and the cache still holds the Benchmark as it waited for the first one's
// jobs to go. The jobs that are there now are those of the second run.
func TestLaggingCache(t *testing.T) {
	r := newRig(t, benchmark())
	r.pass()
	r.pass()
	r.finish("bm-g1")
	for range 5 {
		r.pass()
	}
	if !reconcile.IsComplete(r.benchmark().Status.Conditions) {
		t.Fatal("the first run has not ended")
	}
	bm := r.benchmark()
	bm.Spec.Run, bm.Generation = 1, 2
	if err := r.api.Update(t.Context(), bm); err != nil {
		t.Fatal(err)
	}
	var old *v1alpha1.Benchmark
	for range 20 {
		if now := r.benchmark(); now.Status.Run.Name == "g1" {
			old = now
		}
		r.pass()
	}
	before := r.children()
	if run := r.benchmark().Status.Run; run.Name != "g2" || len(before) == 0 || reconcile.IsComplete(old.Status.Conditions) {
		t.Fatalf("run %s with %v: the second run has not begun", run.Name, before)
	}

	lagging := interceptor.NewClient(r.api.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if bm, ok := o.(*v1alpha1.Benchmark); ok {
				old.DeepCopyInto(bm)
				return nil
			}
			return api.Get(ctx, key, o, opts...)
		},
	})
	r.controller.Client = lagging
	r.controller.Kind = newKind(lagging, r.api, r.controller.Kind.(*Kind).deps)
	if res := r.pass(); res.RequeueAfter <= 0 {
		t.Errorf("looks again after %v, want soon", res.RequeueAfter)
	}
	if after := r.children(); len(after) != len(before) {
		t.Errorf("children were %v and are %v: the second run's were taken for the first one's", before, after)
	}
}

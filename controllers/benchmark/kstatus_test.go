package benchmark

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"assay.bench/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

// TestKstatus lists what kstatus makes of every state of the decision table.
func TestKstatus(t *testing.T) {
	var lines []string
	for name, s := range states(t) {
		bm := s.bm.DeepCopy()
		bm.Status = (&Kind{}).Decide(s.bm.DeepCopy(), s.world, now).Status
		got := kstatus(t, bm)
		if s.ended && got != status.CurrentStatus && got != status.FailedStatus {
			t.Errorf("%s: nothing is under way, kstatus says %s", name, got)
		}
		lines = append(lines, fmt.Sprintf("%-36s %s\n", name, got))
	}
	slices.Sort(lines)
	golden(t, "testdata/kstatus.golden", strings.Join(lines, ""))
}

func kstatus(t *testing.T, bm *v1alpha1.Benchmark) status.Status {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(bm)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(kindBenchmark))
	r, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	return r.Status
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s; run the test with -update if this is meant (-want +got):\n%s", path, diff)
	}
}

package reconcile

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

func TestTimeScale(t *testing.T) {
	for v, want := range map[string]float64{"": 1, "0.1": 0.1, "2": 2, "0": 0, "-1": 0, "1e3": 0, "nan": 0, "inf": 0, "0x1": 0, "1_0": 0, "5000": 0} {
		o := &v1alpha1.LoadClient{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationTimeScale: v}}}
		got, err := TimeScale(o)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %v, %v; want %v", v, got, err, want)
		}
	}
}

package reconcile

import (
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

// TimeScale is what the annotation of a Benchmark or of a LoadClient asks for; 1 without it.
func TimeScale(o client.Object) (float64, error) {
	v := o.GetAnnotations()[v1alpha1.AnnotationTimeScale]
	if v == "" {
		return 1, nil
	}
	scale, err := strconv.ParseFloat(v, 64)
	if err != nil || !(scale > 0 && scale <= 1000) || len(v) > 24 || strings.ContainsAny(v, "eExXpP+_") {
		return 0, fmt.Errorf("annotation %s: %q: use a number above 0 and at most 1000, such as 0.1", v1alpha1.AnnotationTimeScale, v)
	}
	return scale, nil
}

package benchmark

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/results"
)

// objectives are the SLOs with their bounds as numbers: seconds for a latency.
func objectives(bm *v1alpha1.Benchmark) ([]results.SLO, error) {
	var out []results.SLO
	for i, s := range bm.Spec.SLOs {
		one := results.SLO{Client: string(s.Client), Metric: s.Metric, Statistic: cmp.Or(s.Statistic, "value")}
		for _, b := range []struct {
			bound v1alpha1.Bound
			name  string
			into  **float64
		}{{s.AtMost, "atMost", &one.AtMost}, {s.AtLeast, "atLeast", &one.AtLeast}} {
			if b.bound == "" {
				continue
			}
			x, err := bound(b.bound, one.Statistic != "value")
			if err == nil && one.Metric == "success_ratio" && (x <= 0 || x >= 1) {
				err = fmt.Errorf("%q: the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows", string(b.bound))
			}
			if err != nil {
				return nil, v1alpha1.At(fmt.Sprintf("spec.slos[%d].%s", i, b.name), err)
			}
			*b.into = &x
		}
		out = append(out, one)
	}
	return out, nil
}

func bound(b v1alpha1.Bound, latency bool) (float64, error) {
	if !latency {
		x, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			return 0, fmt.Errorf("%q: this metric takes a number, such as 0.99", string(b))
		}
		return x, nil
	}
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return 0, fmt.Errorf("%q: a latency takes a duration, such as 500ms", string(b))
	}
	return d.Seconds(), nil
}

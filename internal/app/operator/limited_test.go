package operator

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge/limit"
)

func TestRateOfASite(t *testing.T) {
	slurm := v1alpha1.JobsDoor{SSH: &v1alpha1.SSHDoor{}}
	for name, c := range map[string]struct {
		reason string
		door   v1alpha1.JobsDoor
		limits v1alpha1.SiteLimits
		want   limit.Rate
	}{
		"Slurm":      {"nobody asks a centre as often as he likes", slurm, v1alpha1.SiteLimits{}, limit.Rate{PerSecond: 5, Burst: 10}},
		"slurmrestd": {"the same", v1alpha1.JobsDoor{REST: &v1alpha1.RESTDoor{}}, v1alpha1.SiteLimits{Burst: 3}, limit.Rate{PerSecond: 5, Burst: 3}},
		"chosen":     {"the Site says", slurm, v1alpha1.SiteLimits{Rate: "0.5"}, limit.Rate{PerSecond: 0.5, Burst: 10}},
		"local":      {"it is this host", v1alpha1.JobsDoor{Local: &v1alpha1.LocalDoor{}}, v1alpha1.SiteLimits{}, limit.Rate{Burst: 10}},
		"sim":        {"it is this process, but the Site says", v1alpha1.JobsDoor{Sim: &v1alpha1.SimDoor{}}, v1alpha1.SiteLimits{Rate: "7"}, limit.Rate{PerSecond: 7, Burst: 10}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, rateOf(c.door, c.limits)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

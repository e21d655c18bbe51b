package app

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/benchmark"
	"assay.bench/controllers/loadclient"
	"assay.bench/controllers/reconcile"
	"assay.bench/controllers/service"
)

// planService is what the first run of a Service of its own would make: its controller decides, in a world where nothing
// is in its way.
func planService(s *v1alpha1.Service, now time.Time) (benchmark.Planned, error) {
	s = s.DeepCopy()
	s.Spec.Suspend = false
	decision := new(service.Kind).Decide(s.DeepCopy(), service.World{
		Site: &v1alpha1.Site{}, Start: service.Start{Run: renderRun, Seed: 1},
	}, now)
	out := benchmark.Planned{Services: []v1alpha1.Service{*s}}
	for _, e := range decision.Do {
		if made, ok := e.(service.CreateJob); ok {
			out.Jobs = append(out.Jobs, *made.Job)
		}
	}
	return out, hasJob(out, decision.Status.Conditions)
}

// planClient does the same for a LoadClient of its own; target is nil where it loads a URL.
func planClient(c *v1alpha1.LoadClient, target *v1alpha1.Service, now time.Time) (benchmark.Planned, error) {
	c = c.DeepCopy()
	c.Spec.Suspend = false
	out := benchmark.Planned{Clients: []v1alpha1.LoadClient{*c}}
	seen := loadclient.World{
		Site: &v1alpha1.Site{}, Target: target, Start: loadclient.Start{Run: renderRun, Seed: max(1, c.Spec.Seed)},
	}
	if target != nil {
		served, err := planService(target, now)
		if err != nil {
			return out, fmt.Errorf("target %s: %w", target.Name, err)
		}
		out.Services, seen.TargetJob = served.Services, &served.Jobs[0]
	}
	decision := new(loadclient.Kind).Decide(c.DeepCopy(), seen, now)
	for _, e := range decision.Do {
		if made, ok := e.(loadclient.CreateJob); ok {
			out.Jobs = append(out.Jobs, *made.Job)
		}
	}
	return out, hasJob(out, decision.Status.Conditions)
}

// hasJob says why no job would be made.
func hasJob(planned benchmark.Planned, conditions []metav1.Condition) error {
	if len(planned.Jobs) > 0 {
		return nil
	}
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); c != nil {
		return usage(fmt.Errorf("no job would be made: %s", reconcile.Sentence(c.Reason, c.Message)))
	}
	return usage(errors.New("no job would be made"))
}

package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// Check finds what admission cannot see in a Benchmark: parameters that an engine or a workload refuses, and times
// that do not fit the time limit. The site may be nil, when it is not known. Each problem is a FieldError with a path
// from spec.
func Check(bm *v1alpha1.Benchmark, site *v1alpha1.Site) []error {
	if site == nil {
		site = &v1alpha1.Site{}
	}
	var problems []error
	services := map[string]rundir.Service{}
	for i := range bm.Spec.Services {
		s := &bm.Spec.Services[i]
		planned, err := planBenchmarkService(s, site.Spec.Defaults.Service)
		if err != nil {
			problems = append(problems, v1alpha1.At(fmt.Sprintf("spec.services[%d]", i), err))
			planned.Model, planned.Protocol = "unknown", "" // one error is enough
		}
		services[string(s.Name)] = planned
	}
	b := builder{run: &v1alpha1.JobRun{}, Input: Input{Job: &v1alpha1.SlurmJob{}, Services: serviceNames(bm)}}
	for i := range bm.Spec.Clients {
		c := &bm.Spec.Clients[i]
		object := &v1alpha1.LoadClient{ObjectMeta: component(string(c.Name)), Spec: v1alpha1.LoadClientSpec{ClientParameters: c.ClientParameters}}
		err := checkTarget(c, services)
		if err == nil {
			_, err = b.planClient(object)
		}
		if err != nil {
			problems = append(problems, v1alpha1.At(fmt.Sprintf("spec.clients[%d]", i), err))
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return checkTimes(bm, site)
}

// checkTarget finds a target that is not there or does not speak the load's protocol, and a load for which nobody names
// the model or the keys.
func checkTarget(c *v1alpha1.BenchmarkClient, services map[string]rundir.Service) error {
	service := c.Target.Service
	s, there := services[service]
	if service != "" && !there {
		known := slices.Sorted(maps.Keys(services))
		return v1alpha1.At("target.service", fmt.Errorf("there is no service %q in spec.services: name one of %s", service, strings.Join(known, ", ")))
	}
	if c.S3 != nil {
		return checkS3Target(c, s)
	}
	if s.Protocol == rundir.ProtocolS3 {
		return v1alpha1.At("target.service", fmt.Errorf("service %s is an object store, to which inference cannot be sent: use the workload s3", service))
	}
	if c.Inference == nil || c.Inference.Model != "" || s.Model != "" {
		return nil
	}
	if service == "" {
		return v1alpha1.At("inference", errors.New("nobody says which model the URL serves: name it in inference.model"))
	}
	return v1alpha1.At("inference", fmt.Errorf("service %s does not say which model it serves: name it in inference.model, or in the service's command.model", service))
}

// checkS3Target wants an object store of a service, and keys for a URL.
func checkS3Target(c *v1alpha1.BenchmarkClient, s rundir.Service) error {
	switch {
	case c.Target.Service == "" && c.Target.Credentials == nil:
		return v1alpha1.At("target", errors.New("s3 signs its requests: name in credentials a Secret with the keys username (the access key) and password (the secret key)"))
	case c.Target.Service == "" || s.Protocol == rundir.ProtocolS3 || s.Protocol == "":
		return nil
	case s.Engine == "command":
		return v1alpha1.At("target.service", fmt.Errorf("service %s does not say that it speaks S3: if it does, set protocol: S3 in its command", s.Name))
	}
	return v1alpha1.At("target.service", fmt.Errorf("service %s runs %s, which is no object store: s3 needs one, such as minio", s.Name, s.Engine))
}

// planBenchmarkService plans a service that no run has made yet. Its seed is nobody's: what is checked does not depend on it.
func planBenchmarkService(s *v1alpha1.BenchmarkService, defaults v1alpha1.Resources) (rundir.Service, error) {
	parameters := s.ServiceParameters
	parameters.Resources = merge(parameters.Resources, defaults)
	return planService(&v1alpha1.Service{ObjectMeta: component(string(s.Name)), Spec: v1alpha1.ServiceSpec{ServiceParameters: parameters}}, 1)
}

func component(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelComponent: name}}
}

// serviceNames are the benchmark's services, for targets to be found in.
func serviceNames(bm *v1alpha1.Benchmark) []v1alpha1.Service {
	var out []v1alpha1.Service
	for _, s := range bm.Spec.Services {
		out = append(out, v1alpha1.Service{ObjectMeta: component(string(s.Name))})
	}
	return out
}

// Step is a part of the longest time that a job may take.
type Step struct {
	// Name in plain words, such as "6 × measure".
	Name   string
	Length time.Duration
}

// Times adds up the longest time that one job of the benchmark may take, step by step.
func Times(bm *v1alpha1.Benchmark) (steps []Step, total time.Duration) {
	repeats := int(max(1, bm.Spec.Repeats.Count))
	if bm.Spec.Repeats.Restart == v1alpha1.RestartJob {
		repeats = 1
	}
	starts := repeats
	if bm.Spec.Repeats.Restart == v1alpha1.RestartNone {
		starts = 1
	}
	var ready, stop, warmup, measure, cooldown, drain, settle time.Duration
	for i := range bm.Spec.Services {
		p := &bm.Spec.Services[i].ServiceParameters
		settle = max(settle, settling(&bm.Spec.Services[i]))
		ready = max(ready, p.Readiness.Timeout.Or(5*time.Minute))
		stop = max(stop, p.StopTimeout.Or(10*time.Second))
	}
	scale, err := timeScale(v1alpha1.Decimal(bm.Annotations[v1alpha1.AnnotationTimeScale]))
	if err != nil {
		scale = 1
	}
	for i := range bm.Spec.Clients {
		p := &bm.Spec.Clients[i].ClientParameters
		warmup = max(warmup, time.Duration(scaled(p.Warmup.Or(0), scale)))
		measure = max(measure, time.Duration(scaled(p.Duration.Or(0), scale)))
		cooldown = max(cooldown, time.Duration(scaled(p.Cooldown.Or(0), scale)))
		drain = max(drain, p.Timeouts.Total.Or(time.Minute))
	}
	add := func(times int, name string, d time.Duration) {
		if d == 0 {
			return
		}
		if times > 1 {
			name = fmt.Sprintf("%d × %s", times, name)
		}
		length := time.Duration(int64(times) * int64(d))
		steps = append(steps, Step{Name: name, Length: length})
		total += length
	}
	add(starts, "readiness", ready)
	add(repeats, "warm-up", warmup)
	add(repeats, "measurement", measure)
	add(repeats, "cool-down", cooldown)
	add(repeats, "drain", drain)
	add(repeats, "metrics to settle", settle)
	add(starts, "stop", stop)
	return steps, total
}

// settling is how long the last scrape of a repeat waits.
func settling(s *v1alpha1.BenchmarkService) (longest time.Duration) {
	planned, err := planBenchmarkService(s, v1alpha1.Resources{})
	if err != nil {
		return 0 // Check says why
	}
	return planned.Settle()
}

// timeLimits are the limits of the benchmark's jobs, with the field that sets each: with one job for all components it is
// the greatest.
func timeLimits(bm *v1alpha1.Benchmark, site *v1alpha1.Site) (limits []time.Duration, fields []string) {
	add := func(field string, own, fallback v1alpha1.Duration) {
		limit, err := cmp.Or(own, fallback).Parse()
		switch {
		case err != nil || limit <= 0: // the site decides
		case bm.Spec.Placement == v1alpha1.SeparateJobs || len(limits) == 0:
			limits, fields = append(limits, limit), append(fields, field)
		case limit > limits[0]:
			limits[0], fields[0] = limit, field
		}
	}
	for i := range bm.Spec.Services {
		add(fmt.Sprintf("spec.services[%d].resources.timeLimit", i), bm.Spec.Services[i].Resources.TimeLimit, site.Spec.Defaults.Service.TimeLimit)
	}
	for i := range bm.Spec.Clients {
		add(fmt.Sprintf("spec.clients[%d].resources.timeLimit", i), bm.Spec.Clients[i].Resources.TimeLimit, site.Spec.Defaults.Client.TimeLimit)
	}
	return limits, fields
}

// checkTimes compares the sum of times with every time limit, and shows the arithmetic.
func checkTimes(bm *v1alpha1.Benchmark, site *v1alpha1.Site) []error {
	steps, total := Times(bm)
	words := make([]string, len(steps))
	for i, s := range steps {
		words[i] = fmt.Sprintf("%s %s", s.Name, s.Length)
	}
	sum := strings.Join(words, " + ")
	var problems []error
	limits, fields := timeLimits(bm, site)
	for i, limit := range limits {
		if limit < total {
			problems = append(problems, v1alpha1.At(fields[i], fmt.Errorf(
				"the job may take %s (%s), which is more than its time limit %s: raise the limit, or lower readiness.timeout, duration or repeats.count", total, sum, limit)))
		}
	}
	if timeout, err := bm.Spec.Timeout.Parse(); err != nil {
		problems = append(problems, v1alpha1.At("spec.timeout", err))
	} else if timeout > 0 && timeout < shortest(bm) {
		problems = append(problems, v1alpha1.At("spec.timeout", errors.New(
			"the measurement alone takes "+shortest(bm).String()+": raise the timeout, or lower duration or repeats.count")))
	}
	return problems
}

// shortest is the time that the load alone takes.
func shortest(bm *v1alpha1.Benchmark) time.Duration {
	_, total := Times(&v1alpha1.Benchmark{ObjectMeta: bm.ObjectMeta, Spec: v1alpha1.BenchmarkSpec{
		Clients: withoutDrain(bm.Spec.Clients), Repeats: bm.Spec.Repeats,
	}})
	return total
}

func withoutDrain(clients []v1alpha1.BenchmarkClient) []v1alpha1.BenchmarkClient {
	out := append([]v1alpha1.BenchmarkClient(nil), clients...)
	for i := range out {
		out[i].Timeouts.Total = "0s"
	}
	return out
}

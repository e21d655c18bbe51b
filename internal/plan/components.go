package plan

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/engines"
	"assay.bench/internal/rundir"
)

// loopback is where a service of a local site listens: nobody else can reach it.
const loopback = "127.0.0.1"

// EngineName is the engine that a service's parameters name; "" for none.
func EngineName(p *v1alpha1.ServiceParameters) string {
	engine, err := engines.For(p)
	if err != nil {
		return ""
	}
	return engine.Name()
}

// OutsideProbe is how somebody outside of a site sees whether a service serves: by its first HTTP probe at its first port,
// else, and for a service that cannot be planned, by whether that port takes connections.
func OutsideProbe(s *v1alpha1.Service, site *v1alpha1.Site) rundir.Probe {
	open := rundir.Probe{Type: rundir.ProbeTCP}
	planned, err := builder{Input: Input{Site: site}, run: &v1alpha1.JobRun{}}.planService(s)
	if err != nil || len(planned.Ports) == 0 {
		return open
	}
	for _, p := range planned.Probes {
		if p.Type == rundir.ProbeHTTP && (p.Port == "" || p.Port == planned.Ports[0].Name) {
			p.Status = cmp.Or(p.Status, http.StatusOK)
			return p
		}
	}
	return open
}

// planService turns a Service into its plan, with the resources that the site's defaults give it.
func (b builder) planService(s *v1alpha1.Service) (rundir.Service, error) {
	whole := s.DeepCopy()
	whole.Spec.Resources = merge(s.Spec.Resources, b.Site.Spec.Defaults.Service)
	planned, err := planService(whole, b.seed(ComponentName(s)))
	if err != nil {
		return planned, fmt.Errorf("service %s: %w", ComponentName(s), err)
	}
	return planned, nil
}

// planService turns a Service whose resources are whole into its plan.
func planService(s *v1alpha1.Service, seed uint64) (rundir.Service, error) {
	p := &s.Spec.ServiceParameters
	engine, err := engines.For(p)
	if err != nil {
		return rundir.Service{}, err
	}
	resources, err := stepResources(p.Resources)
	if err != nil {
		return rundir.Service{}, err
	}
	out := rundir.Service{
		Name:         ComponentName(s),
		Engine:       engine.Name(),
		Ranks:        1,
		Bind:         loopback,
		ReadyTimeout: rundir.Duration(p.Readiness.Timeout.Or(5 * time.Minute)),
		ProbeEvery:   rundir.Duration(p.Readiness.Interval.Or(200 * time.Millisecond)),
		LogTimeout:   rundir.Duration(p.Readiness.LogTimeout.Or(0)),
		StopTimeout:  rundir.Duration(p.StopTimeout.Or(10 * time.Second)),
		ScrapeEvery:  rundir.Duration(p.Metrics.Interval.Or(time.Second)),
		Resources:    resources,
	}
	if out.ScrapeEvery.D() < rundir.LeastScrapeEvery {
		return out, v1alpha1.At("metrics.interval", fmt.Errorf("%q is below %s, the shortest: take a longer one", p.Metrics.Interval, rundir.LeastScrapeEvery))
	}
	if p.Image != nil {
		out.Image = &rundir.Image{URI: p.Image.URI, Digest: p.Image.Digest}
		for _, path := range p.Image.Binds {
			out.Image.Binds = append(out.Image.Binds, rundir.Bind{Path: path})
		}
	}
	if err := engine.Plan(p, seed, &out); err != nil {
		return out, v1alpha1.At(engine.Name(), err)
	}
	replicas := int(max(1, p.Replicas))
	if replicas > 1 && out.Protocol == rundir.ProtocolS3 {
		return out, v1alpha1.At("replicas", errors.New("each replica would hold only what its own clients stored: run one object store, over nodes if it can"))
	}
	out.Ranks = max(1, out.Group) * replicas
	if err := setTargets(p.Metrics.Targets, &out); err != nil {
		return out, err
	}
	for i, c := range p.Metrics.CrossChecks {
		one, err := planCrossCheck(c, &out)
		if err != nil {
			return out, v1alpha1.At(fmt.Sprintf("metrics.crossChecks[%d]", i), err)
		}
		out.CrossChecks = append(out.CrossChecks, one)
	}
	return out, nil
}

// setTargets adds the metric targets of the recipe to those of the engine.
func setTargets(targets []v1alpha1.MetricTarget, out *rundir.Service) error {
	auth := ""
	for _, sc := range out.Scrapes {
		auth = cmp.Or(auth, sc.Auth) // what the engine's own target wants, another one of the server wants too
	}
	for i, t := range targets {
		if err := checkMetricTarget(t, out); err != nil {
			return v1alpha1.At(fmt.Sprintf("metrics.targets[%d]", i), err)
		}
		one := rundir.Scrape{
			Name: string(t.Name), PortName: string(t.PortName), Port: int(t.Port), Path: cmp.Or(t.Path, "/metrics"),
			Settle: rundir.Duration(t.Settle.Or(0)),
		}
		if one.PortName != "" {
			one.Auth = auth
			one.Leader = out.Worker != nil && !slices.ContainsFunc(out.Worker.Ports, func(q rundir.Port) bool { return q.Name == one.PortName })
		}
		out.Scrapes = append(out.Scrapes, one)
	}
	return nil
}

func planCrossCheck(c v1alpha1.CrossCheck, s *rundir.Service) (rundir.CrossCheck, error) {
	out := rundir.CrossCheck{Target: string(c.Target), Metric: c.Metric, Total: c.Total}
	if !slices.ContainsFunc(s.Scrapes, func(sc rundir.Scrape) bool { return sc.Name == out.Target }) {
		return out, v1alpha1.At("target", fmt.Errorf("there is no metric target %q: name it in metrics.targets", c.Target))
	}
	for _, l := range c.Labels {
		if out.Labels == nil {
			out.Labels = map[string]string{}
		}
		out.Labels[l.Name] = l.Value
	}
	var err error
	if out.Tolerance, err = c.Tolerance.Float(); err != nil || out.Tolerance > 1 {
		return out, v1alpha1.At("tolerance", fmt.Errorf("%q is not a share from 0 to 1", string(c.Tolerance)))
	}
	return out, nil
}

// checkMetricTarget refuses a second target of a name: the two would write one file of samples, and their counters would
// be added up.
func checkMetricTarget(t v1alpha1.MetricTarget, s *rundir.Service) error {
	if t.PortName == "" && t.Port == 0 {
		return errors.New("name port or portName")
	}
	if slices.ContainsFunc(s.Scrapes, func(sc rundir.Scrape) bool { return sc.Name == string(t.Name) }) {
		return v1alpha1.At("name", fmt.Errorf("there is a target %q already, of %s itself or above: take another name", t.Name, s.Engine))
	}
	return nil
}

// planClient turns a LoadClient into its plan.
func (b builder) planClient(c *v1alpha1.LoadClient) (rundir.Client, error) {
	p := &c.Spec.ClientParameters
	resources, err := stepResources(p.Resources)
	if err != nil {
		return rundir.Client{}, err
	}
	out := rundir.Client{
		Name:         ComponentName(c),
		Ranks:        int(max(1, p.Instances)),
		TimeoutFirst: rundir.Duration(p.Timeouts.FirstToken.Or(30 * time.Second)),
		TimeoutIdle:  rundir.Duration(p.Timeouts.Idle.Or(30 * time.Second)),
		TimeoutTotal: rundir.Duration(p.Timeouts.Total.Or(time.Minute)),
		Lead:         rundir.Duration(b.run.BarrierLead.Or(0)),
		Seed:         b.seed(ComponentName(c)),
		Resources:    resources,

		RecordRequests: p.RecordRequests,
	}
	if p.Seed > 0 {
		out.Seed = uint64(p.Seed)
	}
	if err := b.setTarget(&out, c); err != nil {
		return out, err
	}
	for _, set := range []func(*rundir.Client, *v1alpha1.ClientParameters) error{
		b.setPhases, b.setWorkload, setPace, setFailureRules, setLimits,
	} {
		if err := set(&out, p); err != nil {
			return out, err
		}
	}
	return out, nil
}

// setPhases applies the time scale to the lengths of the phases, and to nothing else.
func (b builder) setPhases(out *rundir.Client, p *v1alpha1.ClientParameters) error {
	scale, err := timeScale(b.run.TimeScale)
	if err != nil {
		return err
	}
	out.Warmup = scaled(p.Warmup.Or(0), scale)
	out.Duration = scaled(p.Duration.Or(0), scale)
	out.Cooldown = scaled(p.Cooldown.Or(0), scale)
	if out.Duration <= 0 {
		return v1alpha1.At("duration", errors.New("the measurement has no length"))
	}
	return nil
}

func timeScale(d v1alpha1.Decimal) (float64, error) {
	if d == "" {
		return 1, nil
	}
	scale, err := strconv.ParseFloat(string(d), 64)
	if err != nil || scale <= 0 || math.IsInf(scale, 0) {
		return 0, fmt.Errorf("time scale %q: use a number above 0, such as 0.1", string(d))
	}
	return scale, nil
}

func scaled(d time.Duration, scale float64) rundir.Duration {
	return rundir.Duration(time.Duration(float64(d) * scale).Round(time.Millisecond))
}

// setWorkload maps the workload's API type to its plan type.
func (b builder) setWorkload(out *rundir.Client, p *v1alpha1.ClientParameters) error {
	if p.S3 != nil {
		return b.setS3(out, p.S3)
	}
	w := p.Inference
	if w == nil {
		return fmt.Errorf("name exactly one workload of inference, s3")
	}
	temperature, err := w.Temperature.Float()
	if err != nil {
		return v1alpha1.At("inference.temperature", err)
	}
	out.Inference = &rundir.Inference{
		API:          cmp.Or(w.API, rundir.APICompletions),
		Model:        w.Model,
		InputTokens:  tokens(w.InputTokens),
		OutputTokens: tokens(w.OutputTokens),
		Temperature:  temperature,
	}
	return nil
}

func tokens(t v1alpha1.Tokens) rundir.Tokens {
	if t.Uniform != nil {
		return rundir.Tokens{Min: int(t.Uniform.Min), Max: int(t.Uniform.Max)}
	}
	return rundir.Tokens{Min: int(t.Fixed), Max: int(t.Fixed)}
}

// setPace maps the loop.
func setPace(out *rundir.Client, p *v1alpha1.ClientParameters) error {
	if p.ClosedLoop != nil {
		out.ClosedLoop = &rundir.ClosedLoop{
			Concurrency: int(p.ClosedLoop.Concurrency),
			ThinkTime:   rundir.Duration(p.ClosedLoop.ThinkTime.Or(0)),
		}
		return nil
	}
	if p.OpenLoop == nil {
		return fmt.Errorf("name exactly one pace of closedLoop, openLoop")
	}
	rate, err := p.OpenLoop.Rate.Float()
	if err != nil || rate <= 0 || rate > rundir.MostRate {
		return v1alpha1.At("openLoop.rate", fmt.Errorf("%q is not above 0 and at most 10000000 per second", p.OpenLoop.Rate))
	}
	out.OpenLoop = &rundir.OpenLoop{
		Rate:        rate,
		Arrival:     cmp.Or(p.OpenLoop.Arrival, rundir.ArrivalPoisson),
		MaxInFlight: int(cmp.Or(p.OpenLoop.MaxInFlight, 1024)),
	}
	return nil
}

// setFailureRules maps retries and abort.
func setFailureRules(out *rundir.Client, p *v1alpha1.ClientParameters) error {
	if p.Retries != nil {
		out.Retries = int(p.Retries.Max)
		out.BackOff = rundir.Duration(p.Retries.BackOff.Or(100 * time.Millisecond))
	}
	if p.Abort == nil {
		return nil
	}
	ratio, err := p.Abort.ErrorRatio.Float()
	if err != nil || ratio <= 0 || ratio > 1 {
		return v1alpha1.At("abort.errorRatio", fmt.Errorf("%q is not above 0 and at most 1", p.Abort.ErrorRatio))
	}
	window := p.Abort.Window.Or(10 * time.Second)
	if window <= 0 {
		return v1alpha1.At("abort.window", fmt.Errorf("%q has no length: use one such as 10s", p.Abort.Window))
	}
	out.Abort = &rundir.Abort{ErrorRatio: ratio, Window: rundir.Duration(window)}
	return nil
}

// setLimits maps the limits of the self-audit.
func setLimits(out *rundir.Client, p *v1alpha1.ClientParameters) error {
	if p.Limits == nil {
		return nil
	}
	if p.Limits.SendLag != "" {
		lag, err := time.ParseDuration(string(p.Limits.SendLag))
		if err != nil {
			return v1alpha1.At("limits.sendLag", err)
		}
		out.Limits.SendLag = rundir.Duration(lag)
	}
	ratio, err := p.Limits.RunQueueRatio.Float()
	if err != nil {
		return v1alpha1.At("limits.runQueueRatio", err)
	}
	out.Limits.RunQueueRatio = ratio
	return nil
}

// stepResources are the resources of a component's own step.
func stepResources(r v1alpha1.Resources) (rundir.Resources, error) {
	memory, err := mebibytes(r.Memory)
	return rundir.Resources{
		Nodes:       int(r.Nodes),
		CPUsPerTask: int(r.CPUsPerTask),
		GPUsPerNode: int(r.GPUsPerNode),
		MemoryMiB:   memory,
		Gres:        r.Gres,
	}, err
}

// mebibytes rounds up.
func mebibytes(q v1alpha1.Quantity) (int64, error) {
	if q == "" {
		return 0, nil
	}
	v, err := resource.ParseQuantity(string(q))
	if err != nil {
		return 0, v1alpha1.At("resources.memory", fmt.Errorf("%q: use an amount such as 64Gi", string(q)))
	}
	const mebi = 1 << 20
	return (v.Value() + mebi - 1) / mebi, nil
}

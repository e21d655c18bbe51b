package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

// What a service is asked from outside, by its first HTTP probe at its first port.
func TestOutsideProbe(t *testing.T) {
	command := func(ports []v1alpha1.Port, probes ...v1alpha1.Probe) v1alpha1.ServiceParameters {
		return v1alpha1.ServiceParameters{Command: &v1alpha1.CommandEngine{Argv: []string{"x"}, Ports: ports, Probes: probes}}
	}
	ports := []v1alpha1.Port{{Name: "http"}, {Name: "admin"}}
	http := func(port, path string, status int32) v1alpha1.Probe {
		return v1alpha1.Probe{Port: v1alpha1.Name(port), HTTP: &v1alpha1.HTTPProbe{Path: path, Status: status}}
	}
	tcp := v1alpha1.Probe{TCP: &v1alpha1.TCPProbe{}}
	get := func(path string, status int) rundir.Probe {
		return rundir.Probe{Type: rundir.ProbeHTTP, Path: path, Status: status}
	}
	open := rundir.Probe{Type: rundir.ProbeTCP}
	for reason, c := range map[string]struct {
		in       v1alpha1.ServiceParameters
		defaults v1alpha1.Resources
		want     rundir.Probe
	}{
		"a simulator":               {in: v1alpha1.ServiceParameters{LLMSim: &v1alpha1.LLMSimEngine{}}, want: get("/health", 200)},
		"a store":                   {in: v1alpha1.ServiceParameters{MinIO: &v1alpha1.MinIOEngine{}}, want: get("/minio/health/cluster", 200)},
		"GPUs by the site":          {v1alpha1.ServiceParameters{VLLM: &v1alpha1.VLLMEngine{Model: "m", TensorParallelSize: 4}}, v1alpha1.Resources{GPUsPerNode: 4}, get("/health", 200)},
		"of a command":              {in: command(ports, tcp, http("", "/ok", 204)), want: get("/ok", 204)},
		"the first port by name":    {in: command(ports, http("admin", "/admin", 200), http("http", "/ok", 0)), want: rundir.Probe{Type: rundir.ProbeHTTP, Port: "http", Path: "/ok", Status: 200}},
		"only of another port":      {in: command(ports, http("admin", "/admin", 200)), want: open},
		"only by a connection":      {in: command(ports, tcp), want: open},
		"nothing":                   {in: command(nil), want: open},
		"it cannot be planned":      {in: v1alpha1.ServiceParameters{}, want: open},
		"it may not be planned now": {in: v1alpha1.ServiceParameters{VLLM: &v1alpha1.VLLMEngine{Model: "/"}}, want: open},
	} {
		s := &v1alpha1.Service{Spec: v1alpha1.ServiceSpec{ServiceParameters: c.in}}
		site := &v1alpha1.Site{Spec: v1alpha1.SiteSpec{Defaults: v1alpha1.SiteDefaults{Service: c.defaults}}}
		if diff := cmp.Diff(c.want, plan.OutsideProbe(s, site)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
}

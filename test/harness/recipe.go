package harness

import (
	"assay.bench/api/v1alpha1"
)

// SiteName is the name of a World's site.
const SiteName = "cluster"

// Site stores the Site of the World's cluster.
func (w *World) Site() *v1alpha1.Site {
	w.t.Helper()
	s := &v1alpha1.Site{}
	s.Name = SiteName
	s.Spec.WorkDir = "/work"
	s.Spec.Jobs.Sim = &v1alpha1.SimDoor{Nodes: 64}
	w.Create(s)
	return s
}

// Benchmark is a benchmark of one simulated server and one client on the World's cluster: a second of warm-up and ten
// of load.
func Benchmark(name string) *v1alpha1.Benchmark {
	bm := &v1alpha1.Benchmark{}
	bm.Name = name
	bm.Spec.Site = SiteName
	bm.Spec.Services = []v1alpha1.BenchmarkService{{Name: "server", ServiceParameters: Server()}}
	bm.Spec.Clients = []v1alpha1.BenchmarkClient{{Name: "load", ClientParameters: Load("server")}}
	bm.Spec.SLOs = []v1alpha1.SLO{{Client: "load", Metric: "ttft", Statistic: "p50", AtMost: "10s"}}
	return bm
}

// Server are the parameters of a simulated server.
func Server() v1alpha1.ServiceParameters {
	return v1alpha1.ServiceParameters{LLMSim: &v1alpha1.LLMSimEngine{
		TTFT: v1alpha1.Latency{Mean: "30ms"}, ITL: v1alpha1.Latency{Mean: "4ms"},
	}}
}

// Load are the parameters of a closed loop against a service.
func Load(service string) v1alpha1.ClientParameters {
	return v1alpha1.ClientParameters{
		Target:     v1alpha1.Target{Service: service},
		Inference:  &v1alpha1.InferenceWorkload{InputTokens: v1alpha1.Tokens{Fixed: 32}, OutputTokens: v1alpha1.Tokens{Fixed: 32}},
		ClosedLoop: &v1alpha1.ClosedLoop{Concurrency: 2},
		Warmup:     "1s", Duration: "10s",
	}
}

// Repeat sets how often a benchmark measures, and what is new each time.
func Repeat(bm *v1alpha1.Benchmark, count int32, restart v1alpha1.Restart) {
	bm.Spec.Repeats = v1alpha1.Repeats{Count: count, Restart: restart}
}

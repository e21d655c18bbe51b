// Package openai is what the engines of OpenAI-compatible servers have in common. It is no engine: it describes the
// server as a client, a probe and a scrape see it, which is as vLLM shows itself; program, environment and ports are the
// engine's own.
package openai

import "assay.bench/internal/rundir"

// Plan fills in credential, probes, scrape, cross-checks and protocol of a server that takes its API key, answers about
// its health and names its metrics as vLLM does, and serves model under that name. All of it is at the port "http", which
// must be the first that the engine names.
func Plan(s *rundir.Service, model string) {
	s.Credential = rundir.CredentialEnv{Token: "VLLM_API_KEY"}
	s.Authenticated = true
	// The health route may answer before the model is loaded, and the model may be listed before a kernel is compiled.
	s.Probes = []rundir.Probe{
		{Type: rundir.ProbeHTTP, Path: "/health", Status: 200},
		{Type: rundir.ProbeModel, Model: model},
		{Type: rundir.ProbeToken, Model: model},
	}
	s.Scrapes = []rundir.Scrape{{Name: "server", PortName: "http", Path: "/metrics"}}
	s.CrossChecks = []rundir.CrossCheck{
		{Target: "server", Metric: "vllm:generation_tokens_total", Total: "output_tokens"},
		{Target: "server", Metric: "vllm:prompt_tokens_total", Total: "input_tokens"},
	}
	s.Protocol, s.Model = rundir.ProtocolOpenAI, model
}

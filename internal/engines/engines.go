// Package engines lists what a Service can run. An engine is a folder: it turns its part of a Service's parameters
// into the plan, in the controller's process. The node executes the plan and knows no engine.
package engines

import (
	"fmt"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/engines/command"
	"assay.bench/internal/engines/llmsim"
	"assay.bench/internal/engines/minio"
	"assay.bench/internal/engines/vllm"
	"assay.bench/internal/rundir"
)

// Engine is one kind of server.
type Engine interface {
	// Name is the engine's field in a Service's spec.
	Name() string
	// Chosen says whether the parameters name this engine.
	Chosen(p *v1alpha1.ServiceParameters) bool
	// Plan fills in what the engine knows: program, environment, ports, probes, scrapes and cross-checks. The error
	// names the field below the engine's own, and what to do.
	Plan(p *v1alpha1.ServiceParameters, seed uint64, s *rundir.Service) error
}

// All returns every engine.
func All() []Engine {
	return []Engine{command.Engine{}, llmsim.Engine{}, minio.Engine{}, vllm.Engine{}}
}

// For returns the engine that the parameters name.
func For(p *v1alpha1.ServiceParameters) (Engine, error) {
	for _, e := range All() {
		if e.Chosen(p) {
			return e, nil
		}
	}
	return nil, fmt.Errorf("name exactly one engine of command, llmsim, minio, vllm")
}

// Package command is the engine that runs any command line with any image, ports, probes and metric paths.
package command

import (
	"errors"
	"fmt"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// Engine runs spec.command.
type Engine struct{}

// Name is the engine's field in a Service's spec.
func (Engine) Name() string { return "command" }

// Chosen says whether the parameters name this engine.
func (Engine) Chosen(p *v1alpha1.ServiceParameters) bool { return p.Command != nil }

// Plan copies the command line. A port that the command does not name is refused by the node, which hands out ports.
func (Engine) Plan(p *v1alpha1.ServiceParameters, _ uint64, s *rundir.Service) error {
	c := p.Command
	s.Argv = append([]string(nil), c.Argv...)
	for _, e := range c.Env {
		s.Env = append(s.Env, rundir.EnvVar(e))
	}
	for _, q := range c.Ports {
		s.Ports = append(s.Ports, rundir.Port{Name: string(q.Name), Number: int(q.Number)})
	}
	for i := range c.Probes {
		probe, err := plan(&c.Probes[i])
		if err != nil {
			return v1alpha1.At(fmt.Sprintf("probes[%d]", i), err)
		}
		if probe.Type != rundir.ProbeExec && len(c.Ports) == 0 {
			return v1alpha1.At(fmt.Sprintf("probes[%d]", i), errors.New("the probe asks a port, and ports is empty: name one"))
		}
		s.Probes = append(s.Probes, probe)
	}
	if c.Credential != nil {
		s.Credential = rundir.CredentialEnv{
			Token:    c.Credential.TokenVariable,
			Username: c.Credential.UsernameVariable,
			Password: c.Credential.PasswordVariable,
		}
		s.Authenticated = true
	}
	s.Protocol = rundir.ProtocolHTTP
	if c.Protocol != "" {
		s.Protocol = c.Protocol
	}
	s.Model = c.Model
	return nil
}

func plan(p *v1alpha1.Probe) (rundir.Probe, error) {
	out := rundir.Probe{Port: string(p.Port)}
	switch {
	case p.HTTP != nil:
		out.Type, out.Path, out.Status = rundir.ProbeHTTP, p.HTTP.Path, int(p.HTTP.Status)
		if out.Status == 0 {
			out.Status = 200
		}
	case p.TCP != nil:
		out.Type = rundir.ProbeTCP
	case p.Exec != nil:
		out.Type, out.Argv = rundir.ProbeExec, append([]string(nil), p.Exec.Argv...)
	case p.Model != nil:
		out.Type, out.Model = rundir.ProbeModel, p.Model.Name
	case p.Token != nil:
		out.Type, out.Model = rundir.ProbeToken, p.Token.Name
	default:
		return out, fmt.Errorf("name exactly one of http, tcp, exec, model, token")
	}
	return out, nil
}

package node

import (
	"context"
	"errors"
	"os/exec"
	"time"

	"assay.bench/internal/rundir"
)

// portTries is how often a server is started when its port was taken between our choice and its start.
const portTries = 4

// start starts the server and waits until its probes pass. A server whose port was taken meanwhile is started again
// with other ports, unless the plan gives a number.
func (s *service) start(ctx context.Context) error {
	if err := s.makeFolders(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		server, err := s.launch.start(ctx)
		if err != nil {
			return err
		}
		s.server = server
		s.log("ServerStarted", "server", server.pid(), "ports", server.ports, "try", try)
		s.status.must(func(st *rundir.Status) { st.ServerPID = server.pid() })
		err = s.becomeReady(ctx)
		if err == nil {
			return nil
		}
		tail := server.tail()
		taken := saysPortInUse(tail)
		s.halt()
		if !taken || ctx.Err() != nil {
			return err
		}
		if p, fixed := fixedPort(s.svc.Ports); fixed {
			return portInUse(p)
		}
		if try == portTries {
			return endf(rundir.ExitReasonPortInUse, "%s", withLog("the server found its port in use, with 4 choices of free ports", tail))
		}
		s.log("PortTaken", "ports", server.ports)
	}
}

// becomeReady asks the probes in order, each until it passes.
func (s *service) becomeReady(ctx context.Context) error {
	timeout := or(s.svc.ReadyTimeout, defaultReadyTimeout)
	over, cancel := context.WithTimeoutCause(ctx, timeout, errNotReady)
	defer cancel()
	p := s.prober()
	defer p.client.CloseIdleConnections()
	tick := time.NewTicker(or(s.svc.ProbeEvery, defaultProbeEvery))
	defer tick.Stop()
	last := errors.New("no probe was answered")
	for next := 0; next < len(s.svc.Probes); {
		err := s.ask(over, p, s.svc.Probes[next])
		switch {
		case s.server.ended():
			return s.died()
		case err == nil:
			next++
			continue
		case over.Err() == nil:
			last = err
			s.status.must(func(st *rundir.Status) { st.Message = last.Error() })
		}
		select {
		case <-over.Done():
			if ctx.Err() != nil {
				return s.stopped(ctx)
			}
			return endf(rundir.ExitReasonReadinessTimeout, "%s",
				withLog("not ready within "+timeout.String()+": "+last.Error()+": raise readiness.timeout if it only needs longer", s.server.tail()))
		case <-s.server.done:
			return s.died()
		case <-tick.C:
		}
	}
	if s.server.ended() {
		return s.died()
	}
	return nil
}

var errNotReady = errors.New("the readiness timeout is over")

// ask tries one probe, and gives up as soon as the server ends.
func (s *service) ask(ctx context.Context, p *prober, pr rundir.Probe) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered, done := make(chan struct{}), s.server.done
	defer close(answered)
	go func() {
		select {
		case <-done:
			cancel()
		case <-answered:
		}
	}()
	return p.ask(ctx, pr)
}

func (s *service) prober() *prober {
	p := &prober{client: newProbeClient(), host: s.reach, ports: s.server.ports, token: s.token()}
	if len(s.svc.Ports) > 0 {
		p.first = s.svc.Ports[0].Name
	}
	ports := s.server.ports
	p.command = func(ctx context.Context, argv []string) (*exec.Cmd, error) { return s.launch.command(ctx, argv, ports) }
	return p
}

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

// errServerEnded says that the server ended before it was ready.
var errServerEnded = errors.New("the server ended")

// start starts the server for a repeat and waits until its probes pass. A server whose port was taken meanwhile is started
// again with other ports, unless the plan gives a number.
func (s *service) start(ctx context.Context, k int) error {
	if err := s.makeFolders(); err != nil {
		return err
	}
	if err := s.checkGPUs(ctx); err != nil {
		return err
	}
	for try := 1; ; {
		next, err := s.tryStart(ctx, k, try)
		if err != nil || next == try {
			return err
		}
		if try = next; try > portTries {
			return endf(rundir.ExitReasonPortInUse, "the server found its ports in use, with %d choices of free ports", portTries)
		}
	}
}

// tryStart starts the server once. The number that it returns is that of the next try where one is needed.
func (s *service) tryStart(ctx context.Context, k, try int) (int, error) {
	held, err := holdPorts(ctx, s.launch.ports(s.group.place), s.launch.bind)
	if err != nil {
		return try, err
	}
	defer held.release()
	if next, err := s.meet(ctx, k, try, held.numbers); err != nil || next != try {
		return next, err
	}
	server, err := s.launch.start(held)
	if err != nil {
		return try, err
	}
	s.server = server
	s.log("ServerStarted", "server", server.pid(), "ports", server.ports, "try", try)
	s.status.must(func(st *rundir.Status) { st.ServerPID = server.pid() })
	if err = s.becomeReady(ctx, k, try); err == nil {
		return try, nil
	}
	tail := server.tail()
	taken := saysPortInUse(tail)
	s.halt()
	switch p, fixed := fixedPort(s.launch.ports(s.group.place)); {
	case ctx.Err() != nil:
		return try, err
	case errors.Is(err, errOtherTry):
		return try + 1, nil
	case !taken:
		return try, err
	case fixed:
		return try, portInUse(p)
	case try == portTries:
		return try, endf(rundir.ExitReasonPortInUse, "%s", withLog("the server found its port in use, with 4 choices of free ports", tail))
	}
	s.log("PortTaken", "ports", server.ports)
	return try + 1, nil
}

// becomeReady waits for the probes, which are the leader's, or for the leader.
func (s *service) becomeReady(ctx context.Context, k, try int) error {
	var err error
	if s.group.leads() {
		watched, stop := s.watchGroup(ctx, k, try)
		err = s.passProbes(watched)
		if stop(); errors.Is(context.Cause(watched), errOtherTry) {
			return errOtherTry
		}
	} else {
		err = s.follow(ctx, k, try)
	}
	switch {
	case !errors.Is(err, errServerEnded):
		return err
	case saysPortInUse(s.server.tail()):
		return s.died() // at once: the other ranks wait for another try
	}
	return s.fell(ctx, nil)
}

// passProbes asks the probes in order, each until it passes.
func (s *service) passProbes(ctx context.Context) error {
	timeout := or(s.svc.ReadyTimeout, defaultReadyTimeout)
	over, cancel := context.WithTimeoutCause(ctx, timeout, errNotReady)
	defer cancel()
	p := s.prober()
	defer p.client.CloseIdleConnections()
	tick := time.NewTicker(or(s.svc.ProbeEvery, defaultProbeEvery))
	defer tick.Stop()
	last, log := errors.New("no probe was answered"), s.server.watchLog(or(s.svc.LogTimeout, 0))
	for next := 0; next < len(s.svc.Probes); {
		err := s.ask(over, p, s.svc.Probes[next])
		switch {
		case s.server.ended():
			return errServerEnded
		case err == nil:
			next++
			continue
		case over.Err() == nil:
			last = err
			s.status.must(func(st *rundir.Status) { st.Message = last.Error() })
		}
		if log.stalled(time.Now()) {
			return s.notReady(rundir.ExitReasonLogStalled, "its log has stood still for "+log.timeout.String(), "raise readiness.logTimeout if it works in silence")
		}
		select {
		case <-over.Done():
			if ctx.Err() != nil {
				return s.stopped(ctx)
			}
			return s.notReady(rundir.ExitReasonReadinessTimeout, "not ready within "+timeout.String()+": "+last.Error(), "raise readiness.timeout if it only needs longer")
		case <-s.server.done:
			return errServerEnded
		case <-tick.C:
		}
	}
	if s.server.ended() {
		return errServerEnded
	}
	return nil
}

// notReady explains a server that did not get ready in time: by what its log tells, else by what to try.
func (s *service) notReady(reason, how, try string) *ending {
	tail := s.server.tail()
	if why, ok := whySlow(s.server.words(), tail); ok {
		return endf(reason, "%s: %s", how, why)
	}
	return endf(reason, "%s", withLog(how+": "+try, tail))
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

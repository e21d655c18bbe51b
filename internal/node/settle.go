package node

import (
	"context"
	"slices"
	"time"

	"assay.bench/internal/rundir"
)

// settle waits until the server's metrics say everything that it was asked so far.
func (s *service) settle(ctx context.Context) {
	wait := s.svc.Settle()
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.server.done:
	}
}

// probesCount says whether a probe asks for what the clients ask for too, so that a server which counts a moment later
// would count it in the first repeat: a token, or whatever a command does.
func (s *service) probesCount() bool {
	return slices.ContainsFunc(s.svc.Probes, func(p rundir.Probe) bool {
		return p.Type == rundir.ProbeToken || p.Type == rundir.ProbeExec
	})
}

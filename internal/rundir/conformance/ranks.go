package conformance

import (
	"fmt"

	"assay.bench/internal/rundir"
)

// severalRanks: the ranks of a group are one server. The clients reach it through the first; the others are ready with it,
// and a repeat has a new process of each. Several such servers serve side by side.
func severalRanks(r *run, servers, group int) {
	const repeats = 2
	ranks := servers * group
	p := r.plan(repeats)
	s := &p.Services[0]
	s.Ranks, s.Group, s.Worker = ranks, group, &rundir.Worker{Argv: []string{"sleep", "600"}}
	for i := range s.Scrapes {
		s.Scrapes[i].Leader = true
	}
	j := r.start(p)
	processes, endpoints := map[int]bool{}, map[string]bool{}
	r.eventually("the job ends", func() bool {
		for n := range ranks {
			if s := r.status(j.dir, "server", n); s != nil && s.Ready {
				processes[s.ServerPID] = true
				r.checkRank(j.dir, n, group, s)
				if s.Endpoint != nil && s.Repeat == 1 {
					endpoints[fmt.Sprint(s.Endpoint.Host, s.Endpoint.Port)] = true
				}
			}
		}
		return r.exit(j.dir) != nil
	})
	if code := j.wait(); code != rundir.ExitOK || len(processes) != ranks*repeats || processes[0] || len(endpoints) != servers {
		r.t.Errorf("exit code %d, processes %v, endpoints of repeat 1 %v; want 0, %d and %d", code, processes, endpoints, ranks*repeats, servers)
	}
	for n := range ranks {
		r.endedAsPlanned(j.dir, "server", n, repeats)
		for k := 1; k <= repeats; k++ {
			r.wantExit(rundir.Repeat(rundir.Rank(j.dir, "server", n), k), rundir.ExitReasonEnded, rundir.ExitOK)
			if c := r.counters(j.dir, "server", n, k); c.Rank != n || len(c.Targets) > 0 && n%group > 0 {
				r.t.Errorf("counters of rank %d in repeat %d: %+v", n, k, c)
			}
		}
	}
	r.result(j.dir, 0, repeats)
}

// checkRank checks a ready rank of a server of several.
func (r *run) checkRank(attempt string, n, group int, s *rundir.Status) {
	r.t.Helper()
	first := n - n%group
	if (s.Endpoint != nil) != (n == first) {
		r.t.Errorf("the endpoint of rank %d: %+v, want one of rank %d alone", n, s.Endpoint, first)
	}
	if leader := r.status(attempt, "server", first); leader.Repeat < s.Repeat || leader.Repeat == s.Repeat && leader.Phase == rundir.PhaseStarting {
		r.t.Errorf("rank %d is ready for repeat %d, and rank %d says %+v", n, s.Repeat, first, leader)
	}
}

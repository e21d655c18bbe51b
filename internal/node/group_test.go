package node

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
)

// several makes the service one server of several ranks, whose workers run a command.
func (f *fixture) several(ranks int, worker ...string) *rundir.Service {
	s := &f.plan.Services[0]
	s.Ranks, s.Group = ranks, ranks
	s.Worker = &rundir.Worker{Argv: worker, Ports: []rundir.Port{{Name: "peer"}}}
	for i := range s.Scrapes {
		s.Scrapes[i].Leader = true
	}
	return s
}

// waiting is a worker that says its arguments to a file in its folder, and waits.
func waiting(words ...string) []string {
	return append([]string{"sh", "-c", `printf '%s\n' "$@" >>args; exec sleep 300`, "worker"}, words...)
}

// One server of three ranks: each knows the others, the clients talk to the one that leads, and all of them are new in
// each repeat.
func TestServerOfSeveralRanks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sim()
	f.plan.Repeats.Count = 2
	f.several(3, waiting("$(RANK) of $(RANKS)", "$(LEADER):$(LEADER_PORT_HTTP)", "$(EACH)$(RANK)=$(DIR)@$(HOST):$(PORT)")...).Worker.After = "http"
	cmd := f.start()
	servers, leaders, all := f.watchRanks(3)
	if code := f.wait(cmd); code != rundir.ExitOK {
		t.Fatalf("exit code %d", code)
	}
	for name, seen := range servers {
		if len(seen) != 2 || seen[0] {
			t.Errorf("%s ran the processes %v, want one in each repeat", name, seen)
		}
		for k := range 3 {
			if e := f.exit(name, k); e.Reason != rundir.ExitReasonEnded || e.Code != rundir.ExitOK {
				t.Errorf("%s, repeat %d: %+v", name, k, e)
			}
		}
		if got, want := len(f.counters(name, 2).Targets), map[bool]int{true: 1}[name == "sim/0"]; got != want {
			t.Errorf("%s has scraped %d targets, want %d", name, got, want)
		}
	}
	for rank, want := range map[string]string{"sim/1": "1 of 3", "sim/2": "2 of 3"} {
		b, err := os.ReadFile(filepath.Join(f.dirOf(rank), "args"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if len(lines) != 10 || lines[0] != want || !leaders[lines[1]] {
			t.Fatalf("%s was told %q, want %q and one of %v", rank, lines, want, leaders)
		}
		for i, k := range []string{"1", "2"} {
			if diff := cmp.Diff(all[k], lines[5*i+2:5*i+5]); diff != "" {
				t.Errorf("%s, repeat %s: the ranks by their leader and by this one: %s", rank, k, diff)
			}
		}
	}
	f.nothingLeft()
}

// watchRanks looks at the ranks of the service until the client has ended: at the processes that each ran, the addresses of
// the one that leads, and in each repeat at its words for all of them.
func (f *fixture) watchRanks(ranks int) (servers map[string]map[int]bool, leaders map[string]bool, all map[string][]string) {
	servers, leaders, all = map[string]map[int]bool{}, map[string]bool{}, map[string][]string{}
	f.until("the end", func() bool {
		for n := range ranks {
			name := "sim/" + strconv.Itoa(n)
			st := f.status(name)
			if servers[name] == nil {
				servers[name] = map[int]bool{}
			}
			if !st.Ready {
				continue
			}
			servers[name][st.ServerPID] = true
			if (st.Endpoint != nil) != (n == 0) {
				f.t.Errorf("%s: endpoint %+v", name, st.Endpoint)
			}
			if n > 0 || st.Endpoint == nil {
				continue
			}
			leaders[net.JoinHostPort(st.Endpoint.Host, strconv.Itoa(st.Endpoint.Port))] = true
			var words []string
			for i, m := range st.Meeting.All {
				port := m.Ports["http"] + m.Ports["peer"] // it has one of them
				words = append(words, strconv.Itoa(i)+"="+f.rankDir("sim", i)+"@"+net.JoinHostPort(m.Host, strconv.Itoa(port)))
			}
			all[strconv.Itoa(st.Repeat)] = words
		}
		return f.status("load").Phase == rundir.PhaseEnded
	})
	return servers, leaders, all
}

// A rank whose server ends takes the others with it: it says where and why, and nobody else is blamed.
func TestRankThatDies(t *testing.T) {
	t.Parallel()
	tied := func(address string) []string { return []string{os.Args[0], "tied", "$(PORT)", address} }
	cases := map[string]struct {
		reason  string
		arrange func(f *fixture)
		// kill is the rank whose server is killed under load; "" for none.
		kill  string
		cause string
		words []string
	}{
		"a worker at its start": {
			"the leader would wait until the readiness timeout", func(f *fixture) {
				f.several(3, "sh", "-c", "[ $(RANK) = 1 ] && echo 'CUDA error: no device' && exit 7; exec sleep 300")
				f.plan.Services[0].Probes = []rundir.Probe{{Type: rundir.ProbeExec, Argv: []string{"false"}}}
			}, "", "sim/1", []string{"exit code 7", "CUDA error: no device"},
		},
		"a worker under load": {"", func(f *fixture) { f.several(3, "sleep", "300") }, "sim/2", "sim/2", []string{"killed"}},
		"the leader under load": {
			"the workers' servers end with it", func(f *fixture) {
				f.several(2, tied("$(LEADER):$(LEADER_PORT_HTTP)")...)
				f.plan.Services[0].Env = []rundir.EnvVar{{Name: asEnv, Value: "server"}}
				f.plan.Services[0].Argv = append([]string{"env", asEnv + "=assay-node"}, slices.Replace(f.plan.Services[0].Argv, 0, 1, os.Args[0])...)
			}, "sim/0", "sim/0", []string{"killed"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.sim()
			f.plan.Clients[0].Duration = rundir.Duration(time.Minute)
			c.arrange(f)
			cmd := f.start()
			if c.kill != "" {
				f.measuring()
				if err := syscall.Kill(f.status(c.kill).ServerPID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			if code := f.wait(cmd); code != rundir.ExitFailed {
				t.Errorf("exit code %d", code)
			}
			host, err := os.Hostname()
			if err != nil {
				t.Fatal(err)
			}
			where := "rank " + c.cause[len("sim/"):] + " on " + host
			for rank := range f.plan.Services[0].Ranks {
				name := "sim/" + strconv.Itoa(rank)
				want, words := rundir.ExitReasonPeerLost, []string{where, rundir.ExitReasonServiceDied}
				if name == c.cause {
					want, words = rundir.ExitReasonServiceDied, append([]string{where + ": the server ended"}, c.words...)
				}
				e := f.exit(name, 1)
				for _, w := range words {
					if e.Reason != want || !strings.Contains(e.Message, w) {
						t.Errorf("%s: %s: %s; want %s with %q: %s", name, e.Reason, e.Message, want, w, c.reason)
					}
				}
			}
			if e := f.exit("load", 1); e.Reason != rundir.ExitReasonServiceLost || !strings.Contains(e.Message, where) {
				t.Errorf("client: %+v, want ServiceLost with %q", e, where)
			}
			f.nothingLeft()
		})
	}
}

// Replicas are servers of one rank: the workers of a client are dealt out over them.
func TestReplicas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.replicas()
	if code := f.wait(f.start()); code != rundir.ExitOK {
		t.Errorf("exit code %d", code)
	}
	check := rundir.CrossCheck{Target: "engine", Metric: "vllm:generation_tokens_total"}
	first, second := f.counters("sim/0", 1), f.counters("sim/1", 1)
	a, knownA := first.Increase(check)
	b, knownB := second.Increase(check)
	r := f.result("load", 1)
	if all := r.Total("output_tokens").All; !knownA || !knownB || b == 0 || a <= b || int64(a+b) != all {
		t.Errorf("the servers counted %v and %v tokens of %d; two of three workers load the first", a, b, all)
	}
	f.nothingLeft()
}

// replicas are two simulators and a client of three workers.
func (f *fixture) replicas() {
	f.sim()
	f.plan.Services[0].Ranks = 2
	f.plan.Clients[0].ClosedLoop.Concurrency = 3
}

// A replica that dies ends the run: the client that loads it, and the other replicas.
func TestReplicaThatDies(t *testing.T) {
	t.Parallel()
	for name, loaded := range map[string]bool{"under load": true, "without a client": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.replicas()
			f.plan.Clients[0].Duration = rundir.Duration(time.Minute)
			other, reason := "load", rundir.ExitReasonServiceLost
			if !loaded {
				f.plan.Clients = nil
				other, reason = "sim/0", rundir.ExitReasonPeerLost
			}
			cmd := f.start()
			if loaded {
				f.measuring()
			}
			f.until("both servers", func() bool { return f.status("sim/0").Ready && f.status("sim/1").Ready })
			if err := syscall.Kill(f.status("sim/1").ServerPID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			f.wait(cmd)
			if e := f.exit("sim/1", 0); e.Reason != rundir.ExitReasonServiceDied || !strings.HasPrefix(e.Message, "rank 1 on ") {
				t.Errorf("the replica: %+v", e)
			}
			if e := f.exit(other, 0); e.Reason != reason || !strings.Contains(e.Message, rundir.ExitReasonServiceDied) {
				t.Errorf("%s: %+v, want %s", other, e, reason)
			}
			f.nothingLeft()
		})
	}
}

// When the leader is stopped as planned, the servers of the workers end by themselves: nothing has gone wrong.
func TestServersThatEndTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("ok")
	f.sim()
	f.plan.Repeats.Count = 2
	f.plan.Services[0].Env = s.Env
	f.plan.Services[0].Argv = append([]string{"env", asEnv + "=assay-node"}, slices.Replace(f.plan.Services[0].Argv, 0, 1, os.Args[0])...)
	f.several(2, os.Args[0], "tied", "$(PORT)", "$(LEADER):$(LEADER_PORT_HTTP)")
	if code := f.wait(f.start()); code != rundir.ExitOK {
		t.Errorf("exit code %d", code)
	}
	for _, name := range []string{"sim/0", "sim/1"} {
		for k := range 3 {
			if e := f.exit(name, k); e.Reason != rundir.ExitReasonEnded {
				t.Errorf("%s, repeat %d: %+v", name, k, e)
			}
		}
	}
	f.nothingLeft()
}

// A rank that finds its port taken after all asks for other ports: every rank starts anew.
func TestPortTakenOnAnotherRank(t *testing.T) {
	t.Parallel()
	for name, leader := range map[string]bool{"worker": false, "leader": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := f.server("ok")
			tries := filepath.Join(t.TempDir(), "tries")
			taken := []string{os.Args[0], "taken", "$(PORT)", tries}
			// As with every server of several ranks, the leader is not ready before the others' are.
			s.Probes = append(s.Probes, rundir.Probe{Type: rundir.ProbeExec, Argv: []string{"grep", "-q", "xxx", tries}})
			f.several(2, taken...)
			if leader {
				s.Argv, s.Worker.Argv = taken, []string{"sleep", "300"}
			}
			f.plan.Clients = nil
			cmd := f.start()
			f.until("the third start", func() bool { return f.status("sim/0").Ready && f.status("sim/1").Ready })
			for _, name := range []string{"sim/0", "sim/1"} {
				if m := f.status(name).Meeting; m.Try != 3 {
					t.Errorf("%s serves with %+v, want the third try", name, m)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			f.wait(cmd)
			f.nothingLeft()
		})
	}
}

// A rank that never comes is named when the time for readiness is over.
func TestRankThatNeverComes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.server("ok")
	f.several(2, "sleep", "300")
	s.ReadyTimeout = rundir.Duration(2 * time.Second)
	s.Worker.After = "http"
	s.Ports = []rundir.Port{{Name: "other"}, {Name: "http"}} // the leader never listens on its second one
	f.plan.Clients = nil
	if code := f.wait(f.start()); code != rundir.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	e := f.exit("sim/1", 1)
	if e.Reason != rundir.ExitReasonReadinessTimeout || !strings.Contains(e.Message, "(http) of rank 0 on ") {
		t.Errorf("the worker: %+v", e)
	}
	f.nothingLeft()
}

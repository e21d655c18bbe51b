package node

import (
	"testing"
	"time"

	"assay.bench/internal/rundir"
)

// The load begins as late as the most careful client asks, and never earlier than the hosts need.
func TestBarrierLead(t *testing.T) {
	now := time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)
	second := rundir.Duration(time.Second)
	for name, c := range map[string]struct {
		reason string
		leads  []rundir.Duration // of the clients, in the order of the plan
		hosts  []string
		want   time.Duration
		alone  bool
	}{
		"one rank":     {"nobody has to be told", []rundir.Duration{0}, []string{"a"}, 0, true},
		"asked":        {"unless it asks", []rundir.Duration{second}, []string{"a"}, time.Second, false},
		"one host":     {"its files are seen at once", []rundir.Duration{0, 0}, []string{"a", "a"}, leadOneHost, false},
		"two hosts":    {"a network file system shows files late", []rundir.Duration{0, 0}, []string{"a", "b"}, leadManyHosts, false},
		"the greatest": {"the clients start together", []rundir.Duration{second, 7 * second, 3 * second}, []string{"a", "b", "a"}, 7 * time.Second, false},
		"too little":   {"it can only be raised", []rundir.Duration{1, 2}, []string{"a", "b"}, leadManyHosts, false},
	} {
		t.Run(name, func(t *testing.T) {
			plan := &rundir.Plan{}
			for i, lead := range c.leads {
				plan.Clients = append(plan.Clients, rundir.Client{Name: string(rune('p' + i)), Ranks: 1, Lead: lead})
			}
			j := &job{dir: "/attempt", plan: plan}
			leader := &client{spec: &plan.Clients[0], rank: &rank{job: j, name: "p", dir: rundir.Rank(j.dir, "p", 0),
				world: &World{Hostname: c.hosts[0], Now: func() time.Time { return now }}}}
			b, err := leader.newBarrier()
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range b.clients {
				p.status = &rundir.Status{Repeat: 1, Ready: true, Host: c.hosts[i]}
			}
			var announced time.Time
			b.announce = func(t0 time.Time) { announced = t0 }
			s, ok := b.meet(1)
			if !ok || s.t0.Sub(now) != c.want || s.alone != c.alone || !announced.Equal(s.t0) {
				t.Errorf("%s: met %t, T0 in %v, announced in %v, alone %t; want %v, %t", c.reason, ok, s.t0.Sub(now),
					announced.Sub(now), s.alone, c.want, c.alone)
			}
		})
	}
}

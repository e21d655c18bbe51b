package sim_test

import (
	"testing"
	"time"

	nodeside "assay.bench/internal/rundir/conformance"
	"assay.bench/slurmbridge/sim"

	"assay.bench/internal/rundir"
)

func TestPlayer(t *testing.T) {
	nodeside.Run(t, func(t *testing.T) nodeside.Harness {
		clock := newClock()
		c := sim.New(sim.Options{Seed: 1, Now: clock.Now})
		site := c.Site("0123abcd")
		step := func() { clock.Move(20 * time.Millisecond) }
		return nodeside.Harness{
			Jobs: site, Files: site, Origin: "0123abcd", WorkDir: "/work", Node: "/work/bin/assay-node",
			Link:  c.Link,
			Break: func(_ *rundir.Plan, service string) { c.FailComponent(service, rundir.ExitReasonServiceDied) },
			Requeue: func(t *testing.T, id, _ string) int {
				c.Requeue(id)
				for {
					jobs, err := site.List(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if jobs[0].Over() {
						return jobs[0].ExitCode
					}
					step()
				}
			},
			Step: step,
		}
	})
}

//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// The seed of the instants of the kills is in the test's name; ASSAY_SEED runs one again.
func TestKilledControlPlanes(t *testing.T) {
	t.Parallel()
	user.KillPlanes(t, 3)
}

// A control plane that is killed after the last client has started, and never comes back: the node side finishes alone
// and the service ends. One that starts later finds the whole result and submits nothing.
func TestNoControllerIsNeededToFinish(t *testing.T) {
	t.Parallel()
	const idle = 10 * time.Second
	for reason, c := range map[string]struct {
		placement, services string
		jobs                int
		// end is how the service ends, later how long after its client at most.
		end   string
		later time.Duration
	}{
		"a service ends with its last client":   {"SeparateJobs", "Stop", 2, rundir.ExitReasonEnded, idle},
		"a service that is kept ends when idle": {"SharedJob", "Keep", 1, rundir.ExitReasonIdle, idle},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			u.Up()
			u.Must("assay", "kubectl", "apply", "-f", u.Write("measured.yaml", fmt.Sprintf(measured, c.placement, "4s", idle, c.services)))
			u.Await("measured", "load", user.Loads)
			u.KillPlane()
			u.Await("measured", "load", func(s rundir.Status) bool { return s.Phase == rundir.PhaseEnded })
			user.Until(t, "every process of the run has ended", func() bool { return len(u.Processes()) == 0 })

			run := u.Run("measured")
			service, client := u.Exit(u.Rank(run, "sim")), u.Exit(u.Rank(run, "load"))
			if service.Reason != c.end {
				t.Errorf("the service ended with %s: %s, want %s", service.Reason, service.Message, c.end)
			}
			const slack = 5 * time.Second // its last scrape, its stop, and a busy machine
			if after := service.Time.Sub(client.Time); after > c.later+slack {
				t.Errorf("the service ended %s after its client, want at most %s", after, c.later+slack)
			}

			u.Up()
			u.Must("assay", "kubectl", "wait", "--for=condition=Complete", "bm/measured", "--timeout", user.Within.String())
			u.Whole(u.Result(run), 1)
			if records := u.Records(); len(records) != c.jobs {
				t.Errorf("%d jobs were submitted, want %d: %v", len(records), c.jobs, records)
			}
			if attempts, _ := filepath.Glob(filepath.Join(run, "*", "[0-9]*")); len(attempts) != c.jobs {
				t.Errorf("the attempts are %v, want one of each of %d jobs", attempts, c.jobs)
			}
			u.Must("assay", "down")
		})
	}
}

// Of a node side that is killed, batch step and ranks at once, nothing stays: no process, and nothing on the node's disk.
func TestKilledNodes(t *testing.T) {
	t.Parallel()
	for reason, killed := range map[string][]string{
		"the batch system sees the end":           {"/assay-node"},
		"assay settles what nobody else has seen": {"/runner.sh ", "/assay-node"},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			u.Up()
			u.Must("assay", "kubectl", "apply", "-f", u.Write("measured.yaml", fmt.Sprintf(measured, "SharedJob", "60s", 10*time.Second, "Stop")))
			u.Await("measured", "load", user.Loads)
			if len(u.Spools()) == 0 {
				t.Fatal("a client that loads keeps nothing on the node's disk: this test sees nothing")
			}
			// The batch step first, for it would take care of its ranks.
			processes := u.Processes()
			slices.SortFunc(processes, func(a, b user.Process) int { return cmp.Compare(a.Start, b.Start) })
			for _, part := range killed {
				for _, p := range processes {
					if strings.Contains(p.Command, part) {
						_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may have ended by now
					}
				}
			}
			u.Must("assay", "kubectl", "wait", "--for=condition=Complete", "bm/measured", "--timeout", user.Within.String())
			plane := u.Plane()
			user.Until(t, "nothing but the control plane runs", func() bool {
				return !slices.ContainsFunc(u.Processes(), func(p user.Process) bool { return p.PID != plane.PID })
			})
			if left := u.Spools(); len(left) > 0 {
				t.Errorf("the node's disk holds %v", left)
			}
			u.Must("assay", "down")
		})
	}
}

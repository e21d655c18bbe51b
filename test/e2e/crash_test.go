//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

func TestKilledControlPlanes(t *testing.T) {
	t.Parallel()
	user.KillPlanes(t, uint64(time.Now().UnixNano()), 3)
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

//go:build e2e

package testsite

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// A control plane that is killed in mid-run, and comes back when Slurm does not know the job any more: only accounting does,
// or nobody but the run's folder.
func TestNoControllerIsNeeded(t *testing.T) {
	t.Parallel()
	for reason, name := range map[string]string{"accounting knows the job": site.Slurm2205, "only its folder is left": site.Slurm2411Plain} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			finishAlone(t, site.Up(t, name), true)
		})
	}
}

// finishAlone kills assay run in mid-run: the node side finishes alone, the service that was to be kept ends after its
// idle timeout, and with it the allocation. A control plane that comes later finds the whole result and submits nothing.
func finishAlone(t *testing.T, s *site.Site, forgotten bool) {
	t.Helper()
	const idle = 10 * time.Second
	p := comes(t, s, "ssh")
	recipe := p.Write("alone.yaml", p.siteRecipe()+"---\n"+fmt.Sprintf(aBenchmark, "alone", "SharedJob", "4s", idle, "Keep"))
	run := p.Start("assay", "run", recipe, "--output", p.Path("out"))
	var attempt string
	user.Until(t, "the client loads", func() bool {
		found, err := filepath.Glob(filepath.Join(s.Get("WORK"), "*", "default", "alone", "*", "*", "1"))
		if err != nil || len(found) == 0 {
			return false
		}
		attempt = found[0]
		return user.Loads(p.Status(rundir.Rank(attempt, "load", 0)))
	})
	run.Signal(syscall.SIGKILL)
	run.Wait()
	id := claim(t, attempt)
	queue := func(states string) string {
		return s.Sh("squeue -h -o %T -t " + states + " -j " + id + " 2>/dev/null || true")
	}
	user.Until(t, "the allocation ends", func() bool { return queue("running,completing") == "" })
	if forgotten {
		user.Until(t, "Slurm forgets the job", func() bool { return queue("all") == "" })
	}
	checkIdle(t, p, attempt, idle)

	a := p.Do("assay", "attach", p.origin()) // which ends with the control plane
	r := p.Result(p.Path("out"))
	if !good(a, r) {
		t.Errorf("exit code %d, want 0, or 4 for a client that limited the result\n%s%s", a.Code, a.Stdout, a.Stderr)
	}
	p.Whole(r, 1)
	if len(r.Jobs) != 1 || r.Jobs[0].ID != id {
		t.Errorf("the run was in the jobs %+v, want %s alone", r.Jobs, id)
	}
	p.checkAlone(attempt, id)
}

// checkIdle looks at how service and client ended.
func checkIdle(t *testing.T, p *person, attempt string, idle time.Duration) {
	t.Helper()
	service, client := p.Exit(rundir.Rank(attempt, "sim", 0)), p.Exit(rundir.Rank(attempt, "load", 0))
	job := p.Exit(attempt)
	if client.Reason != rundir.ExitReasonEnded || service.Reason != rundir.ExitReasonIdle {
		t.Errorf("the client ended with %s: %s, the service with %s: %s, want it to be idle", client.Reason, client.Message, service.Reason, service.Message)
	}
	const slack = 10 * time.Second // its last scrape, its stop, the end of its step, and a busy machine
	if after := job.Time.Sub(client.Time); after > idle+slack {
		t.Errorf("the job ended %s after its client, want at most %s", after, idle+slack)
	}
}

// checkAlone checks that there was never another job, and never another attempt.
func (p *person) checkAlone(attempt, id string) {
	p.t.Helper()
	if attempts, err := filepath.Glob(filepath.Join(filepath.Dir(attempt), "[0-9]*")); err != nil || len(attempts) != 1 {
		p.t.Errorf("attempts %v, %v, want one", attempts, err)
	}
	for _, line := range p.queued("-t all") {
		if !strings.HasPrefix(line, id+" ") {
			p.t.Errorf("squeue knows %s, want job %s at most", line, id)
		}
	}
	if p.site.Get("ACCOUNTING") == "" {
		return
	}
	if records := p.records(); len(records) != 1 || records[0].id != id {
		p.t.Errorf("accounting knows the jobs %+v, want %s alone", records, id)
	}
}

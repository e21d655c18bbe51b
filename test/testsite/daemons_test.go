//go:build e2e

package testsite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// While slurmdbd is stopped, and then slurmctld for a minute, jobs run and end, wait, and are handed in: nothing is
// concluded from the silence, and afterwards each ends as if nothing had been. Two control planes of one user see the same,
// one through Slurm's programs and one through slurmrestd. Both reach a service through the login node all the while.
func TestSlurmIsAway(t *testing.T) {
	t.Parallel()
	s := site.Up(t, site.Slurm2411)
	planes := map[string]*plane{"ssh": newPlane(t, s, "ssh"), "rest": newPlane(t, s, "rest")}
	spy := planes["rest"].spy()
	blocker := s.Sh("sbatch --parsable -o /dev/null -A p200000 -p cpu -q large -N1 -t 20 --mem=50 --wrap 'sleep 1200'")
	each := func(do func(*plane)) {
		t.Helper()
		for _, p := range planes {
			do(p)
		}
	}
	s.Daemon("stop", "slurmdbd")
	each(func(p *plane) {
		p.apply(benchmark("unaccounted"), benchmark("waits", onlyOne()...), benchmark("runs", "5s", "75s", "    llmsim:", "    readiness: {tunnel: true}\n    llmsim:"), benchmark("ends", "5s", "25s"), deaf)
	})
	each(func(p *plane) { p.measured(p.awaitEnd("unaccounted"), 1) })
	s.Daemon("start", "slurmdbd")

	each(func(p *plane) {
		p.awaitJob("runs", "measures", measuring)
		p.awaitJob("ends", "measures", measuring)
		p.shows()
		p.awaitJob("waits", "waits", func(j v1alpha1.SlurmJob) bool { return j.Status.Waiting != "" })
	})
	s.Daemon("stop", "slurmctld")
	minute := time.After(time.Minute)
	each(func(p *plane) { p.apply(benchmark("late")) })
	each(func(p *plane) {
		p.silent("runs", "True Running")
		p.silent("ends", "True Running")
		p.silent("waits", "")
		p.awaitJob("late", "cannot be handed in", func(j v1alpha1.SlurmJob) bool { // whoever looked first says it
			return is(j.Status.Conditions, v1alpha1.ConditionSynced) == "Unknown SiteUnreachable" ||
				strings.Contains(message(j.Status.Conditions, v1alpha1.ConditionReady), "waits for the Site slurm: the site does not answer")
		})
		p.endsMeanwhile("ends")
	})
	select {
	case <-minute:
	case <-t.Context().Done():
	}
	each(func(p *plane) {
		p.silent("runs", "True Running")
		p.silent("ends", "True Running")
		p.reachable("runs-sim", "True ServiceAnswers", "")
		if id := p.sj("late").Status.JobID; id != "" {
			t.Errorf("a job was handed in to nobody: %s", id)
		}
	})
	s.Daemon("start", "slurmctld")
	s.Sh("scancel " + blocker)
	each(func(p *plane) {
		for _, name := range []string{"runs", "ends", "waits", "late"} {
			p.measured(p.awaitEnd(name), 1)
		}
	})
	spy.report()
}

// deaf is a service that is ready and that nobody can talk to.
const deaf = `apiVersion: assay.bench/v1alpha1
kind: Service
metadata: {name: deaf}
spec:
  site: slurm
  command: {argv: [sleep, "600"], ports: [{name: http}], probes: [{exec: {argv: ["true"]}}]}
  readiness: {tunnel: true}
  resources: {cpusPerTask: 1}
`

// shows: from outside too, a service that serves is told from one that does not.
func (p *plane) shows() {
	p.t.Helper()
	p.reachable("runs-sim", "True ServiceAnswers", "it answers GET /health through the SSH connection of Site slurm")
	p.reachable("deaf", "False ServiceSilent", "cannot connect to ")
	p.u.Must("assay", "kubectl", "delete", "bsvc", "deaf")
}

// reachable waits until a ready Service shows as wanted from outside.
func (p *plane) reachable(service, want, words string) {
	p.t.Helper()
	var s v1alpha1.Service
	p.until(service+" is reachable: "+want, func() bool {
		p.get(kinds+"services/"+service, &s)
		return is(s.Status.Conditions, v1alpha1.ConditionReachable) == want
	}, func() any { return s.Status })
	if !meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionReady) || !strings.Contains(message(s.Status.Conditions, v1alpha1.ConditionReachable), words) {
		p.t.Errorf("%s: %+v, want it ready, and %q", service, s.Status, words)
	}
}

// silent: the job's site does not answer, and the job is where it was.
func (p *plane) silent(benchmark, running string) {
	p.t.Helper()
	j := p.awaitJob(benchmark, "the silence is seen", reason(v1alpha1.ConditionSynced, "Unknown SiteUnreachable"))
	if got := is(j.Status.Conditions, v1alpha1.ConditionRunning); got != running || meta.IsStatusConditionTrue(j.Status.Conditions, v1alpha1.ConditionComplete) {
		p.t.Errorf("%s: in the silence Running is %q, want %q: %+v", benchmark, got, running, j.Status)
	}
}

// endsMeanwhile waits until the job of a benchmark has written its end.
func (p *plane) endsMeanwhile(benchmark string) {
	p.t.Helper()
	path := filepath.Join(p.sj(benchmark).Status.Directory, rundir.ExitFile)
	p.until(path, func() bool { _, err := os.Stat(path); return err == nil }, func() any { return p.sj(benchmark).Status })
}

// A login node that is gone, with every connection, and a node whose slurmd is killed meanwhile: what ran on is found where
// it is, and what was on the node is tried again elsewhere. And what Slurm 22.05 tells otherwise than 24.11: a job that it
// started again, and one that took too much memory.
func TestLoginNodeAndNodeAreLost(t *testing.T) {
	t.Parallel()
	s := site.Up(t, site.Slurm2205)
	p := newPlane(t, s, "ssh")
	p.apply(benchmark("requeued"), greedy("greedy"))
	p.requeued()
	p.outOfMemory()
	p.apply(benchmark("runs", "5s", "75s"), benchmark("ends", "5s", "30s"), benchmark("node", "5s", "45s", "cpusPerTask: 1", "cpusPerTask: 1, exclusive: Node"))
	p.awaitJob("runs", "measures", measuring)
	node := p.awaitJob("node", "measures", measuring).Status.Nodes
	first, _, _ := strings.Cut(strings.NewReplacer("[", "", "-", ",").Replace(node), ",")

	s.Daemon("stop", "sshd")
	// The listener alone was stopped: its children hold the connections.
	s.Root("bash", "-c", "for p in $(pgrep sshd); do kill -KILL $p; done")
	s.Daemon("kill", "slurmd@"+first)
	p.until("the Site is unreachable", func() bool {
		return is(p.siteNow("slurm").Status.Conditions, v1alpha1.ConditionReachable) == "False SiteUnreachable"
	}, func() any { return p.siteNow("slurm").Status })
	p.silent("runs", "True Running")
	p.silent("node", "True Running")
	user.Until(t, "Slurm sees that the node is lost", func() bool {
		return strings.HasPrefix(s.Sh("sinfo -h -N -p cpu -n "+first+" -o %T"), "down")
	})
	p.silent("runs", "True Running")
	p.silent("node", "True Running")
	s.Daemon("start", "sshd")
	p.measured(p.awaitEnd("ends"), 1)
	p.measured(p.awaitEnd("runs"), 1)
	s.Daemon("start", "slurmd@"+first)
	p.measured(p.awaitEnd("node"), 2)
	if a := p.sj("node").Status.Attempts[0]; a.Reason != v1alpha1.ReasonNodeFailure || !strings.Contains(a.Message, "NODE_FAIL") {
		t.Errorf("the first attempt: %+v, want NodeFailure", a)
	}
}

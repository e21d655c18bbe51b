//go:build e2e

package testsite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// What people, limits and nodes do to jobs, side by side on one control plane: each ends in the condition that says what
// happened, and what nobody can mend but the site is tried again.
func TestJobsThatAreDisturbed(t *testing.T) {
	t.Parallel()
	s := site.Up(t, site.Slurm2411)
	minioSIF(t, s)
	p := newPlane(t, s, "ssh")
	spy := p.spy()
	waiting := strings.Join([]string{benchmark("held", onlyOne()...), benchmark("dependent", onlyOne()...), benchmark("dropped", onlyOne()...)}, "---\n")
	blocker := s.Sh("sbatch --parsable -o /dev/null -A p200000 -p cpu -q large -N1 -t 20 --mem=50 --wrap 'sleep 1200'")
	p.apply(benchmark("requeued", "5s", "10s"), benchmark("preempted", preemptible()...), benchmark("cancelled", "5s", "10m"), benchmark("limited", "5s", "10m"),
		greedy("greedy"), waiting, minioBench("objects", s),
		benchmark("suspended", "5s", "10m"), benchmark("endless", "cpusPerTask: 1", "cpusPerTask: 1, qos: test, timeLimit: 1h"))
	cases := map[string]func(*testing.T){}
	for name, try := range map[string]func(*plane){
		"requeue": (*plane).requeued, "preemption": (*plane).preempted, "scancel": (*plane).cancelled,
		"time limit": (*plane).limited, "out of memory": (*plane).outOfMemory, "object storage": func(p *plane) { p.measured(p.awaitEnd("objects"), 1) },
		"held": (*plane).held, "dependency": (*plane).dependent, "scancel in the queue": (*plane).dropped,
		"refused requests": (*plane).refusedRequests, "bad sites": (*plane).badSites, "drained node": (*plane).drained,
		"submit limit": (*plane).tooMany, "suspended": (*plane).suspended, "endless wait": (*plane).endless,
	} {
		cases[name] = func(t *testing.T) { try(p.For(t)) }
	}
	user.AtOnce(t, cases)
	s.Sh("scancel " + blocker)
	p.measured(p.awaitEnd("held"), 1)
	spy.report()
}

// onlyOne are the edits of a benchmark that waits while another job of this user has the QOS.
func onlyOne() []string { return []string{"cpusPerTask: 1", "cpusPerTask: 1, qos: large"} }

// preemptible are the edits of a benchmark whose two parts both may lose their nodes, and that takes all GPUs of one.
func preemptible() []string {
	return []string{
		"duration: 5s", "duration: 20s",
		"cpusPerTask: 1}\n  c", "cpusPerTask: 1, partition: gpu, qos: short-preempt, gpusPerNode: 4}\n  c",
		"cpusPerTask: 1}\n    d", "cpusPerTask: 1, qos: short-preempt}\n    d",
	}
}

// measured: the run came to its end, in so many attempts, and whatever the busy machine did to its numbers.
func (p *plane) measured(b v1alpha1.Benchmark, attempts int32) {
	p.t.Helper()
	outcome, j := b.Status.Runs[len(b.Status.Runs)-1].Outcome, p.sj(b.Name)
	if outcome != results.Passed && outcome != results.MeasurementInvalid {
		p.t.Errorf("%s: %s, want it measured: %s", b.Name, outcome, message(b.Status.Conditions, v1alpha1.ConditionSucceeded))
	}
	if got := is(j.Status.Conditions, v1alpha1.ConditionSucceeded); got != "True Completed" || j.Status.Attempt != attempts {
		p.t.Errorf("%s: its job: Succeeded is %s after %d attempts, want True Completed after %d: %+v", b.Name, got, j.Status.Attempt, attempts, j.Status.Attempts)
	}
}

// ended: the run ended in one attempt, and Benchmark and SlurmJob say why. The Benchmark's reason is an outcome.
func (p *plane) ended(name, outcome, jobReason, attemptReason, words string) {
	p.t.Helper()
	b, j := p.awaitEnd(name), p.sj(name)
	if got := is(b.Status.Conditions, v1alpha1.ConditionSucceeded); got != "False "+outcome {
		p.t.Errorf("%s: the Benchmark: Succeeded is %s, want False %s", name, got, outcome)
	}
	if got := is(j.Status.Conditions, v1alpha1.ConditionSucceeded); got != "False "+jobReason {
		p.t.Errorf("%s: the SlurmJob: Succeeded is %s, want False %s", name, got, jobReason)
	}
	if len(j.Status.Attempts) != 1 || j.Status.Attempts[0].Reason != attemptReason {
		p.t.Errorf("%s: want one attempt that ended with %s: %+v", name, attemptReason, j.Status.Attempts)
	}
	if said := message(b.Status.Conditions, v1alpha1.ConditionSucceeded); !strings.Contains(said, words) {
		p.t.Errorf("%s: the Benchmark says %q, want %q in it", name, said, words)
	}
}

// requeued: Slurm starts the same job again, which does no work; a new attempt begins anew.
func (p *plane) requeued() {
	j := p.awaitJob("requeued", "measures", measuring)
	p.site.Sh(fmt.Sprintf("scontrol update JobId=%s Requeue=1 && scontrol requeue %[1]s", j.Status.JobID))
	p.measured(p.awaitEnd("requeued"), 2)
	if first := p.sj("requeued").Status.Attempts[0]; first.Reason != v1alpha1.ReasonRequeued || first.JobID != j.Status.JobID {
		p.t.Errorf("the first attempt: %+v, want job %s Requeued", first, j.Status.JobID)
	}
}

// preempted: a job of a higher QOS takes the GPUs of its node, for some seconds; a new attempt gets them after that.
func (p *plane) preempted() {
	j := p.awaitJob("preempted", "measures", measuring)
	node := p.site.Sh("squeue -h -o '%i %N' -j " + j.Status.JobID + " | sed -n 's/.*+0 //p'") // the server's
	p.site.Sh("sbatch --parsable -o /dev/null -A p200000 -p gpu -q urgent -N1 -t 5 --mem=50 --gres=gpu:4 -w " + node + " --wrap 'sleep 3'")
	p.measured(p.awaitEnd("preempted"), 2)
	if first := p.sj("preempted").Status.Attempts[0]; first.Reason != v1alpha1.ReasonPreempted || first.JobID != j.Status.JobID {
		p.t.Errorf("the first attempt: %+v, want job %s Preempted", first, j.Status.JobID)
	}
}

func (p *plane) cancelled() {
	j := p.awaitJob("cancelled", "measures", measuring)
	p.site.Sh("scancel " + j.Status.JobID)
	p.ended("cancelled", v1alpha1.ReasonAborted, v1alpha1.ReasonAborted, v1alpha1.ReasonCancelled, "job "+j.Status.JobID+" was cancelled at the batch system")
}

// limited has its time limit lowered while it runs, as a site's staff may.
func (p *plane) limited() {
	j := p.awaitJob("limited", "measures", measuring)
	p.site.Sh("scontrol update JobId=" + j.Status.JobID + " TimeLimit=1")
	p.ended("limited", v1alpha1.ReasonTimedOut, v1alpha1.ReasonTimedOut, v1alpha1.ReasonTimeLimit, "reached its time limit")
	r := p.u.Result(filepath.Join(p.sj("limited").Status.Directory, "..", ".."))
	if part := r.Clients[0].Repeats[0]; part.Whole || part.Reason == "" || r.Clients[0].Measured.Succeeded == 0 {
		p.t.Errorf("limited: whole %t, %q, %+v; want what was measured up to the limit, marked as partial", part.Whole, part.Reason, r.Clients[0].Measured)
	}
}

// greedy is a server that takes all memory once it is ready.
func greedy(name string) string {
	return benchmark(name, "5s", "5m", "llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}",
		`command: {argv: [bash, -c, "echo up; sleep 2; exec tail /dev/zero"], ports: [{name: http}], probes: [{exec: {argv: ["true"]}}], model: m, protocol: OpenAI}`)
}

// outOfMemory is a failure of the server, whether Slurm looked at its memory or the kernel did: nothing is tried again.
func (p *plane) outOfMemory() {
	b, j := p.awaitEnd("greedy"), p.sj("greedy")
	if got := is(b.Status.Conditions, v1alpha1.ConditionSucceeded); got != "False "+v1alpha1.ReasonFailed {
		p.t.Errorf("greedy: the Benchmark: Succeeded is %s, want False Failed", got)
	}
	if said := message(b.Status.Conditions, v1alpha1.ConditionSucceeded); !strings.Contains(said, "service sim: "+rundir.ExitReasonOutOfMemory+": ") || len(j.Status.Attempts) != 1 {
		p.t.Errorf("greedy: %s: %+v, want one attempt, in which the server ended", said, j.Status.Attempts)
	}
}

// held is put on hold by root while it waits: that hold is not ours to lift.
func (p *plane) held() {
	j := p.awaitJob("held", "waits", func(j v1alpha1.SlurmJob) bool { return strings.HasPrefix(j.Status.Waiting, "QOSMaxJobsPerUserLimit (") })
	p.site.Root("scontrol", "hold", j.Status.JobID)
	j = p.awaitJob("held", "is held", reason(v1alpha1.ConditionScheduled, "False Held"))
	if said := message(j.Status.Conditions, v1alpha1.ConditionScheduled); !strings.Contains(said, "job "+j.Status.JobID+" waits: JobHeldAdmin") {
		p.t.Errorf("the condition says %q, want Slurm's own word", said)
	}
	if b := p.bm("held"); is(b.Status.Conditions, v1alpha1.ConditionReady) == "" || is(b.Status.Conditions, v1alpha1.ConditionStalled) != "" {
		p.t.Errorf("the Benchmark: %+v, want it to wait", b.Status.Conditions)
	}
	p.site.Root("scontrol", "release", j.Status.JobID)
	p.awaitJob("held", "waits again", func(j v1alpha1.SlurmJob) bool { return strings.HasPrefix(j.Status.Waiting, "QOSMaxJobs") })
}

// dependent waits for a job that will never succeed: for ever, until somebody deletes it.
func (p *plane) dependent() {
	j := p.awaitJob("dependent", "waits", func(j v1alpha1.SlurmJob) bool { return j.Status.Waiting != "" })
	first := p.site.Sh("sbatch --parsable --hold " + job + "--wrap true")
	p.site.Sh(fmt.Sprintf("scontrol update JobId=%s Dependency=afterok:%s && scancel %[2]s", j.Status.JobID, first))
	j = p.awaitJob("dependent", "can never start", reason(v1alpha1.ConditionScheduled, "False Unschedulable"))
	if said := message(j.Status.Conditions, v1alpha1.ConditionScheduled); !strings.Contains(said, "DependencyNeverSatisfied") {
		p.t.Errorf("the condition says %q, want Slurm's own word", said)
	}
	p.u.Must("assay", "kubectl", "delete", "bm/dependent", "--timeout", user.Within.String())
	p.until("Slurm has ended the job of the Benchmark that was deleted", func() bool {
		return strings.HasPrefix(p.site.Sh("sacct -X -P -n -o state -j "+j.Status.JobID), "CANCELLED")
	}, func() any { return j.Status })
}

// dropped is cancelled by hand before it ever ran.
func (p *plane) dropped() {
	j := p.awaitJob("dropped", "waits", func(j v1alpha1.SlurmJob) bool { return j.Status.Waiting != "" })
	p.site.Sh("scancel " + j.Status.JobID)
	p.ended("dropped", v1alpha1.ReasonAborted, v1alpha1.ReasonAborted, v1alpha1.ReasonCancelled, "was cancelled at the batch system")
}

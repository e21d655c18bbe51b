package slurmjob

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// What makes a job wait stands there in Slurm's own word, and what it means beside it.
func TestWaitingWordsMean(t *testing.T) {
	cases := map[string]string{
		"QOSMaxJobsPerUserLimit":                    "no more of your jobs may run at once",
		"QOSMaxWallDurationPerJobLimit":             "the time limit is longer",
		"QOSMaxGRESPerUser":                         "with your other jobs",
		"QOSMaxNodePerJobLimit":                     "one job may not ask for so much",
		"QOSMaxSubmitJobPerUserLimit":               "no more jobs may be handed in",
		"QOSMinGRES":                                "one job has to ask for more",
		"QOSGrpCpuLimit":                            "the jobs of this QOS have all",
		"AssocGrpGRES":                              "the jobs of this account have all",
		"AssocGrpCPUMinutesLimit":                   "the time that was granted is used up",
		"AssocGrpBillingMinutes":                    "the time that was granted is used up",
		"AssocMaxJobsLimit":                         "no more of your jobs",
		"PartitionTimeLimit":                        "the time limit is longer than the partition allows",
		"InvalidQOS":                                "may not use the QOS",
		"ReqNodeNotAvail, UnavailableNodes:mel2001": "the nodes that it needs are down",
		"ReqNodeNotAvail, Reserved for maintenance": "keeps its nodes for maintenance",
		"DependencyNeverSatisfied":                  "it never starts",
		"JobHeldAdmin":                              "staff hold it",
		"ReservationDeleted":                        "correct resources.reservation",
		"Priority":                                  "",
		"Resources":                                 "",
		"":                                          "",
		"InvalidAccountX":                           "",
		"Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions": "when nodes come back",
		"launch failed requeued held": "",
		"Dependency":                  "",
	}
	for reason, want := range cases {
		got := means(reason)
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s means %q, want %q", reason, got, want)
		}
		if words := waitingFor(reason); !strings.HasPrefix(words, reason) || len(words) > 512 {
			t.Errorf("%q does not begin with Slurm's own word, or is too long", words)
		}
	}
}

func FuzzWaitingFor(f *testing.F) {
	f.Add("QOSMaxJobsPerUserLimit")
	f.Add("ReqNodeNotAvail, UnavailableNodes:mel[2001-2004]")
	f.Fuzz(func(t *testing.T, reason string) {
		if !strings.HasPrefix(waitingFor(reason), reason) {
			t.Errorf("%q does not begin with %q", waitingFor(reason), reason)
		}
	})
}

// How a job ended that the site, a limit or the kernel has ended.
func TestEndingWords(t *testing.T) {
	over := func(phase slurmbridge.Phase, reason, state string) func(*world) {
		return seeing(batch(phase, func(j *slurmbridge.Job) { j.Reason, j.State = reason, state }))
	}
	limits := func(w *world) {
		w.plan.TimeLimit = rundir.Duration(90e9)
		w.plan.Services = []rundir.Service{{Name: "server", Ranks: 1, Resources: rundir.Resources{MemoryMiB: 2048}}}
	}
	none := func(w *world) { w.overFor = 1e12 }
	cases := map[string]struct {
		reason string
		seen   world
		want   string
	}{
		"memory, as Slurm says": {"what to raise, and from what", open(both(both(over(slurmbridge.Failed, "OutOfMemory", "OUT_OF_MEMORY"), ranksEnded("ServiceDied", 1)), limits)),
			"OutOfMemory: job 4711 used more memory than it had (OUT_OF_MEMORY), and it asked for 2048 MiB on each node: raise resources.memory, or let it need less; LoadClient"},
		"memory, without a limit": {"the site's default", open(both(over(slurmbridge.Failed, "OutOfMemory", "OUT_OF_MEMORY"), none)),
			"OutOfMemory: job 4711 used more memory than it had (OUT_OF_MEMORY), and it asked for no amount, so the site's default counted: raise"},
		"memory, as the node says": {"the component has told it already", open(both(over(slurmbridge.Failed, "OutOfMemory", "OUT_OF_MEMORY"), ranksEnded("OutOfMemory", 1))), "OutOfMemory: LoadClient"},
		"preempted": {"which QOS is not", open(both(over(slurmbridge.Interrupted, "Preempted", "PREEMPTED"), none)),
			"Preempted: the site gave the nodes of job 4711 to another one (PREEMPTED); choose a QOS that is not preempted"},
		"node":       {"which one", open(both(over(slurmbridge.Interrupted, "NodeFailure", "NODE_FAIL"), none)), "NodeFailure: node mel2001 failed (job 4711: NODE_FAIL)"},
		"time limit": {"what to raise, and from what", open(both(both(over(slurmbridge.Failed, "TimeLimit", "TIMEOUT"), ranksEnded("TimeLimit", 1)), limits)), "TimedOut: job 4711 reached its time limit of 1m30s: raise resources.timeLimit;"},
		"module": {"job.sh has told it", open(both(over(slurmbridge.Failed, "NonZeroExit", "FAILED"), func(w *world) {
			w.exit, w.read = &rundir.Exit{Version: 1, Reason: rundir.ExitReasonModuleMissing, Code: 1, Message: "module load a failed: it says: x"}, true
		})), "ModuleMissing: module load a failed: it says: x"},
	}
	for name, c := range cases {
		job := sj(try(v1alpha1.AttemptRunning, func(a *v1alpha1.Attempt) { a.Number = 3 }))
		d := decide(job, c.seen, noon)
		ready := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
		if got := ready.Reason + ": " + ready.Message; !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s: %q, want it to begin with %q", name, c.reason, got, c.want)
		}
	}
}

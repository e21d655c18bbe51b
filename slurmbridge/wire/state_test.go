package wire

import (
	"fmt"
	"slices"
	"testing"

	"assay.bench/slurmbridge"
)

// Every base state and every flag alone, as text prints them, and as sacct decorates them.
func TestMeaningOfOneWord(t *testing.T) {
	want := map[string]string{
		"PENDING": "Pending Queued", "RUNNING": "Running Running", "SUSPENDED": "Running Suspended", "COMPLETED": "Succeeded Completed",
		"CANCELLED": "Failed Cancelled", "FAILED": "Failed NonZeroExit", "TIMEOUT": "Failed TimeLimit", "NODE_FAIL": "Interrupted NodeFailure",
		"PREEMPTED": "Interrupted Preempted", "BOOT_FAIL": "Interrupted BootFailure", "DEADLINE": "Failed Deadline", "OUT_OF_MEMORY": "Failed OutOfMemory",
		"COMPLETING": "Running Finalizing", "STAGE_OUT": "Running Finalizing", "SPECIAL_EXIT": "Pending SpecialExitHeld",
		"REQUEUE_HOLD": "Pending Held", "RESV_DEL_HOLD": "Pending Held", "REQUEUED": "Pending Requeued", "REQUEUE_FED": "Pending Requeued",
		"EXPEDITING": "Pending ExpeditedRequeue", "CONFIGURING": "Pending NodesBooting", "POWER_UP_NODE": "Pending NodesBooting",
		"STOPPED": "Running Suspended", "RESIZING": "Running Resizing", "SIGNALING": "Running Signaling", "RECONFIG_FAIL": "Interrupted BootFailure",
		"LAUNCH_FAILED": "Interrupted LaunchFailure", "GETENV_FAILED": "Interrupted LaunchFailure", "REVOKED": "Unknown Revoked",
		"CANCELLED by 1000": "Failed Cancelled", "CANCELLED+": "Failed Cancelled", "OUT_OF_ME+": "Unknown UnknownState",
		"": "Unknown UnknownState", "SOMETHING_NEW": "Unknown UnknownState", "UPDATE_DB": "Unknown StateNotPrinted", "pending": "Pending Queued",
	}
	if n := len(bases()) + len(flags()); n != 29 {
		t.Errorf("%d words are known, want the 12 states and the 17 flags", n)
	}
	for _, m := range append(bases(), flags()...) {
		if _, ok := want[m.word]; !ok {
			t.Errorf("%s is not in this table", m.word)
		}
	}
	for word, w := range want {
		if phase, reason := Meaning(word); fmt.Sprint(phase, " ", reason) != w {
			t.Errorf("%q is %s %s, want %s", word, phase, reason, w)
		}
	}
}

// Every base state beside every flag, as JSON prints them, in either order: while nodes are not free the job is not over,
// a job in the queue is not over, and no pair is left to a default.
func TestMeaningOfEveryPair(t *testing.T) {
	for _, base := range bases() {
		for _, flag := range flags() {
			phase, reason := Meaning(base.word, flag.word)
			if p, r := Meaning(flag.word, base.word); p != phase || r != reason {
				t.Errorf("%s %s is %s %s, in the other order %s %s", base.word, flag.word, phase, reason, p, r)
			}
			want := flag.phase
			if base.phase == slurmbridge.Pending && want == slurmbridge.Interrupted {
				want = slurmbridge.Pending
			}
			if phase != want || reason != flag.reason {
				t.Errorf("%s with %s is %s %s, want %s %s", base.word, flag.word, phase, reason, want, flag.reason)
			}
			if p, _ := Meaning(base.word, flag.word, "SOMETHING_NEW"); p != slurmbridge.Unknown {
				t.Errorf("%s with %s and a word that nobody knows is %s", base.word, flag.word, p)
			}
		}
		if p, r := Meaning(base.word, "UPDATE_DB"); p != base.phase || r != base.reason {
			t.Errorf("%s with UPDATE_DB is %s %s", base.word, p, r)
		}
		for _, other := range bases() {
			if p, _ := Meaning(base.word, other.word); p != slurmbridge.Unknown {
				t.Errorf("%s and %s at once is %s, want Unknown", base.word, other.word, p)
			}
		}
	}
}

// Of several flags the one that says most about the nodes counts.
func TestMeaningOfSeveralFlags(t *testing.T) {
	for _, c := range []struct {
		words []string
		phase slurmbridge.Phase
	}{
		{[]string{"PENDING", "REQUEUED", "COMPLETING"}, slurmbridge.Running},
		{[]string{"FAILED", "COMPLETING", "LAUNCH_FAILED"}, slurmbridge.Running},
		{[]string{"RUNNING", "CONFIGURING", "POWER_UP_NODE"}, slurmbridge.Pending},
		{[]string{"FAILED", "LAUNCH_FAILED", "UPDATE_DB"}, slurmbridge.Interrupted},
		{nil, slurmbridge.Unknown},
	} {
		if p, _ := Meaning(c.words...); p != c.phase {
			t.Errorf("%v is %s, want %s", c.words, p, c.phase)
		}
	}
}

// A reason that no time cures is told from one that waiting cures, and a hold from both.
func TestReasonsOfWaiting(t *testing.T) {
	want := map[string]string{
		"Priority": ReasonQueued, "Resources": ReasonQueued, "Dependency": ReasonQueued, "QOSMaxJobsPerUserLimit": ReasonQueued,
		"QOSMaxJobsLimit": ReasonQueued, "AssocGrpGRES": ReasonQueued, "ReqNodeNotAvail, UnavailableNodes:mel2001": ReasonQueued, "None": ReasonQueued, "": ReasonQueued,
		"BadConstraints": ReasonUnschedulable, "PartitionTimeLimit": ReasonUnschedulable, "QOSMaxWallDurationPerJobLimit": ReasonUnschedulable,
		"AssocMaxCpuPerJobLimit": ReasonUnschedulable, "QOSMinGRES": ReasonQueued, "DependencyNeverSatisfied": ReasonUnschedulable, "InvalidAccount": ReasonUnschedulable,
		"JobHeldUser": ReasonHeld, "JobHeldAdmin": ReasonHeld, "launch failed requeued held": ReasonLaunchFailure, "launch_failed_requeued_held": ReasonLaunchFailure,
	}
	for words, reason := range want {
		j := slurmbridge.Job{Message: words}
		settle(&j, false, "PENDING")
		held := slices.Contains(heldWords(), words)
		if j.Reason != reason || j.Held != held || j.Phase != slurmbridge.Pending {
			t.Errorf("a job that waits for %q: %+v, want %s", words, j, reason)
		}
	}
	j := slurmbridge.Job{Message: "BadConstraints"}
	if settle(&j, true, "PENDING"); j.Held || j.Reason != ReasonUnschedulable {
		t.Errorf("a job whose priority slurmctld took, for no node could run it: %+v, want it not held", j)
	}
	j = slurmbridge.Job{Message: "Priority"}
	if settle(&j, true, "PENDING"); !j.Held {
		t.Error("a waiting job of priority 0 is held")
	}
	if settle(&j, true, "RUNNING"); j.Reason != ReasonRunning {
		t.Errorf("a running job: %+v", j)
	}
}

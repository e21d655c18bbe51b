// Package wire reads what Slurm prints: the delimited text of squeue and sacct, which is the same from 22.05 to 26.05, the
// JSON of slurmrestd, which is not, and the words with which Slurm refuses.
package wire

import (
	"slices"
	"strings"

	"assay.bench/slurmbridge"
)

// Reasons that the state of a job gives. They are words for a condition.
const (
	ReasonQueued          = "Queued"
	ReasonHeld            = "Held"
	ReasonRequeued        = "Requeued"
	ReasonSpecialExit     = "SpecialExitHeld"
	ReasonExpedited       = "ExpeditedRequeue"
	ReasonBooting         = "NodesBooting"
	ReasonUnschedulable   = "Unschedulable"
	ReasonRunning         = "Running"
	ReasonSuspended       = "Suspended"
	ReasonResizing        = "Resizing"
	ReasonSignaling       = "Signaling"
	ReasonFinalizing      = "Finalizing"
	ReasonCompleted       = "Completed"
	ReasonNonZeroExit     = "NonZeroExit"
	ReasonCancelled       = "Cancelled"
	ReasonTimeLimit       = "TimeLimit"
	ReasonDeadline        = "Deadline"
	ReasonOutOfMemory     = "OutOfMemory"
	ReasonNodeFailure     = "NodeFailure"
	ReasonBootFailure     = "BootFailure"
	ReasonPreempted       = "Preempted"
	ReasonLaunchFailure   = "LaunchFailure"
	ReasonRevoked         = "Revoked"
	ReasonUnknownState    = "UnknownState"
	ReasonStateNotPrinted = "StateNotPrinted"
)

// meaning is what one word of a state says.
type meaning struct {
	word   string
	phase  slurmbridge.Phase
	reason string
}

// bases are the twelve states of slurm.h (enum job_states).
func bases() []meaning {
	return []meaning{
		{"PENDING", slurmbridge.Pending, ReasonQueued},
		{"RUNNING", slurmbridge.Running, ReasonRunning},
		{"SUSPENDED", slurmbridge.Running, ReasonSuspended},
		{"COMPLETED", slurmbridge.Succeeded, ReasonCompleted},
		{"CANCELLED", slurmbridge.Failed, ReasonCancelled},
		{"FAILED", slurmbridge.Failed, ReasonNonZeroExit},
		{"TIMEOUT", slurmbridge.Failed, ReasonTimeLimit},
		{"NODE_FAIL", slurmbridge.Interrupted, ReasonNodeFailure},
		{"PREEMPTED", slurmbridge.Interrupted, ReasonPreempted},
		{"BOOT_FAIL", slurmbridge.Interrupted, ReasonBootFailure},
		{"DEADLINE", slurmbridge.Failed, ReasonDeadline},
		{"OUT_OF_MEMORY", slurmbridge.Failed, ReasonOutOfMemory},
	}
}

// flags are the flags of slurm.h beside a base state, the one that decides first. Text output prints a flag instead of
// the base state that it hides, so each has a meaning of its own.
func flags() []meaning {
	return []meaning{
		// The nodes are not free yet, whatever comes after.
		{"COMPLETING", slurmbridge.Running, ReasonFinalizing},
		{"STAGE_OUT", slurmbridge.Running, ReasonFinalizing},
		// The job is in the queue again.
		{"SPECIAL_EXIT", slurmbridge.Pending, ReasonSpecialExit},
		{"REQUEUE_HOLD", slurmbridge.Pending, ReasonHeld},
		{"RESV_DEL_HOLD", slurmbridge.Pending, ReasonHeld},
		{"REQUEUED", slurmbridge.Pending, ReasonRequeued},
		{"REQUEUE_FED", slurmbridge.Pending, ReasonRequeued},
		{"EXPEDITING", slurmbridge.Pending, ReasonExpedited},
		// It has nodes that are not there yet.
		{"CONFIGURING", slurmbridge.Pending, ReasonBooting},
		{"POWER_UP_NODE", slurmbridge.Pending, ReasonBooting},
		// It has them.
		{"STOPPED", slurmbridge.Running, ReasonSuspended},
		{"RESIZING", slurmbridge.Running, ReasonResizing},
		{"SIGNALING", slurmbridge.Running, ReasonSignaling},
		// The site's fault.
		{"RECONFIG_FAIL", slurmbridge.Interrupted, ReasonBootFailure},
		{"LAUNCH_FAILED", slurmbridge.Interrupted, ReasonLaunchFailure},
		{"GETENV_FAILED", slurmbridge.Interrupted, ReasonLaunchFailure},
		// A sibling in a federation owns the job, and only it knows how it goes.
		{"REVOKED", slurmbridge.Unknown, ReasonRevoked},
	}
}

// ignored are flags that change nothing: what slurmctld still has to tell its database.
const ignored = "UPDATE_DB"

// Meaning classifies a state: one word of text output, or the base state and the flags of JSON. sacct's "CANCELLED by
// 1000" and "CANCELLED+" are CANCELLED. A word that we do not know makes it Unknown, whatever stands beside it.
func Meaning(words ...string) (slurmbridge.Phase, string) {
	base, flag := meaning{}, meaning{}
	all, rank := flags(), len(flags())
	for _, w := range words {
		w = normal(w)
		if w == ignored {
			continue
		}
		if i := slices.IndexFunc(all, func(m meaning) bool { return m.word == w }); i >= 0 {
			if i < rank {
				rank, flag = i, all[i]
			}
			continue
		}
		i := slices.IndexFunc(bases(), func(m meaning) bool { return m.word == w })
		if i < 0 || base.word != "" {
			return slurmbridge.Unknown, ReasonUnknownState
		}
		base = bases()[i]
	}
	switch {
	case flag.word == "" && base.word == "":
		return slurmbridge.Unknown, ReasonStateNotPrinted
	case flag.word == "":
		return base.phase, base.reason
	case base.phase == slurmbridge.Pending && flag.phase == slurmbridge.Interrupted:
		return slurmbridge.Pending, flag.reason // it failed to start and is in the queue again
	}
	return flag.phase, flag.reason
}

// normal is a word without what sacct adds to it.
func normal(word string) string {
	word, _, _ = strings.Cut(strings.TrimSpace(word), " ")
	return strings.ToUpper(strings.TrimSuffix(word, "+"))
}

// heldWords are reasons of a job that waits for a release, beside a priority of 0.
func heldWords() []string {
	return []string{
		"JobHeldUser", "JobHeldAdmin", "job requeued in held state", "JobRequeuedInHeldState", "launch failed requeued held",
		"launch_failed_requeued_held", "job requeued in special exit state", "ReservationDeleted",
	}
}

// launchFailed says that a job waits because its nodes could not start it.
func launchFailed(reason string) bool {
	return reason == "launch failed requeued held" || reason == "launch_failed_requeued_held"
}

// hopeless says that a job that waits for this reason waits for ever, unless somebody changes the job or the site.
func hopeless(reason string) bool {
	switch reason {
	case "BadConstraints", "PartitionTimeLimit", "PartitionNodeLimit", "AssociationTimeLimit", "QOSTimeLimit", "InvalidAccount",
		"InvalidQOS", "DependencyNeverSatisfied", "AccountNotAllowed", "QOSNotAllowed", "QOSUsageThreshold":
		return true
	}
	for _, limit := range []string{"PerJob", "MinBelow", "MinNode", "MaxWallDuration"} {
		if strings.Contains(reason, limit) && (strings.HasPrefix(reason, "QOS") || strings.HasPrefix(reason, "Assoc") || strings.HasPrefix(reason, "MaxMem")) {
			return true
		}
	}
	return false
}

// settle fills in what the state of a job, its reason and its priority mean together.
func settle(j *slurmbridge.Job, priorityZero bool, words ...string) {
	j.Phase, j.Reason = Meaning(words...)
	if j.Phase == slurmbridge.Failed && j.Reason == ReasonNonZeroExit && hopeless(j.Message) {
		j.Reason = ReasonUnschedulable // it never began
	}
	if j.Phase != slurmbridge.Pending {
		return
	}
	if launchFailed(j.Message) {
		j.Reason = ReasonLaunchFailure
	}
	// Slurm itself takes the priority of a job that no node could run: only root can give it back, so it is no hold of ours.
	j.Held = priorityZero && j.Message != "BadConstraints" || slices.Contains(heldWords(), j.Message)
	switch {
	case j.Reason != ReasonQueued:
	case j.Held:
		j.Reason = ReasonHeld
	case hopeless(j.Message):
		j.Reason = ReasonUnschedulable
	}
}

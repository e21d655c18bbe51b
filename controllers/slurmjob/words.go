package slurmjob

import (
	"fmt"
	"strings"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// explanation is what a word of the batch system means to a user. A word is known by its parts, in this order; one that
// begins with = is the whole word.
type explanation struct {
	parts []string
	means string
}

// waitingWords are the reasons for which jobs wait that a user can do something about, or will wonder at. The first that
// fits counts. Slurm's own word stands before it, so what it says is not said again.
func waitingWords() []explanation {
	return []explanation{
		{[]string{"Max", "WallDuration"}, "the time limit is longer than it allows: lower resources.timeLimit, or take another QOS"},
		{[]string{"=PartitionTimeLimit"}, "the time limit is longer than the partition allows: lower resources.timeLimit, or take another partition"},
		{[]string{"AssociationTimeLimit"}, "the time limit is longer than the account allows: lower resources.timeLimit"},
		{[]string{"QOSTimeLimit"}, "the time limit is longer than the QOS allows: lower resources.timeLimit, or take another QOS"},
		{[]string{"=PartitionNodeLimit"}, "the partition has fewer nodes, or gives one job fewer: lower resources.nodes, or take another partition"},
		{[]string{"Submit"}, "no more jobs may be handed in: it goes on when others end"},
		{[]string{"Max", "Jobs"}, "no more of your jobs may run at once: it starts when one of them ends, or in another QOS"},
		{[]string{"Grp", "Jobs"}, "no more jobs of all that share the limit may run at once: it starts when one of them ends"},
		{[]string{"Grp", "Minutes"}, "the time that was granted is used up: ask the site for more, or use another account"},
		{[]string{"Grp", "Billing"}, "what was granted is used up: ask the site for more, or use another account"},
		{[]string{"PerJob"}, "one job may not ask for so much: lower resources, or take another QOS"},
		{[]string{"Min"}, "one job has to ask for more than this: take another QOS or partition"},
		{[]string{"QOSMax", "PerUser"}, "with your other jobs this is more than one user may have: it starts when they end, or ask for less"},
		{[]string{"QOSMax"}, "this is more than the QOS lets one user or account have: it starts when other jobs end, or ask for less"},
		{[]string{"AssocMax"}, "this is more than the account may have at once: it starts when other jobs end, or ask for less"},
		{[]string{"QOSGrp"}, "the jobs of this QOS have all that it may use: it starts when they end, or in another QOS"},
		{[]string{"AssocGrp"}, "the jobs of this account have all that it may use: it starts when they end, or ask for less"},
		{[]string{"MaxMemPerLimit"}, "this is more memory than the partition gives: lower resources.memory, or take another partition"},
		{[]string{"=InvalidAccount"}, "this user may not use the account, or it is gone: correct resources.account"},
		{[]string{"=AccountNotAllowed"}, "the partition does not take this account: correct resources.account or partition"},
		{[]string{"=InvalidQOS"}, "this user or account may not use the QOS: correct resources.qos"},
		{[]string{"=QOSNotAllowed"}, "the partition or account does not take this QOS: correct resources.qos or partition"},
		{[]string{"=BadConstraints"}, "no node has all that was asked for together: correct resources"},
		{[]string{"=DependencyNeverSatisfied"}, "what it depends on ended otherwise: it never starts"},
		{[]string{"=JobHeldAdmin"}, "the site's staff hold it: ask them"},
		{[]string{"=ReservationDeleted"}, "its reservation is gone: correct resources.reservation"},
		{[]string{"Maintenance"}, "the site keeps its nodes for maintenance, and the time limit reaches into it: lower resources.timeLimit to start before"},
		{[]string{"maintenance"}, "the site keeps its nodes for maintenance, and the time limit reaches into it: lower resources.timeLimit to start before"},
		{[]string{"ReqNodeNotAvail"}, "the nodes that it needs are down or kept for others"},
		{[]string{"Nodes required for job are DOWN"}, "it starts when nodes come back; sinfo -R says why they are away"},
		{[]string{"=PartitionDown"}, "the partition starts no jobs now: wait, or take another one"},
		{[]string{"=PartitionInactive"}, "the partition is closed: take another one"},
		{[]string{"=Licenses"}, "others use the licenses"},
		{[]string{"=Reservation"}, "its reservation has not begun, or others use it"},
	}
}

// means explains why a job waits; "" for what needs no explanation.
func means(reason string) string {
	for _, e := range waitingWords() {
		if e.fits(reason) {
			return e.means
		}
	}
	return ""
}

func (e explanation) fits(reason string) bool {
	for _, part := range e.parts {
		if whole, ok := strings.CutPrefix(part, "="); ok {
			return reason == whole
		}
		_, after, found := strings.Cut(reason, part)
		if !found {
			return false
		}
		reason = after
	}
	return true
}

// waitingFor is the batch system's own word and what it means.
func waitingFor(reason string) string {
	if m := means(reason); m != "" {
		return reason + " (" + m + ")"
	}
	return reason
}

// outOfMemory tells of a job that the batch system or the kernel ended for its memory. What the component says that
// suffered from it comes after.
func (p *pass) outOfMemory(j slurmbridge.Job) string {
	asked := "it asked for no amount, so the site's default counted"
	if most := p.memoryAsked(); most > 0 {
		asked = fmt.Sprintf("it asked for %d MiB on each node", most)
	}
	words := fmt.Sprintf("job %s used more memory than it had (%s), and %s: raise resources.memory, or let it need less", j.ID, says(j), asked)
	if failed := firstFailed(p); failed != nil {
		words += fmt.Sprintf("; %s %s: %s", failed.Kind, failed.Name, sentence(failed.Exit))
	}
	return words
}

// limitWords name the time limit, where the plan has one.
func (p *pass) limitWords() string {
	if p.seen.plan == nil || p.seen.plan.TimeLimit <= 0 {
		return ""
	}
	return " of " + p.seen.plan.TimeLimit.D().String()
}

// memoryAsked is the most that a component of the job asks for on a node, in MiB; 0 where none names an amount.
func (p *pass) memoryAsked() (most int64) {
	if p.seen.plan == nil {
		return 0
	}
	for _, s := range p.seen.plan.Services {
		most = max(most, s.Resources.MemoryMiB)
	}
	for _, c := range p.seen.plan.Clients {
		most = max(most, c.Resources.MemoryMiB)
	}
	return most
}

// ranOutOfMemory says that the batch system knows of it, and that no component has told it in its own words.
func ranOutOfMemory(j slurmbridge.Job, failed *v1alpha1.ComponentStatus) bool {
	return j.Reason == rundir.ExitReasonOutOfMemory && (failed == nil || failed.Exit.Reason != rundir.ExitReasonOutOfMemory)
}

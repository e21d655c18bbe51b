// Package rundir is the contract between a controller and the node side of a run: the paths of a run directory and
// the files in it.
//
//	<workDir>/<origin>/<namespace>/<owner>/<run>/       mode 0700
//	  result.json                   the whole result, by the Benchmark controller
//	  <job>/current -> <attempt>    by job.sh after its claim; only ever to a higher attempt
//	  <job>/<attempt>/
//	    job.sh plan.json            by the SlurmJob controller, before submit; no secret
//	    secrets/<name>              0600, by the SlurmJob controller; removed by the batch step's assay-node
//	    control.json                by the SlurmJob controller
//	    claim -> <job id>           by job.sh: the fence
//	    exit.json                   by job.sh: the job's own end
//	    events.jsonl                by the batch step: what it started and how that ended
//	    <component>/<rank>/         by that rank: status.json exit.json log events.jsonl samples/ provenance.json
//	    <component>/<rank>/r<k>/    by that rank, for repeat k from 1: exit.json, and result.json (a client's) or
//	                                counters.json (a service's)
//
// A rank that was killed cannot write its end: then the batch step writes its status.json and the exit.json files.
//
// Every file is written whole and renamed into place, but for log and events.jsonl, which grow, and samples/.
package rundir

// Version is the version of plan.json, control.json, status.json and exit.json that this package writes. A reader
// accepts this version and the previous one; a node that meets another plan version ends with ExitUnknownPlan.
const Version = 1

// Exit codes of job.sh and assay-node.
const (
	// ExitOK: everything in the plan was done.
	ExitOK = 0
	// ExitFailed: a component failed; its exit.json says how.
	ExitFailed = 1
	// ExitWorkDirUnusable: the claim could not be made, or the disk of the folder is full.
	ExitWorkDirUnusable = 74
	// ExitClaimed: another job holds the claim; no work was done.
	ExitClaimed = 75
	// ExitRequeued: the batch system started this job again; no work was done.
	ExitRequeued = 76
	// ExitUnknownPlan: the plan has a version that this node does not know.
	ExitUnknownPlan = 78
)

package rundir

import (
	"path/filepath"
	"strconv"
)

// Names of files and folders in a run directory.
const (
	PlanFile       = "plan.json"
	ScriptFile     = "job.sh"
	ControlFile    = "control.json"
	StatusFile     = "status.json"
	ExitFile       = "exit.json"
	ResultFile     = "result.json"
	ClaimLink      = "claim"
	CurrentLink    = "current"
	SecretsDir     = "secrets"
	LogFile        = "log"
	EventsFile     = "events.jsonl"
	SamplesDir     = "samples"
	ProvenanceFile = "provenance.json"
	CountersFile   = "counters.json"
	ObjectsFile    = "objects.json"
	JobLogFile     = "job.log"
)

// Run is the folder of a run: <workDir>/<origin>/<namespace>/<owner>/<run>.
func Run(workDir, origin, namespace, owner, run string) string {
	return filepath.Join(workDir, origin, namespace, owner, run)
}

// Attempt is the folder of an attempt below a run's folder.
func Attempt(run, job string, attempt int) string {
	return filepath.Join(run, job, strconv.Itoa(attempt))
}

// Current is the folder of a job's newest claimed attempt: it goes through the link current.
func Current(run, job string) string { return filepath.Join(run, job, CurrentLink) }

// Rank is the folder of a component's rank below an attempt's folder.
func Rank(attempt, component string, rank int) string {
	return filepath.Join(attempt, component, strconv.Itoa(rank))
}

// Repeat is the folder of a rank's repeat, from 1, below the rank's folder.
func Repeat(rank string, repeat int) string {
	return filepath.Join(rank, "r"+strconv.Itoa(repeat))
}

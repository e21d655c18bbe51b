// Package slurmbridge is the only door to a batch system: jobs, and the files of their run directories.
//
// The rules that make it safe are few. A job is named before it is submitted, and that name, its Key, is how it is
// found again, for ever. Submit returns no id: ids arrive only through Find and List, so a lost answer and a crash
// look the same and are handled by the same code. A failed look says nothing about a job.
package slurmbridge

import (
	"context"
	"io"
	"time"
)

// Jobs is the batch system. Every method may be called concurrently.
//
// An error that wraps ErrUnreachable says nothing about any job. An error of Submit that wraps ErrRefused says that
// the job does not exist and will not, one that wraps ErrNotNow that it does not yet; any other error of Submit leaves
// open whether it does, and one that wraps ErrUnclear may come again and again.
type Jobs interface {
	// List returns every job whose name has our prefix and this origin, ended ones as long as the batch system
	// remembers them. It is one query, whatever the number of jobs.
	List(ctx context.Context) ([]Job, error)
	// Find asks the batch system directly, in one query for all keys. No job under a key is not an error.
	Find(ctx context.Context, keys ...Key) ([]Job, error)
	// Submit hands in a job that is held under the key. It returns no id.
	Submit(ctx context.Context, key Key, s Script) error
	// Release lifts a hold that Submit set. Releasing a job that is not held is not an error.
	Release(ctx context.Context, id string) error
	// Cancel ends a job. Ending an ended or an unknown job is not an error. That the call returned does not mean that
	// the job is gone: look.
	Cancel(ctx context.Context, id string) error
}

// Files is the run directory on the file system that the nodes share. Paths are absolute. An error that is about one file
// wraps *fs.PathError with its path: the others may be well.
type Files interface {
	// Read returns the files that exist, in one round trip. A missing file is left out of the map.
	Read(ctx context.Context, paths ...string) (map[string][]byte, error)
	// Write makes or replaces each file whole: a reader sees the old content or the new, never a part. Missing folders
	// are made with mode 0700; files have mode 0600.
	Write(ctx context.Context, files map[string][]byte) error
	// Open reads a file from an offset in bytes. A missing file wraps fs.ErrNotExist.
	Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error)
}

// Prober is implemented by a transport that can tell whether the site is usable before anything is submitted.
type Prober interface {
	// Probe checks the door and the work folder: it exists or can be made, we can write to it, and nobody else can.
	Probe(ctx context.Context, workDir string) error
}

// Phase is what a job's state means to us. The batch system's own word stands in Job.State.
type Phase string

// Phases.
//
//	Pending ──► Running ──► Succeeded
//	   │           ├──────► Failed       the job's own fault, or ours
//	   └───────────┴──────► Interrupted  the site's fault: another attempt may do better
const (
	// Pending: the job waits; Held says whether it waits for a release.
	Pending Phase = "Pending"
	// Running: the job has its nodes, or has not let go of them yet.
	Running Phase = "Running"
	// Succeeded: the job ended with exit code 0.
	Succeeded Phase = "Succeeded"
	// Failed: the job ended in another way.
	Failed Phase = "Failed"
	// Interrupted: a node failed, or the job was preempted.
	Interrupted Phase = "Interrupted"
	// Unknown: the batch system used a word that we do not know. It is neither failure nor success.
	Unknown Phase = "Unknown"
)

// Job is one job as the batch system tells it.
type Job struct {
	// ID as the batch system prints it. IDs are reused: Identity names a job.
	ID string
	// Key is the job's name. A heterogeneous job is listed once, by its leader.
	Key Key
	// Cluster of the job; empty where the site has one.
	Cluster string
	// State is the batch system's own word, such as RUNNING.
	State string
	// Phase is what State means.
	Phase Phase
	// Reason is a CamelCase word for a condition, such as TimeLimit or Queued.
	Reason string
	// Message is the batch system's own reason, verbatim, such as Priority or QOSMaxJobsLimit.
	Message string
	// Held says that the job waits for a release of a hold that its user set.
	Held bool
	// Restarts is how often the batch system itself started the job again.
	Restarts int
	// Submitted, Started and Ended are the batch system's times; zero when not yet.
	Submitted, Started, Ended time.Time
	// Expected is when the batch system expects a waiting job to start; zero where it expects nothing. It moves with the queue.
	Expected time.Time
	// Nodes in the batch system's notation, such as mel[2001-2004].
	Nodes string
	// ExitCode and Signal of the batch script, once Ended.
	ExitCode, Signal int
}

// Over says that the job has ended, however it ended.
func (j Job) Over() bool {
	return j.Phase == Succeeded || j.Phase == Failed || j.Phase == Interrupted
}

// Identity names a job for ever: cluster, id and submit time.
func (j Job) Identity() string {
	return j.Cluster + "/" + j.ID + "/" + j.Submitted.UTC().Format(time.RFC3339)
}

// Script is a job to submit, in terms that every batch system has. Render writes it as a batch script.
type Script struct {
	// Comment is for site staff: what this job is. One line.
	Comment string
	// Directory is the absolute path of the attempt; the script runs there and its output goes to job.log in it.
	Directory string
	// Parts are the resources: one for a plain job, more for a heterogeneous one.
	Parts []Part
	// TimeLimit of the whole job; zero leaves it to the site.
	TimeLimit time.Duration
	// Notice is how long before the time limit the script gets USR1; zero for none.
	Notice time.Duration
	// KillWait is how long the job may take to end after TERM, before a cancel or the time limit sends KILL; zero leaves
	// it to the site. Only local takes it: Slurm's KillWait is the site's (30 s where nobody changed it) and no option
	// of a job, so what a job does there after TERM has to fit the site's.
	KillWait time.Duration
	// Dependency is what has to be before the job may start, in the batch system's own notation; "" for nothing.
	Dependency string
	// Modules are loaded first.
	Modules []string
	// Node is the absolute path of the assay-node program.
	Node string
}

// Part is one set of equal nodes.
type Part struct {
	Account, Partition, QOS string
	// Nodes, TasksPerNode, CPUsPerTask and GPUsPerNode are counts; zero leaves them to the site.
	Nodes, TasksPerNode, CPUsPerTask, GPUsPerNode int
	// MemoryMiB for each node; zero leaves it to the site.
	MemoryMiB int64
	// Gres of each node, Constraint, Reservation and Licenses in the batch system's own notation; "" for none.
	Gres, Constraint, Reservation, Licenses string
	// Exclusive asks for nodes that no other job shares.
	Exclusive bool
	// Exclude are names of nodes that the job must not get: at most MaxExclude.
	Exclude []string
}

// MaxExclude bounds the nodes that a job keeps away from, so that it never empties a small partition by itself.
const MaxExclude = 8

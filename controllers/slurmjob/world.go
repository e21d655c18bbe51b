package slurmjob

import (
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// world is what one look saw. Decide reads nothing else.
type world struct {
	patience patience
	site     siteSight
	// remembers is slurmbridge.Door.Remembers.
	remembers time.Duration
	// owes says that the Site counts GPU-hours and has not taken over yet what this job used.
	owes bool

	// made is the attempt to hand in; nil when none is to be made, or when blocked says why it cannot.
	made    *made
	blocked *blocked
	// present says that a job which pulls images has nothing to pull.
	present bool
	// next is the attempt after the newest.
	next next
	// written says that the files of made lie in the attempt's folder.
	written bool
	// writeErr is why the last write of the attempt's files failed; nil when it did not, or when this process made none.
	writeErr error

	// looked says that the batch system answered, asked when it was asked, and lookErr why it did not.
	looked  bool
	asked   time.Time
	lookErr error
	// jobs are those under the key of the newest attempt, oldest first; strays are live ones under older keys.
	jobs, strays []slurmbridge.Job
	// said is what the batch system says of a job that was not handed in.
	said foretold
	// answer is what this process heard to its last submit; doErr is why its last release or cancel failed.
	answer answer
	doErr  error
	// cancelled is when this process last had a job cancelled, by its id.
	cancelled map[string]time.Time
	// refusals is how often on end the batch system took no job now.
	refusals int
	// unclear is how many submits it answered with an error that nobody knows.
	unclear int

	// plan of the newest attempt, once it was handed in; planErr is why it is not known.
	plan    *rundir.Plan
	planErr error
	// read says that the run directory was read; exit is the job's own, ranks are by component, in the plan's order.
	read  bool
	exit  *rundir.Exit
	ranks map[string][]rankSight
	// unbegun says that the job was given nodes and was cancelled, and that its script never began.
	unbegun bool
	// starting asks for a faster look at the files.
	starting bool

	// lease is the newest control.json that this process wrote.
	lease lease
	// quiet is how long the object has not changed, overFor how long the job has been over, and hopelessFor over which time
	// the batch system's answers agree that the job never starts, as this process saw it.
	quiet, overFor, hopelessFor time.Duration
}

// patience is how long to wait before something is concluded from silence.
type patience struct {
	// gap is the least time between two answers that count.
	gap time.Duration
	// grace is the least time from the first answer that did not know the job of a submit to the next submit under the same
	// key.
	grace time.Duration
	// lost is the least time from the first answer that did not know a job to the verdict.
	lost time.Duration
	// settle is the longest wait for files after the job is over.
	settle time.Duration
	// hopeless is how long a job has to wait for what never comes until a person is asked: after a restart of its daemons a
	// batch system may not know accounts and QOS for a moment.
	hopeless time.Duration
}

// The answers that have to agree.
const (
	lookupsBeforeSubmit = 2
	lookupsBeforeLost   = 3
)

// patienceWith returns the patience that a site asks for. A batch system on this host answers at once.
func patienceWith(site *v1alpha1.Site) patience {
	gap := 10 * time.Second
	if site != nil && (site.Spec.Jobs.Local != nil || site.Spec.Jobs.Sim != nil) {
		gap = time.Second
	}
	if site != nil {
		gap = max(gap, site.Spec.PollInterval.Or(0))
	}
	return patience{gap: gap, grace: 2 * gap, lost: 6 * gap, settle: 2 * gap, hopeless: 2 * gap}
}

// siteSight is the Site as its own controller left it.
type siteSight struct {
	exists bool
	// open says that the door is open; why says why not.
	open bool
	why  string
	// ready and stalled are the Site's conditions, reason and message those of Ready.
	ready, stalled  bool
	reason, message string
}

// made is an attempt that can be handed in.
type made struct {
	number    int32
	key       slurmbridge.Key
	directory string
	out       plan.Output
	// claim is what it asks of the site's limits.
	claim claim
	// first holds the credentials and control.json, last plan.json and job.sh: once these lie there, all of it does.
	first, last map[string][]byte
}

// next names the attempt after the newest, without anything to run in it.
type next struct {
	number    int32
	key       slurmbridge.Key
	directory string
	// process is this control plane's process.
	process string
}

// blocked says why an attempt cannot be made: for now, or until a person acts.
type blocked struct {
	stalled         bool
	reason, message string
}

// answer is what a submit was told: refused for good, refused now, or nothing that one can rely on. All nil: no answer is
// known, or the job was taken.
type answer struct{ refused, notNow, uncertain error }

// foretold is what a preflight says of a job. All nil: it could run, or nobody knows.
type foretold struct {
	// impossible is why it could never run.
	impossible error
	// away is why it would wait for nodes that are down or drained.
	away error
	// notNow is why it would not be taken now.
	notNow error
}

// lease is what control.json says.
type lease struct {
	sequence int64
	want     string
}

// leaseEvery is how often a lease advances.
const leaseEvery = 10 * time.Second

// leaseAt derives the lease from the clock, so that it advances over a restart without being stored.
func leaseAt(now time.Time, want string) lease {
	return lease{sequence: now.Unix() / int64(leaseEvery/time.Second), want: want}
}

// rankSight is what one rank wrote.
type rankSight struct {
	status *rundir.Status
	// exit is the rank's own, repeats those of its repeats by number.
	exit    *rundir.Exit
	repeats map[int]*rundir.Exit
}

// newest returns the newest attempt, or nil.
func newest(attempts []v1alpha1.Attempt) *v1alpha1.Attempt {
	if len(attempts) == 0 {
		return nil
	}
	return &attempts[len(attempts)-1]
}

// handedIn says that a job may exist under the attempt's key.
func handedIn(a *v1alpha1.Attempt) bool { return a != nil && a.Submits > 0 }

// ended says that the attempt's end is stored.
func ended(a *v1alpha1.Attempt) bool { return a != nil && a.State == v1alpha1.AttemptEnded }

func isDeleting(job *v1alpha1.SlurmJob) bool { return !job.DeletionTimestamp.IsZero() }

package slurmjob

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

var (
	noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	key1 = slurmbridge.NewKey(origin, "20000000-0000-4000-8000-000000000005", 1)
	key2 = slurmbridge.NewKey(origin, "20000000-0000-4000-8000-000000000005", 2)
)

func ago(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(-d)} }

// sj is a SlurmJob with one service, one client, and the attempts given.
func sj(attempts ...v1alpha1.Attempt) *v1alpha1.SlurmJob {
	job := &v1alpha1.SlurmJob{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "run", Generation: 1, UID: "20000000-0000-4000-8000-000000000005"}}
	job.Spec = v1alpha1.SlurmJobSpec{Site: "here", Run: v1alpha1.JobRun{Owner: "bench", Name: "g1"}, Components: []v1alpha1.ComponentReference{
		{Kind: "Service", Name: "bench-server"}, {Kind: "LoadClient", Name: "bench-load"}}}
	job.Status.Attempts = attempts
	return job
}

func deleted(job *v1alpha1.SlurmJob) *v1alpha1.SlurmJob {
	job.DeletionTimestamp, job.Finalizers = ago(0), []string{v1alpha1.FinalizerJobs}
	return job
}

func abandonedBy(job *v1alpha1.SlurmJob) *v1alpha1.SlurmJob {
	job.Annotations = map[string]string{v1alpha1.AnnotationAbandon: "true"}
	return job
}

// try is an attempt in a state.
func try(state v1alpha1.AttemptState, edit func(*v1alpha1.Attempt)) v1alpha1.Attempt {
	a := v1alpha1.Attempt{Number: 1, Key: string(key1), State: state, PlanHash: "hash", Submits: 1, SubmitTry: ago(time.Minute)}
	switch state {
	case v1alpha1.AttemptIntended:
		a.Submits, a.SubmitTry = 0, nil
	case v1alpha1.AttemptSubmitted, v1alpha1.AttemptQueued, v1alpha1.AttemptRunning, v1alpha1.AttemptEnded:
		a.JobID = "4711"
		a.Released = state != v1alpha1.AttemptSubmitted
	}
	if edit != nil {
		edit(&a)
	}
	return a
}

func toMake() *made {
	return &made{number: 1, key: key1, directory: "/w/1", out: plan.Output{Hash: "hash"}}
}

// open is a world whose site answers.
func open(edit func(*world)) world {
	w := world{
		patience: patience{gap: time.Second, grace: 2 * time.Second, lost: 6 * time.Second, settle: 2 * time.Second, hopeless: 2 * time.Second},
		site:     siteSight{exists: true, open: true, ready: true}, looked: true, asked: noon,
		next: next{number: 2, key: key2, directory: "/w/2", process: "p"}, lease: leaseAt(noon, rundir.WantRun), quiet: time.Hour,
	}
	if edit != nil {
		edit(&w)
	}
	return w
}

func batch(phase slurmbridge.Phase, edit func(*slurmbridge.Job)) slurmbridge.Job {
	j := slurmbridge.Job{ID: "4711", Key: key1, Phase: phase, State: strings.ToUpper(string(phase)), Submitted: noon.Add(-time.Minute)}
	if phase != slurmbridge.Pending {
		j.Started, j.Nodes = noon.Add(-30*time.Second), "mel2001"
	}
	if j.Over() {
		j.Ended = noon
	}
	if edit != nil {
		edit(&j)
	}
	return j
}

func waitsForever(j *slurmbridge.Job) {
	j.Reason, j.Message = "Unschedulable", "QOSMaxWallDurationPerJobLimit"
}

func seeing(jobs ...slurmbridge.Job) func(*world) { return func(w *world) { w.jobs = jobs } }

// ranksEnded is a run directory in which both components have ended, with the client's reason given.
func ranksEnded(reason string, code int) func(*world) {
	return func(w *world) {
		end := func(reason string, code int) []rankSight {
			phase := rundir.PhaseEnded
			if code != 0 {
				phase = rundir.PhaseFailed
			}
			e := &rundir.Exit{Reason: reason, Code: code, Message: "words"}
			return []rankSight{{status: &rundir.Status{Phase: phase, Heartbeat: 1}, exit: e, repeats: map[int]*rundir.Exit{1: e}}}
		}
		w.read = true
		w.plan = &rundir.Plan{Services: []rundir.Service{{Name: "server", Ranks: 1}}, Clients: []rundir.Client{{Name: "load", Ranks: 1}}, Repeats: rundir.Repeats{First: 1, Count: 1}}
		w.exit = &rundir.Exit{Reason: rundir.ExitReasonEnded, Code: code}
		if code != 0 {
			w.exit.Reason = rundir.ExitReasonError
		}
		w.ranks = map[string][]rankSight{"server": end(rundir.ExitReasonEnded, 0), "load": end(reason, code)}
	}
}

func both(edits ...func(*world)) func(*world) {
	return func(w *world) {
		for _, e := range edits {
			e(w)
		}
	}
}

// want is what a decision is compared by.
type want struct {
	// Ready is the status and reason of Ready; Phase is for people; State is that of the newest attempt.
	Ready, Phase, State string
	// Do are the effects; Released that the finalizer goes.
	Do       string
	Released bool
	// Attempts is the number of attempts.
	Attempts int
	// KStatus is what kstatus makes of it.
	KStatus status.Status
}

func TestDecide(t *testing.T) {
	intended, uncertain := v1alpha1.AttemptIntended, v1alpha1.AttemptUncertain
	submitted, queued, running, over := v1alpha1.AttemptSubmitted, v1alpha1.AttemptQueued, v1alpha1.AttemptRunning, v1alpha1.AttemptEnded
	lost := func(a *v1alpha1.Attempt) { a.Submits, a.Reason = 1, v1alpha1.ReasonLost }
	cases := map[string]struct {
		reason string
		job    *v1alpha1.SlurmJob
		seen   world
		want   want
	}{
		"site missing": {"nothing can be done without a site", sj(), world{},
			want{Ready: "False SiteMissing", KStatus: status.FailedStatus}},
		"site shut": {"the site's controller opens it soon", sj(), world{site: siteSight{exists: true, why: "waits"}},
			want{Ready: "False Waiting", KStatus: status.InProgressStatus}},
		"site refused": {"the site's refusal is ours", sj(), world{site: siteSight{exists: true, stalled: true, reason: v1alpha1.ReasonHostAccessRefused}},
			want{Ready: "False HostAccessRefused", KStatus: status.FailedStatus}},
		"component missing": {"its owner may still create it", sj(), open(func(w *world) { w.blocked = &blocked{reason: "Waiting"} }),
			want{Ready: "False Waiting", KStatus: status.InProgressStatus}},
		"parameters": {"only a person can mend them", sj(), open(func(w *world) { w.blocked = &blocked{stalled: true, reason: "InvalidParameters"} }),
			want{Ready: "False InvalidParameters", KStatus: status.FailedStatus}},
		"intent": {"the attempt is stored before any file is written", sj(), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Intended", Phase: "Intended", State: "Intended", Do: "WriteFiles", Attempts: 1, KStatus: status.InProgressStatus}},
		"files missing": {"nothing is handed in before its files are there", sj(try(intended, nil)), open(func(w *world) { w.made = toMake() }),
			want{State: "Intended", Do: "WriteFiles", Attempts: 1}},
		"disk full": {"a person has to make room", sj(try(intended, nil)), open(func(w *world) { w.made, w.writeErr = toMake(), errors.New("no space left") }),
			want{Ready: "False WorkDirUnusable", State: "Intended", Do: "WriteFiles", Attempts: 1, KStatus: status.FailedStatus}},
		"submit": {"a good look found nothing: hand it in", sj(try(intended, nil)), open(func(w *world) { w.made, w.written = toMake(), true }),
			want{Ready: "False Intended", Phase: "Intended", State: "Intended", Do: "Submit", Attempts: 1, KStatus: status.InProgressStatus}},
		"no look, no submit": {"a failed look says nothing", sj(try(intended, nil)), open(func(w *world) {
			w.made, w.written, w.looked, w.lookErr = toMake(), true, false, slurmbridge.ErrUnreachable
		}), want{State: "Intended", Attempts: 1}},
		"adopt": {"a job is there under the key: no second one", sj(try(intended, nil)), open(both(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held = true })), func(w *world) {
			w.made, w.written = toMake(), true
		})), want{Ready: "False Submitted", Phase: "Submitted", State: "Submitted", Do: "Release", Attempts: 1, KStatus: status.InProgressStatus}},
		"uncertain": {"no second submit before the grace period", sj(try(intended, func(a *v1alpha1.Attempt) { a.Submits, a.SubmitTry = 1, ago(time.Second) })), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Uncertain", State: "Uncertain", Attempts: 1, KStatus: status.InProgressStatus}},
		"uncertain, one look": {"one look is not enough, however late", sj(try(uncertain, nil)), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Uncertain", State: "Uncertain", Attempts: 1, KStatus: status.InProgressStatus}},
		"uncertain, slow": {"two looks, and the submit was long ago, but its answer came when the grace period should begin", sj(try(uncertain, func(a *v1alpha1.Attempt) { a.Lookups, a.MissingSince = 1, ago(time.Second) })), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Uncertain", State: "Uncertain", Attempts: 1, KStatus: status.InProgressStatus}},
		"uncertain, two looks": {"after grace and two looks the same key is handed in again", sj(try(uncertain, func(a *v1alpha1.Attempt) { a.Lookups, a.MissingSince = 1, ago(5*time.Second) })), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Uncertain", State: "Uncertain", Do: "Submit", Attempts: 1, KStatus: status.InProgressStatus}},
		"uncertain, again": {"each submit waits longer than the one before", sj(try(uncertain, func(a *v1alpha1.Attempt) {
			a.Lookups, a.MissingSince, a.Submits, a.SubmitTry = 1, ago(5*time.Second), 4, ago(30*time.Second)
		})), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Uncertain", State: "Uncertain", Attempts: 1, KStatus: status.InProgressStatus}},
		"uncertain, much later": {"and is made then", sj(try(uncertain, func(a *v1alpha1.Attempt) {
			a.Lookups, a.MissingSince, a.Submits, a.SubmitTry = 1, ago(5*time.Second), 4, ago(time.Minute)
		})), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Uncertain", State: "Uncertain", Do: "Submit", Attempts: 1, KStatus: status.InProgressStatus}},
		"unclear": {"words that nobody knows are no refusal at once", sj(try(uncertain, func(a *v1alpha1.Attempt) { a.Lookups, a.MissingSince = 1, ago(5*time.Second) })), open(func(w *world) {
			w.made, w.unclear, w.answer.uncertain = toMake(), unclearSubmits-1, slurmbridge.ErrUnclear
		}),
			want{Ready: "False Uncertain", State: "Uncertain", Do: "Submit", Attempts: 1, KStatus: status.InProgressStatus}},
		"unclear, often": {"but they are when they come again and again", sj(try(uncertain, func(a *v1alpha1.Attempt) { a.Lookups, a.MissingSince = 1, ago(5*time.Second) })), open(func(w *world) {
			w.made, w.unclear, w.answer.uncertain = toMake(), unclearSubmits, slurmbridge.ErrUnclear
		}),
			want{Ready: "False SubmitRefused", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"unclear, one look": {"nor while a job may still appear", sj(try(uncertain, nil)), open(func(w *world) {
			w.made, w.unclear, w.answer.uncertain = toMake(), unclearSubmits, slurmbridge.ErrUnclear
		}),
			want{Ready: "False Uncertain", State: "Uncertain", Attempts: 1, KStatus: status.InProgressStatus}},
		"impossible": {"a job that would wait for ever is not handed in", sj(try(intended, nil)), open(func(w *world) {
			w.made, w.written, w.said.impossible = toMake(), true, errors.New("Requested node configuration is not available")
		}),
			want{Ready: "False SubmitRefused", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"nodes away": {"they may come back: the job waits for them in the queue", sj(try(intended, nil)), open(func(w *world) {
			w.made, w.written, w.said.away = toMake(), true, errors.New("Requested node configuration is not available")
		}),
			want{Ready: "False Intended", Phase: "Intended", State: "Intended", Do: "Submit", Attempts: 1, KStatus: status.InProgressStatus}},
		"refused": {"the batch system's word is final", sj(try(intended, func(a *v1alpha1.Attempt) { a.Submits = 1 })), open(func(w *world) { w.answer.refused = errors.New("Invalid account") }),
			want{Ready: "False SubmitRefused", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"duplicate": {"the oldest is kept, the other one ended", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held = true }), batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.ID = "4712" }))),
			want{Ready: "False Submitted", Phase: "Submitted", State: "Submitted", Do: "Cancel Release", Attempts: 1, KStatus: status.InProgressStatus}},
		"held by a person": {"a hold that came later is not ours", sj(try(queued, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held = true }))),
			want{Ready: "False Queued", Phase: "Queued", State: "Queued", Attempts: 1, KStatus: status.InProgressStatus}},
		"held by staff before our release": {"theirs is not lifted, and ours is lifted once it is the only one", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held, j.Reason, j.Message = true, "Held", "JobHeldAdmin" }))),
			want{Ready: "False Held", Phase: "Queued", State: "Submitted", Attempts: 1, KStatus: status.InProgressStatus}},
		"held for a lost reservation": {"Slurm's own hold is not lifted", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held, j.Reason, j.Message = true, "Held", "ReservationDeleted" }))),
			want{Ready: "False Held", Phase: "Queued", State: "Submitted", Attempts: 1, KStatus: status.InProgressStatus}},
		"held after a failed prolog": {"the batch system's hold is not ours", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held, j.Restarts = true, 1 }))),
			want{Ready: "False Requeued", State: "Submitted", Do: "Cancel", Attempts: 1, KStatus: status.InProgressStatus}},
		"queued": {"the batch system's words are shown", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Message = "QOSMaxJobsLimit" }))),
			want{Ready: "False Queued", Phase: "Queued", State: "Queued", Attempts: 1, KStatus: status.InProgressStatus}},
		"never starts, one look": {"after a restart slurmctld may not know the QOS for a moment", sj(try(queued, nil)), open(seeing(batch(slurmbridge.Pending, waitsForever))),
			want{Ready: "False Unschedulable", Phase: "Queued", State: "Queued", Attempts: 1, KStatus: status.InProgressStatus}},
		"never starts": {"only a person can mend it", sj(try(queued, nil)), open(both(seeing(batch(slurmbridge.Pending, waitsForever)), func(w *world) { w.hopelessFor = 2 * time.Second })),
			want{Ready: "False Unschedulable", Phase: "Queued", State: "Queued", Attempts: 1, KStatus: status.FailedStatus}},
		"suspended": {"what stands still does not run", sj(try(running, nil)), open(seeing(batch(slurmbridge.Running, func(j *slurmbridge.Job) { j.Reason = "Suspended" }))),
			want{Ready: "False Suspended", Phase: "Running", State: "Running", Attempts: 1, KStatus: status.InProgressStatus}},
		"running": {"the lease is fresh", sj(try(queued, nil)), open(seeing(batch(slurmbridge.Running, nil))),
			want{Ready: "False Running", Phase: "Running", State: "Running", Attempts: 1, KStatus: status.InProgressStatus}},
		"lease": {"the node has to know that we live", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Running, nil)), func(w *world) { w.lease.sequence-- })),
			want{Ready: "False Running", Phase: "Running", State: "Running", Do: "WriteControl", Attempts: 1, KStatus: status.InProgressStatus}},
		"unknown word": {"a state that we do not know is neither good nor bad", sj(try(running, nil)), open(seeing(batch(slurmbridge.Unknown, nil))),
			want{Ready: "False Unknown", State: "Running", Attempts: 1, KStatus: status.InProgressStatus}},
		"silent": {"an outage concludes nothing", sj(try(running, nil)), open(func(w *world) { w.lookErr = slurmbridge.ErrUnreachable }),
			want{State: "Running", Attempts: 1}},
		"missing once": {"one answer is no verdict", sj(try(running, nil)), open(nil),
			want{Ready: "False Waiting", State: "Running", Attempts: 1, KStatus: status.InProgressStatus}},
		"lost": {"three answers over the time agree", sj(try(running, func(a *v1alpha1.Attempt) {
			a.Lookups, a.MissingSince, a.StartTime = 2, ago(time.Minute), ago(time.Hour)
		})), open(nil),
			want{Ready: "False Lost", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"lost before it started": {"nothing was measured: try again", sj(try(queued, func(a *v1alpha1.Attempt) { a.Lookups, a.MissingSince = 2, ago(time.Minute) })), open(nil),
			want{Ready: "False RetryWaits", Phase: "Intended", State: "Intended", Do: "Forget", Attempts: 2, KStatus: status.InProgressStatus}},
		"third witness": {"exit.json tells what the batch system forgot", sj(try(running, nil)), open(ranksEnded("Ended", 0)),
			want{Ready: "True Completed", Phase: "Ended", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.CurrentStatus}},
		"ending": {"its last files may still come", sj(try(running, nil)), open(seeing(batch(slurmbridge.Succeeded, nil))),
			want{Ready: "False Ending", Phase: "Ending", State: "Running", Attempts: 1, KStatus: status.InProgressStatus}},
		"no exit.json": {"an exit code alone is no success", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Succeeded, nil)), func(w *world) { w.overFor = time.Minute })),
			want{Ready: "False Failed", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"succeeded": {"all ended as planned", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Succeeded, nil)), ranksEnded("Ended", 0))),
			want{Ready: "True Completed", Phase: "Ended", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.CurrentStatus}},
		"component failed": {"its reason is the job's", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Failed, func(j *slurmbridge.Job) { j.Reason = "NonZeroExit" })), ranksEnded("ReadinessTimeout", 1))),
			want{Ready: "False ReadinessTimeout", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"disk full at the end": {"the component that found it could not write it", sj(try(running, nil)),
			open(both(seeing(batch(slurmbridge.Failed, func(j *slurmbridge.Job) { j.ExitCode = 74 })), both(ranksEnded("Stopped", 1), func(w *world) { w.exit = nil; w.overFor = time.Minute }))),
			want{Ready: "False WorkDirUnusable", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"aborted": {"the abort threshold is an abort", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Failed, nil)), ranksEnded("Aborted", 1))),
			want{Ready: "False Aborted", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"time limit": {"the API calls it TimedOut", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Failed, func(j *slurmbridge.Job) { j.Reason = "TimeLimit" })), ranksEnded("TimeLimit", 1))),
			want{Ready: "False TimedOut", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"cancelled by others": {"somebody else's cancel aborts", sj(try(queued, nil)), open(seeing(batch(slurmbridge.Failed, func(j *slurmbridge.Job) { j.Reason, j.Started = "Cancelled", time.Time{} }))),
			want{Ready: "False Aborted", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"started again": {"the first start was told to stop, and said so; the second one's exit code tells why", sj(try(running, nil)),
			open(both(seeing(batch(slurmbridge.Failed, func(j *slurmbridge.Job) { j.ExitCode, j.Restarts = rundir.ExitRequeued, 1 })), ranksEnded("Stopped", 1), func(w *world) { w.exit.Reason = rundir.ExitReasonStopped })),
			want{Ready: "False RetryWaits", Phase: "Intended", State: "Intended", Do: "Forget", Attempts: 2, KStatus: status.InProgressStatus}},
		"node failed": {"the site's fault: a new attempt under a new key", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Interrupted, func(j *slurmbridge.Job) { j.Reason = "NodeFailure" })), func(w *world) { w.overFor = time.Minute })),
			want{Ready: "False RetryWaits", Phase: "Intended", State: "Intended", Do: "Forget", Attempts: 2, KStatus: status.InProgressStatus}},
		"node failed too often": {"three attempts are enough", sj(try(running, func(a *v1alpha1.Attempt) { a.Number = 3 })), open(both(seeing(batch(slurmbridge.Interrupted, func(j *slurmbridge.Job) { j.Reason = "NodeFailure" })), func(w *world) { w.overFor = time.Minute })),
			want{Ready: "False NodeFailure", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"over": {"an end is an end", sj(try(over, nil)), open(nil), want{State: "Ended", Attempts: 1}},
		"deleted before submit": {"no job can exist", deleted(sj(try(intended, nil))), open(nil),
			want{State: "Intended", Do: "Forget", Released: true, Attempts: 1}},
		"deleted while running": {"told to stop, then cancelled, and looked for", deleted(sj(try(running, nil))), open(seeing(batch(slurmbridge.Running, nil))),
			want{Ready: "False Deleting", State: "Running", Do: "WriteControl Cancel", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted and told": {"between two cancels it is only looked for", deleted(sj(try(running, nil))),
			open(both(seeing(batch(slurmbridge.Running, nil)), func(w *world) { w.cancelled = map[string]time.Time{"4711": noon.Add(-900 * time.Millisecond)} })),
			want{Ready: "False Deleting", State: "Running", Do: "WriteControl", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted and told long ago": {"a cancel may get lost", deleted(sj(try(running, nil))),
			open(both(seeing(batch(slurmbridge.Running, nil)), func(w *world) { w.cancelled = map[string]time.Time{"4711": noon.Add(-time.Second)} })),
			want{Ready: "False Deleting", State: "Running", Do: "WriteControl Cancel", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted and over": {"the job was seen to be over", deleted(sj(try(running, nil))), open(seeing(batch(slurmbridge.Failed, nil))),
			want{State: "Ended", Do: "Forget", Released: true, Attempts: 1}},
		"deleted, submit uncertain": {"a job may still appear", deleted(sj(try(uncertain, nil))), open(nil),
			want{Ready: "False Deleting", State: "Uncertain", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted, submit uncertain and slow": {"nor does it go sooner than it would be handed in again", deleted(sj(try(uncertain, func(a *v1alpha1.Attempt) { a.Lookups, a.MissingSince = 1, ago(time.Second) }))), open(nil),
			want{Ready: "False Deleting", State: "Uncertain", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted, site silent": {"no proof, no release", deleted(sj(try(running, nil))), open(func(w *world) { w.lookErr = slurmbridge.ErrUnreachable }),
			want{State: "Running", Attempts: 1}},
		"deleted, site gone": {"only the user can say so", deleted(sj(try(running, nil))), world{},
			want{Ready: "False Deleting", State: "Running", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted, lost": {"the site was asked once more", deleted(sj(try(over, lost))), open(nil),
			want{State: "Ended", Do: "Forget", Released: true, Attempts: 1}},
		"deleted, lost, site silent": {"a lost job may still run", deleted(sj(try(over, lost))), open(func(w *world) { w.looked, w.lookErr = false, slurmbridge.ErrUnreachable }),
			want{State: "Ended", Attempts: 1}},
		"deleted, lost, site gone": {"only the user can say so", deleted(sj(try(over, lost))), world{},
			want{Ready: "False Deleting", State: "Ended", Attempts: 1, KStatus: status.TerminatingStatus}},
		"abandoned": {"the user did say so", abandonedBy(deleted(sj(try(running, nil)))), world{},
			want{Ready: "False Deleting", State: "Running", Do: "Forget", Released: true, Attempts: 1, KStatus: status.TerminatingStatus}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := c.job.DeepCopy()
			d := decide(c.job.DeepCopy(), c.seen, noon)
			if diff := cmp.Diff(c.want, gist(t, before, d)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			// The same look at what was stored has nothing new to store, but for the steps that advance by design.
			if ended(newest(d.Status.Attempts)) {
				stored := before.DeepCopy()
				stored.Status = d.Status
				if again := decide(stored.DeepCopy(), c.seen, noon); cmp.Diff(d.Status, again.Status) != "" {
					t.Errorf("an ended object changed again: %s", cmp.Diff(d.Status, again.Status))
				}
			}
		})
	}
}

func gist(t *testing.T, before *v1alpha1.SlurmJob, d decision) want {
	t.Helper()
	var effects []string
	for _, e := range d.Do {
		effects = append(effects, strings.TrimPrefix(fmt.Sprintf("%T", e), "slurmjob."))
	}
	w := want{Phase: d.Status.Phase, Do: strings.Join(effects, " "), Released: d.Release, Attempts: len(d.Status.Attempts)}
	if a := newest(d.Status.Attempts); a != nil {
		w.State = string(a.State)
	}
	if ready := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		w.Ready = string(ready.Status) + " " + ready.Reason
		after := before.DeepCopy()
		after.Status = d.Status
		w.KStatus = kstatusOf(t, after)
	}
	return w
}

// kstatusOf is what generic tools make of an object.
func kstatusOf(t *testing.T, job *v1alpha1.SlurmJob) status.Status {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("SlurmJob"))
	result, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

// A script that a signal has ended has no exit code: 0 would say that all is well.
func TestEndedBySignal(t *testing.T) {
	over := func(w *world) { w.overFor = time.Minute }
	for want, change := range map[string]func(*slurmbridge.Job){
		"job 4711 was ended by signal 9; job.log in ":  func(j *slurmbridge.Job) { j.Signal = 9 },
		"job 4711 ended with exit code 3; job.log in ": func(j *slurmbridge.Job) { j.ExitCode = 3 },
	} {
		d := decide(sj(try(v1alpha1.AttemptRunning, nil)), open(both(seeing(batch(slurmbridge.Failed, change)), over)), noon)
		if got := newest(d.Status.Attempts).Message; !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWaitingWords(t *testing.T) {
	job := sj(try(v1alpha1.AttemptQueued, nil))
	d := decide(job, open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Message = "QOSMaxJobsLimit" }))), noon)
	got := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionScheduled).Message
	if want := "job 4711 waits: QOSMaxJobsLimit (no more of your jobs may run at once: "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want the batch system's own word: %q", got, want)
	}
	if got := d.Status.Waiting; !strings.HasPrefix(got, "QOSMaxJobsLimit (") {
		t.Errorf("waiting %q", got)
	}
	job.Status = d.Status
	if got := decide(job, open(seeing(batch(slurmbridge.Running, nil))), noon).Status.Waiting; got != "" {
		t.Errorf("a job that runs still waits: %q", got)
	}
}

// A job that never starts says so once answers over some time agree, and takes it back when its reason goes.
func TestNeverStarts(t *testing.T) {
	k := New(Deps{Now: func() time.Time { return noon }})
	for i, c := range []struct {
		after time.Duration
		waits func(*slurmbridge.Job)
		want  time.Duration
	}{
		{0, waitsForever, 0}, {time.Second, waitsForever, time.Second}, {3 * time.Second, waitsForever, 3 * time.Second},
		{4 * time.Second, func(j *slurmbridge.Job) { j.Reason = "Queued" }, 0}, {5 * time.Second, waitsForever, 0}, {6 * time.Second, waitsForever, time.Second},
	} {
		w := world{asked: noon.Add(c.after)}
		k.countHopeless(key1, batch(slurmbridge.Pending, c.waits), &w)
		if w.hopelessFor != c.want {
			t.Errorf("answer %d: hopeless for %s, want %s", i, w.hopelessFor, c.want)
		}
	}
	job := sj(try(v1alpha1.AttemptQueued, nil))
	job.Status = decide(job, open(both(seeing(batch(slurmbridge.Pending, waitsForever)), func(w *world) { w.hopelessFor = time.Hour })), noon).Status
	if again := decide(job.DeepCopy(), open(both(seeing(batch(slurmbridge.Pending, waitsForever)), func(w *world) { w.hopelessFor = 2 * time.Hour })), noon.Add(time.Hour)); cmp.Diff(job.Status, again.Status) != "" {
		t.Errorf("an hour later it is told anew: %s", cmp.Diff(job.Status, again.Status))
	}
	const words = "job 4711 never starts: QOSMaxWallDurationPerJobLimit (the time limit is longer than it allows: lower resources.timeLimit, or take another QOS)"
	if c := reconcile.JobRefused(job); c == nil || !strings.HasPrefix(c.Message, words) {
		t.Errorf("%+v, want %q", c, words)
	}
	job.Status = decide(job, open(seeing(batch(slurmbridge.Running, nil))), noon).Status
	if c := reconcile.JobRefused(job); c != nil {
		t.Errorf("it runs, and still %+v", c)
	}
}

// A job that the site has suspended has its nodes and does not run.
func TestSuspended(t *testing.T) {
	job := sj(try(v1alpha1.AttemptRunning, func(a *v1alpha1.Attempt) { a.Nodes = "mel2001" }))
	for reason, want := range map[string]string{"Suspended": "the site has suspended job 4711 on mel2001; ", "Running": "job 4711 runs on mel2001"} {
		job.Status = decide(job, open(seeing(batch(slurmbridge.Running, func(j *slurmbridge.Job) { j.Reason = reason }))), noon).Status
		c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionRunning)
		if c.Reason != reason || (c.Status == metav1.ConditionTrue) != (reason == "Running") || !strings.HasPrefix(c.Message, want) {
			t.Errorf("%+v, want %s: %s", c, reason, want)
		}
	}
}

// What the batch system expects is told, and not told anew with each of its second thoughts.
func TestExpectedStart(t *testing.T) {
	job := sj(try(v1alpha1.AttemptQueued, nil))
	for _, c := range []struct {
		reason  string
		says    time.Duration
		want    time.Duration
		message string
	}{
		{"nothing is expected of a job far down the queue", 0, 0, "job 4711 waits: Priority"},
		{"the first word", time.Hour, time.Hour, "job 4711 waits: Priority; it is expected to start at 2026-01-01 13:00 UTC"},
		{"a tenth of the time to go is no news", 65 * time.Minute, time.Hour, "job 4711 waits: Priority; it is expected to start at 2026-01-01 13:00 UTC"},
		{"two hours are", 2 * time.Hour, 2 * time.Hour, "job 4711 waits: Priority; it is expected to start at 2026-01-01 14:00 UTC"},
		{"what is past is not expected", -time.Minute, 0, "job 4711 waits: Priority"},
	} {
		d := decide(job, open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) {
			j.Message = "Priority"
			if c.says != 0 {
				j.Expected = noon.Add(c.says)
			}
		}))), noon)
		job.Status = d.Status
		var got time.Duration
		if at := d.Status.ExpectedStart; at != nil {
			got = at.Sub(noon)
		}
		message := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionScheduled).Message
		if got != c.want || message != c.message {
			t.Errorf("%s: %s and %q, want %s and %q", c.reason, got, message, c.want, c.message)
		}
	}
	if at := decide(job, open(seeing(batch(slurmbridge.Running, nil))), noon).Status.ExpectedStart; at != nil {
		t.Errorf("a job that runs is expected at %s", at)
	}
}

// TestPeers: a component in another job cannot begin anew with this one.
func TestPeers(t *testing.T) {
	job := sj(try(v1alpha1.AttemptRunning, nil))
	job.Spec.Run.Peers = []v1alpha1.PeerReference{{ComponentReference: v1alpha1.ComponentReference{Kind: "Service", Name: "s"}, Job: "other"}}
	job.Status.Components = []v1alpha1.ComponentStatus{{Kind: "LoadClient", Name: "bench-load", Heartbeat: 3}}
	d := decide(job, open(both(seeing(batch(slurmbridge.Interrupted, func(j *slurmbridge.Job) { j.Reason = "NodeFailure" })), func(w *world) { w.overFor = time.Minute })), noon)
	if !ended(newest(d.Status.Attempts)) || d.Status.Phase != "Failed" {
		t.Errorf("want the end, got %+v", d.Status)
	}
}

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
		patience: patience{gap: time.Second, grace: 2 * time.Second, lost: 6 * time.Second, settle: 2 * time.Second},
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
		"uncertain, two looks": {"after grace and two looks the same key is handed in again", sj(try(uncertain, func(a *v1alpha1.Attempt) { a.Lookups, a.MissingSince = 1, ago(5*time.Second) })), open(func(w *world) { w.made = toMake() }),
			want{Ready: "False Uncertain", State: "Uncertain", Do: "Submit", Attempts: 1, KStatus: status.InProgressStatus}},
		"impossible": {"a job that would wait for ever is not handed in", sj(try(intended, nil)), open(func(w *world) {
			w.made, w.written, w.impossible = toMake(), true, errors.New("Requested node configuration is not available")
		}),
			want{Ready: "False SubmitRefused", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"refused": {"the batch system's word is final", sj(try(intended, func(a *v1alpha1.Attempt) { a.Submits = 1 })), open(func(w *world) { w.answer.refused = errors.New("Invalid account") }),
			want{Ready: "False SubmitRefused", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"duplicate": {"the oldest is kept, the other one ended", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held = true }), batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.ID = "4712" }))),
			want{Ready: "False Submitted", Phase: "Submitted", State: "Submitted", Do: "Cancel Release", Attempts: 1, KStatus: status.InProgressStatus}},
		"held by a person": {"a hold that came later is not ours", sj(try(queued, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held = true }))),
			want{Ready: "False Queued", Phase: "Queued", State: "Queued", Attempts: 1, KStatus: status.InProgressStatus}},
		"held after a failed prolog": {"the batch system's hold is not ours", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Held, j.Restarts = true, 1 }))),
			want{Ready: "False Requeued", State: "Submitted", Do: "Cancel", Attempts: 1, KStatus: status.InProgressStatus}},
		"queued": {"the batch system's words are shown", sj(try(submitted, nil)), open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Message = "QOSMaxJobsLimit" }))),
			want{Ready: "False Queued", Phase: "Queued", State: "Queued", Attempts: 1, KStatus: status.InProgressStatus}},
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
			want{Ready: "False Intended", Phase: "Intended", State: "Intended", Do: "Forget", Attempts: 2, KStatus: status.InProgressStatus}},
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
		"node failed": {"the site's fault: a new attempt under a new key", sj(try(running, nil)), open(both(seeing(batch(slurmbridge.Interrupted, func(j *slurmbridge.Job) { j.Reason = "NodeFailure" })), func(w *world) { w.overFor = time.Minute })),
			want{Ready: "False Intended", Phase: "Intended", State: "Intended", Do: "Forget", Attempts: 2, KStatus: status.InProgressStatus}},
		"node failed too often": {"three attempts are enough", sj(try(running, func(a *v1alpha1.Attempt) { a.Number = 3 })), open(both(seeing(batch(slurmbridge.Interrupted, func(j *slurmbridge.Job) { j.Reason = "NodeFailure" })), func(w *world) { w.overFor = time.Minute })),
			want{Ready: "False NodeFailure", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}},
		"over": {"an end is an end", sj(try(over, nil)), open(nil), want{State: "Ended", Attempts: 1}},
		"deleted before submit": {"no job can exist", deleted(sj(try(intended, nil))), open(nil),
			want{State: "Intended", Do: "Forget", Released: true, Attempts: 1}},
		"deleted while running": {"told to stop, then cancelled, and looked for", deleted(sj(try(running, nil))), open(seeing(batch(slurmbridge.Running, nil))),
			want{Ready: "False Deleting", State: "Running", Do: "WriteControl Cancel", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted and over": {"the job was seen to be over", deleted(sj(try(running, nil))), open(seeing(batch(slurmbridge.Failed, nil))),
			want{State: "Ended", Do: "Forget", Released: true, Attempts: 1}},
		"deleted, submit uncertain": {"a job may still appear", deleted(sj(try(uncertain, nil))), open(nil),
			want{Ready: "False Deleting", State: "Uncertain", Attempts: 1, KStatus: status.TerminatingStatus}},
		"deleted, site silent": {"no proof, no release", deleted(sj(try(running, nil))), open(func(w *world) { w.lookErr = slurmbridge.ErrUnreachable }),
			want{State: "Running", Attempts: 1}},
		"deleted, site gone": {"only the user can say so", deleted(sj(try(running, nil))), world{},
			want{Ready: "False Deleting", State: "Running", Attempts: 1, KStatus: status.TerminatingStatus}},
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

func TestWaitingWords(t *testing.T) {
	job := sj(try(v1alpha1.AttemptQueued, nil))
	d := decide(job, open(seeing(batch(slurmbridge.Pending, func(j *slurmbridge.Job) { j.Message = "QOSMaxJobsLimit" }))), noon)
	got := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionScheduled).Message
	if want := "job 4711 waits: QOSMaxJobsLimit"; got != want {
		t.Errorf("got %q, want the batch system's own word: %q", got, want)
	}
	if got := d.Status.Waiting; got != "QOSMaxJobsLimit" {
		t.Errorf("waiting %q", got)
	}
	job.Status = d.Status
	if got := decide(job, open(seeing(batch(slurmbridge.Running, nil))), noon).Status.Waiting; got != "" {
		t.Errorf("a job that runs still waits: %q", got)
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

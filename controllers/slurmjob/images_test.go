package slurmjob

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

var images = []v1alpha1.PulledImage{
	{URI: "docker://a/one", Digest: "sha256:" + strings.Repeat("1", 64)},
	{URI: "docker://a/two", Digest: "sha256:" + strings.Repeat("2", 64)},
}

// puller is a SlurmJob that pulls.
func puller(attempts ...v1alpha1.Attempt) *v1alpha1.SlurmJob {
	job := sj(attempts...)
	job.Spec.Components, job.Spec.Images = nil, images
	return job
}

func TestDecidePull(t *testing.T) {
	const intended, running = v1alpha1.AttemptIntended, v1alpha1.AttemptRunning
	ended := func(phase slurmbridge.Phase, reason string, exit *rundir.Exit) func(*world) {
		return both(seeing(batch(phase, func(j *slurmbridge.Job) { j.Reason = reason })), func(w *world) {
			w.read, w.exit, w.overFor = true, exit, time.Minute
			w.plan = &rundir.Plan{Repeats: rundir.Repeats{First: 1, Count: 1}}
		})
	}
	cases := map[string]struct {
		reason  string
		job     *v1alpha1.SlurmJob
		seen    world
		want    want
		message string
	}{
		"nothing to pull": {"there is no job, not even an intent that could be handed in", puller(), open(func(w *world) { w.present, w.made = true, toMake() }),
			want{Ready: "True ImagesPresent", Phase: "Ended", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.CurrentStatus}, "docker://a/one and 1 more images are in the site's store"},
		"pulled by another meanwhile": {"an intent is not a job yet", puller(try(intended, nil)), open(func(w *world) { w.present, w.made, w.written = true, toMake(), true }),
			want{Ready: "True ImagesPresent", Phase: "Ended", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.CurrentStatus}, "nothing is pulled"},
		"handed in already": {"what was handed in is followed to its end", puller(try(running, nil)), open(both(seeing(batch(slurmbridge.Running, nil)), func(w *world) { w.present = true })),
			want{Ready: "False Running", Phase: "Running", State: "Running", Attempts: 1, KStatus: status.InProgressStatus}, ""},
		"something to pull": {"as every other job", puller(try(intended, nil)), open(func(w *world) { w.made, w.written = toMake(), true }),
			want{Ready: "False Intended", Phase: "Intended", State: "Intended", Do: "Submit", Attempts: 1, KStatus: status.InProgressStatus}, ""},
		"pulled": {"it has no components that could tell", puller(try(running, nil)), open(ended(slurmbridge.Succeeded, "Completed", &rundir.Exit{Reason: rundir.ExitReasonEnded})),
			want{Ready: "True Completed", Phase: "Ended", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.CurrentStatus}, "docker://a/one and 1 more images are in the site's store"},
		"unknown": {"the node's own words", puller(try(running, nil)), open(ended(slurmbridge.Failed, "NonZeroExit", &rundir.Exit{Reason: rundir.ExitReasonImageUnknown, Code: 1, Message: "the registry has no such image"})),
			want{Ready: "False ImageUnknown", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}, "the registry has no such image"},
		"time limit": {"no word of a measurement", puller(try(running, nil)), open(ended(slurmbridge.Failed, "TimeLimit", nil)),
			want{Ready: "False TimedOut", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}, "while it pulled docker://a/one: raise images.resources.timeLimit of the Site here"},
		"time limit, told": {"the node knows more", puller(try(running, nil)), open(ended(slurmbridge.Failed, "NonZeroExit", &rundir.Exit{Reason: rundir.ExitReasonTimeLimit, Code: 1, Message: "the time limit of 30m came"})),
			want{Ready: "False TimedOut", Phase: "Failed", State: "Ended", Do: "Forget", Attempts: 1, KStatus: status.FailedStatus}, "the time limit of 30m came"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := decide(c.job.DeepCopy(), c.seen, noon)
			if diff := cmp.Diff(c.want, gist(t, c.job, d)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if ready := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady); !strings.Contains(ready.Message, c.message) {
				t.Errorf("%s: %q, want %q in it", c.reason, ready.Message, c.message)
			}
		})
	}
}

// pullBench is a world in which the SlurmJob pulls.
func pullBench(t *testing.T, pull string) *bench {
	t.Helper()
	b := newBench(t, 7, &plot{})
	var site v1alpha1.Site
	if err := b.client.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "here"}, &site); err != nil {
		t.Fatal(err)
	}
	site.Spec.Images.Pull = pull
	if err := b.client.Update(t.Context(), &site); err != nil {
		t.Fatal(err)
	}
	b.change(func(job *v1alpha1.SlurmJob) { job.Spec.Components, job.Spec.Images = nil, images })
	return b
}

func (b *bench) change(f func(*v1alpha1.SlurmJob)) {
	b.t.Helper()
	job := b.job()
	f(job)
	if err := b.client.Update(b.t.Context(), job); err != nil {
		b.t.Fatal(err)
	}
}

func succeeded(job *v1alpha1.SlurmJob) string {
	c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

// The first job pulls, the second finds everything in the store and is never handed in.
func TestPullOnce(t *testing.T) {
	b := pullBench(t, v1alpha1.PullByJob)
	if got := succeeded(b.until("complete", complete)); got != "True Completed" {
		t.Errorf("the first job: %s", got)
	}
	b.change(func(job *v1alpha1.SlurmJob) { job.UID = "30000000-0000-4000-8000-000000000005" })
	b.change(func(job *v1alpha1.SlurmJob) { job.Status = v1alpha1.SlurmJobStatus{} })
	job := b.job()
	job.Status = v1alpha1.SlurmJobStatus{}
	if err := b.client.Status().Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	b.start()
	if got := succeeded(b.until("complete", complete)); got != "True ImagesPresent" {
		t.Errorf("the second job: %s", got)
	}
	counts := b.cluster.Counts()
	if len(counts.Submits) != 1 || counts.Pulls != len(images) {
		t.Errorf("submits %v, %d pulls; want one job and %d pulls", counts.Submits, counts.Pulls, len(images))
	}
}

// Where nothing is to be pulled a person is told how an image comes into the store, and once it is there all goes on.
func TestPullNever(t *testing.T) {
	b := pullBench(t, v1alpha1.PullNever)
	job := b.until("refused", func(job *v1alpha1.SlurmJob) bool {
		return meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionStalled)
	})
	stalled := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionStalled)
	want := node + " pull --store /work/images --digest " + images[0].Digest + " 'docker://a/one' && " + node + " pull"
	if stalled.Reason != v1alpha1.ReasonImageMissing || !strings.Contains(stalled.Message, want) {
		t.Errorf("%s: %s\nwant ImageMissing and %q", stalled.Reason, stalled.Message, want)
	}
	for _, img := range images {
		record := `{"version":1,"uri":"` + img.URI + `","digest":"` + img.Digest + `","sha256":"` + strings.Repeat("3", 64) + `","size":3,"time":"2026-01-01T12:00:00Z","runtime":"x"}`
		path := rundir.ImageRecordOf(rundir.StoredImage("/work", img.Digest))
		if err := b.site.Write(t.Context(), map[string][]byte{path: []byte(record)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := succeeded(b.until("complete", complete)); got != "True ImagesPresent" {
		t.Errorf("%s, want that it goes on", got)
	}
	if counts := b.cluster.Counts(); len(counts.Submits) != 0 {
		t.Errorf("submits %v", counts.Submits)
	}
}

// A pull that fails ends with the node's reason.
func TestPullFails(t *testing.T) {
	b := pullBench(t, v1alpha1.PullByJob)
	b.cluster.FailComponent("docker://a/two", rundir.ExitReasonRegistrySilent)
	if got := succeeded(b.until("complete", complete)); got != "False RegistrySilent" {
		t.Errorf("%s", got)
	}
}

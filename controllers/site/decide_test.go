package site

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
	"assay.bench/slurmbridge"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// want is what a decision is compared by.
type want struct {
	// Ready, Reachable and Synced are status and reason; "" for a condition that is not there.
	Ready, Reachable, Synced string
	Do                       string
	Released                 bool
	KStatus                  status.Status
}

func TestDecide(t *testing.T) {
	well := looks{opened: noon.Add(-time.Hour), probed: noon, beaten: noon, swept: noon}
	open := func(edit func(*world)) world {
		w := world{door: "local", open: true, current: true, looks: well, sweepEvery: 10 * time.Minute}
		if edit != nil {
			edit(&w)
		}
		return w
	}
	good := want{Ready: "True SiteAnswers", Reachable: "True SiteAnswers", Synced: "True SiteAnswers", KStatus: status.CurrentStatus}
	with := func(w want, effects string) want {
		w.Do = effects
		return w
	}
	silent := want{Ready: "False SiteUnreachable", Reachable: "False SiteUnreachable", Synced: "Unknown SiteUnreachable", KStatus: status.InProgressStatus}
	cases := map[string]struct {
		reason string
		gone   bool
		notes  map[string]string
		seen   world
		want   want
	}{
		"no such door": {reason: "a newer recipe than this program", seen: world{},
			want: want{Ready: "False InvalidParameters", KStatus: status.FailedStatus}},
		"refused": {reason: "nothing is opened", seen: world{door: "local", refused: true},
			want: want{Ready: "False HostAccessRefused", KStatus: status.FailedStatus}},
		"new": {reason: "opened and looked at", seen: world{door: "local"},
			want: want{Ready: "False Progressing", Do: "Open Probe", KStatus: status.InProgressStatus}},
		"did not open": {reason: "tried again, but not at once", seen: world{door: "local", current: true, looks: looks{probed: noon, failed: errors.New("no such program")}},
			want: silent},
		"did not open, later": {reason: "tried again", seen: world{door: "local", current: true, looks: looks{probed: noon.Add(-time.Minute), failed: errors.New("no such program")}},
			want: with(silent, "Open Probe")},
		"another host key": {reason: "only a person can tell whether it is right", seen: world{door: "ssh", current: true, looks: looks{probed: noon.Add(-30 * time.Second), failed: errors.Join(slurmbridge.ErrHostKey, slurmbridge.ErrUnreachable)}},
			want: refusedBy(v1alpha1.ReasonHostKeyRefused)},
		"credentials refused": {reason: "who knocks too often is shut out", seen: world{door: "ssh", current: true, looks: looks{probed: noon.Add(-30 * time.Second), failed: errors.Join(slurmbridge.ErrCredentials, slurmbridge.ErrUnreachable)}},
			want: refusedBy(v1alpha1.ReasonCredentialsRefused)},
		"refused, later": {reason: "the key may have been mended", seen: world{door: "ssh", current: true, looks: looks{probed: noon.Add(-time.Minute), failed: slurmbridge.ErrCredentials}},
			want: with(refusedBy(v1alpha1.ReasonCredentialsRefused), "Open Probe")},
		"refused while open": {reason: "it is tried again, but not at once", seen: open(func(w *world) { w.looks.failed = slurmbridge.ErrCredentials }), want: refusedBy(v1alpha1.ReasonCredentialsRefused)},
		"well":               {reason: "nothing to do", seen: open(nil), want: good},
		"due for a look":     {reason: "what was well may not be", seen: open(func(w *world) { w.looks.probed = noon.Add(-time.Minute) }), want: with(good, "Probe")},
		"silent": {reason: "nothing is concluded", seen: open(func(w *world) { w.looks.failed = fmt.Errorf("%w: refused", slurmbridge.ErrUnreachable) }),
			want: silent},
		"work folder": {reason: "it answers, and a person has to mend the folder", seen: open(func(w *world) { w.looks.failed = fmt.Errorf("%w: others may write to it", slurmbridge.ErrWorkDir) }),
			want: want{Ready: "False WorkDirUnusable", Reachable: "True SiteAnswers", Synced: "True SiteAnswers", KStatus: status.FailedStatus}},
		"beat": {reason: "others must see that this origin lives", seen: open(func(w *world) { w.looks.beaten = noon.Add(-time.Minute) }), want: with(good, "Beat")},
		"beat, changed, in use": {reason: "a control plane that waits lives as well", seen: open(func(w *world) {
			w.current, w.live, w.elsewhere, w.looks.beaten = false, 2, true, noon.Add(-time.Minute)
		}),
			want: want{Ready: "False Waiting", Do: "Beat", KStatus: status.InProgressStatus}},
		"beat, refused": {reason: "the token has expired, and files go another way", seen: open(func(w *world) {
			w.looks.failed, w.looks.beaten = slurmbridge.ErrCredentials, noon.Add(-time.Minute)
		}), want: with(refusedBy(v1alpha1.ReasonCredentialsRefused), "Beat")},
		"beat, not allowed any more": {reason: "the old door is open still", seen: open(func(w *world) { w.refused, w.looks.beaten = true, noon.Add(-time.Minute) }),
			want: want{Ready: "False HostAccessRefused", Do: "Beat", KStatus: status.FailedStatus}},
		"beat failed": {reason: "soon again, for who is silent is taken for dead", seen: open(func(w *world) { w.looks.beaten, w.looks.unbeaten = noon.Add(-10*time.Second), errors.New("disk full") }), want: with(good, "Beat")},
		"beat failed, refused": {reason: "but who knocks too often is shut out", seen: open(func(w *world) {
			w.looks.beaten, w.looks.unbeaten = noon.Add(-10*time.Second), slurmbridge.ErrCredentials
		}), want: good},
		"first sweep":  {reason: "soon after the door opened", seen: open(func(w *world) { w.looks.swept = time.Time{} }), want: with(good, "Sweep")},
		"too early":    {reason: "but not before the others had time", seen: open(func(w *world) { w.looks.swept, w.looks.opened = time.Time{}, noon }), want: good},
		"sweep":        {reason: "and then ever again", seen: open(func(w *world) { w.looks.swept = noon.Add(-10 * time.Minute) }), want: with(good, "Sweep")},
		"sweep failed": {reason: "sooner when it could not look", seen: open(func(w *world) { w.looks.swept, w.looks.sweepFailed = noon.Add(-2*time.Minute), true }), want: with(good, "Sweep")},
		"changed": {reason: "a new spec needs a new door", seen: open(func(w *world) { w.current = false }),
			want: want{Ready: "False Progressing", Do: "Open Probe", KStatus: status.InProgressStatus}},
		"changed, in use": {reason: "but not under jobs that run elsewhere", seen: open(func(w *world) { w.current, w.live, w.elsewhere = false, 2, true }),
			want: want{Ready: "False Waiting", KStatus: status.InProgressStatus}},
		"another way, in use": {reason: "the old one may be gone for good", seen: open(func(w *world) { w.current, w.live, w.looks.failed = false, 2, slurmbridge.ErrHostKey }),
			want: want{Ready: "False Progressing", Do: "Reopen", KStatus: status.InProgressStatus}},
		"another way, in vain": {reason: "not at once again", seen: open(func(w *world) {
			w.current, w.live, w.tried, w.looks.failed = false, 2, true, fmt.Errorf("%w: no route", slurmbridge.ErrUnreachable)
		}), want: silent},
		"another way, in vain, later": {reason: "it may have been mended", seen: open(func(w *world) {
			w.current, w.live, w.tried, w.looks.failed = false, 2, true, fmt.Errorf("%w: no route", slurmbridge.ErrUnreachable)
			w.looks.probed = noon.Add(-5 * time.Second)
		}), want: with(silent, "Reopen")},
		"another way, refused": {reason: "a person has to mend it", seen: open(func(w *world) {
			w.current, w.live, w.tried, w.looks.failed = false, 2, true, slurmbridge.ErrCredentials
			w.looks.probed = noon.Add(-5 * time.Second)
		}), want: refusedBy(v1alpha1.ReasonCredentialsRefused)},
		"another way, to another site": {reason: "its jobs are not ours", seen: open(func(w *world) {
			w.current, w.live, w.tried, w.looks.failed = false, 2, true, fmt.Errorf("%w: its cluster is b", errElsewhere)
		}), want: want{Ready: "False Waiting", KStatus: status.InProgressStatus}},
		"refused while open, later": {reason: "the key may have been replaced where it lies", seen: open(func(w *world) {
			w.looks.failed, w.looks.probed = slurmbridge.ErrCredentials, noon.Add(-time.Minute)
		}), want: with(refusedBy(v1alpha1.ReasonCredentialsRefused), "Open Probe")},
		"refused under jobs, later": {reason: "and the door to them stays until then", seen: open(func(w *world) {
			w.live, w.looks.failed, w.looks.probed = 2, slurmbridge.ErrHostKey, noon.Add(-time.Minute)
		}), want: with(refusedBy(v1alpha1.ReasonHostKeyRefused), "Reopen")},
		"deleted": {reason: "nobody uses it", gone: true, seen: open(nil), want: want{Do: "Shut", Released: true}},
		"deleted, in use": {reason: "its users need it to end", gone: true, seen: open(func(w *world) { w.users = []string{"a"} }),
			want: want{Ready: "False InUse", Reachable: "True SiteAnswers", Synced: "True SiteAnswers", KStatus: status.TerminatingStatus}},
		"deleted, in use, shut": {reason: "its users need it to end, also after a restart", gone: true, seen: world{door: "local", users: []string{"a"}},
			want: want{Ready: "False InUse", Do: "Open Probe", KStatus: status.TerminatingStatus}},
		"abandoned": {reason: "the door stays open", gone: true, notes: map[string]string{v1alpha1.AnnotationAbandon: "true"}, seen: open(func(w *world) { w.users = []string{"a"} }),
			want: want{Ready: "False Deleting", Released: true, KStatus: status.TerminatingStatus}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			site := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", Generation: 3, Annotations: c.notes}}
			if c.gone {
				site.DeletionTimestamp = &metav1.Time{Time: noon}
			}
			d := decide(site, c.seen, noon)
			site.Status = d.Status
			var effects []string
			for _, e := range d.Do {
				effects = append(effects, strings.TrimPrefix(fmt.Sprintf("%T", e), "site."))
			}
			got := want{
				Ready: condition(site, v1alpha1.ConditionReady), Reachable: condition(site, v1alpha1.ConditionReachable),
				Synced: condition(site, v1alpha1.ConditionSynced), Do: strings.Join(effects, " "), Released: d.Release,
			}
			if got.Ready != "" {
				got.KStatus = kstatusOf(t, site)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if d.After <= 0 && !d.Release && c.seen.door != "" && !c.seen.refused {
				t.Error("nobody looks again")
			}
		})
	}
}

// What is said of a token that works, and may not for long.
func TestTokenEnds(t *testing.T) {
	for reason, c := range map[string]struct {
		door    string
		expires time.Time
		stale   error
		want    string
	}{
		"it is young":                 {"rest", noon.Add(time.Hour), nil, "SiteAnswers: the site took the credentials"},
		"it does not tell":            {"rest", time.Time{}, nil, "SiteAnswers: the site took the credentials"},
		"nobody has renewed it":       {"rest", noon.Add(time.Minute), nil, "CredentialsExpire: the token expires within 2 minutes, and nobody has renewed it: put a new one in its place"},
		"none could be made":          {"rest", noon.Add(time.Hour), errors.New("a new token: no route"), "CredentialsExpire: the token is still valid, but a new token: no route"},
		"a key has no end":            {"ssh", time.Time{}, nil, "SiteAnswers: the site took the credentials"},
		"a door to this very machine": {"local", time.Time{}, nil, "NoCredentialsNeeded: the door local needs no credentials"},
	} {
		w := world{door: c.door, open: true, current: true, sweepEvery: time.Minute, expires: c.expires, stale: c.stale}
		w.looks = looks{opened: noon, probed: noon, beaten: noon, swept: noon}
		site := &v1alpha1.Site{}
		if c.door == "rest" {
			site.Spec.Jobs.REST = &v1alpha1.RESTDoor{}
		}
		status := decide(site, w, noon).Status
		got := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionCredentialsValid)
		if got == nil || got.Status != metav1.ConditionTrue || !strings.HasPrefix(got.Reason+": "+got.Message, c.want) {
			t.Errorf("%s: %+v, want %s", reason, got, c.want)
		}
	}
}

// refusedBy is what is said of a site whose keys a person has to mend.
func refusedBy(reason string) want {
	return want{Ready: "False " + reason, Reachable: "Unknown " + reason, Synced: "Unknown " + reason, KStatus: status.FailedStatus}
}

func condition(site *v1alpha1.Site, kind string) string {
	c := meta.FindStatusCondition(site.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

// kstatusOf is what generic tools make of an object.
func kstatusOf(t *testing.T, site *v1alpha1.Site) status.Status {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(site)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("Site"))
	result, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

func TestUnwanted(t *testing.T) {
	const (
		ours, theirs = "0123456789abcdef", "fedcba9876543210"
		uid, gone    = "20000000-0000-4000-8000-000000000005", "30000000-0000-4000-8000-000000000006"
	)
	job := func(id string, origin, uid string, attempt int, phase slurmbridge.Phase) slurmbridge.Job {
		return slurmbridge.Job{ID: id, Key: slurmbridge.NewKey(origin, uid, attempt), Phase: phase}
	}
	one := int32(1)
	objects := []v1alpha1.SlurmJob{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "run", UID: uid},
		Status: v1alpha1.SlurmJobStatus{Attempts: []v1alpha1.Attempt{
			{Number: 1, Key: string(slurmbridge.NewKey(ours, uid, 1)), State: v1alpha1.AttemptEnded, JobID: "1", Reason: "Lost"},
			{Number: 2, Key: string(slurmbridge.NewKey(ours, uid, 2)), State: v1alpha1.AttemptEnded, JobID: "2", ExitCode: &one},
			{Number: 3, Key: string(slurmbridge.NewKey(ours, uid, 3)), State: v1alpha1.AttemptRunning, JobID: "3"},
		}},
	}}
	cases := map[string]struct {
		reason string
		job    slurmbridge.Job
		want   bool
	}{
		"wanted":             {"its object wants it", job("3", ours, uid, 3, slurmbridge.Running), false},
		"not stored yet":     {"the list may be newer than the object", job("4", ours, uid, 4, slurmbridge.Pending), false},
		"object gone":        {"nobody wants it", job("5", ours, gone, 1, slurmbridge.Running), true},
		"object gone, ended": {"it is over", job("5", ours, gone, 1, slurmbridge.Failed), false},
		"lost and found":     {"its attempt was given up", job("1", ours, uid, 1, slurmbridge.Running), true},
		"just ended":         {"it ended between the two looks", job("2", ours, uid, 2, slurmbridge.Running), false},
		"late duplicate":     {"another job under an ended key", job("9", ours, uid, 2, slurmbridge.Pending), true},
		"another origin":     {"never ours to touch", job("6", theirs, gone, 1, slurmbridge.Running), false},
		"not a key":          {"never ours to touch", slurmbridge.Job{ID: "7", Key: "assay-mine", Phase: slurmbridge.Running}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := len(unwanted(ours, []slurmbridge.Job{c.job}, objects)) == 1; got != c.want {
				t.Errorf("%s: cancelled %v, want %v", c.reason, got, c.want)
			}
		})
	}
}

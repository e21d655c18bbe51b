package loadclient

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// own is a LoadClient that no Benchmark owns.
func own(change ...func(*v1alpha1.LoadClient)) *v1alpha1.LoadClient {
	c := &v1alpha1.LoadClient{
		ObjectMeta: metav1.ObjectMeta{Name: "load", Namespace: "ns", UID: "uid", Generation: 3},
		Spec: v1alpha1.LoadClientSpec{ClientParameters: v1alpha1.ClientParameters{
			Target: v1alpha1.Target{Service: "sim"}, ClosedLoop: &v1alpha1.ClosedLoop{Concurrency: 8}, Instances: 1, Duration: "25s",
		}, Site: "here"},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// ofBenchmark is a LoadClient of the Benchmark bm.
func ofBenchmark() *v1alpha1.LoadClient {
	return own(func(c *v1alpha1.LoadClient) {
		c.Name, c.Spec.Site = "bm-load", ""
		c.Labels = map[string]string{v1alpha1.LabelBenchmark: "bm", v1alpha1.LabelRun: "g1", v1alpha1.LabelComponent: "load"}
		c.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(aBenchmark(), v1alpha1.SchemeGroupVersion.WithKind("Benchmark"))}
	})
}

func aBenchmark(change ...func(*v1alpha1.Benchmark, reconcile.Conditions)) *v1alpha1.Benchmark {
	bm := &v1alpha1.Benchmark{ObjectMeta: metav1.ObjectMeta{Name: "bm", Namespace: "ns", UID: "uid-bm"}}
	bm.Spec.Repeats.Count = 2
	bm.Status.Run = &v1alpha1.RunStatus{Name: "g1", Directory: "/work/o/ns/bm/g1"}
	for _, f := range change {
		f(bm, reconcile.Conditions{List: &bm.Status.Conditions, Now: now})
	}
	if reconcile.IsComplete(bm.Status.Conditions) {
		bm.Status.Run.EndTime = &metav1.Time{Time: now}
	}
	return bm
}

func openSite(change ...func(*World)) World {
	service := &v1alpha1.SlurmJob{ObjectMeta: metav1.ObjectMeta{Name: "bsvc-sim-g1"}}
	service.Spec.Run = v1alpha1.JobRun{Owner: "service.sim", Name: "g1"}
	w := World{
		Site: &v1alpha1.Site{}, Target: &v1alpha1.Service{}, TargetJob: service,
		Start: Start{Run: "g3", Directory: "/work/o/ns/loadclient.load/g3", Seed: 5},
	}
	for _, f := range change {
		f(&w)
	}
	return w
}

type change func(*v1alpha1.SlurmJob, reconcile.Conditions)

// inJob is a world in which the LoadClient has its job of one repeat, or of two where a Benchmark owns it.
func inJob(c *v1alpha1.LoadClient, changes ...change) World {
	w := openSite()
	j := ownJob(c, w)
	w = World{Jobs: []*v1alpha1.SlurmJob{j}}
	j.Status.Phase, j.Status.Directory = "Running", "/a/1"
	if owned(c) {
		w.Benchmark = aBenchmark()
		j.Spec.Run.Repeats.Count = 2
	}
	for _, f := range changes {
		f(j, reconcile.Conditions{List: &j.Status.Conditions, Now: now})
	}
	return w
}

func (w World) with(m Measured) World {
	w.Measured = &m
	return w
}

func phase(p string) change {
	return func(j *v1alpha1.SlurmJob, _ reconcile.Conditions) { j.Status.Phase = p }
}

func says(f func(*v1alpha1.ComponentStatus)) change {
	return func(j *v1alpha1.SlurmJob, _ reconcile.Conditions) {
		c := v1alpha1.ComponentStatus{Kind: "LoadClient", Name: j.Spec.Components[0].Name, Ranks: 1}
		f(&c)
		j.Status.Components = []v1alpha1.ComponentStatus{c}
	}
}

func exits(reason string, done int32) change {
	return says(func(c *v1alpha1.ComponentStatus) {
		c.RepeatsDone, c.Exit = done, &v1alpha1.ComponentExit{Reason: reason}
	})
}

func over(status metav1.ConditionStatus, reason string) change {
	return func(_ *v1alpha1.SlurmJob, c reconcile.Conditions) { c.Ended(status, reason, "words") }
}

// rank is what one rank measured: a thousand requests.
func rank(t *testing.T, repeat int, changes ...func(*results.Rank)) results.Rank {
	t.Helper()
	const n = 1000
	h := hdrhistogram.New(1, int64(time.Hour), 3)
	if err := h.RecordValues(int64(50*time.Millisecond), n); err != nil {
		t.Fatal(err)
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	count := results.Counts{Offered: n, Sent: n, Succeeded: n, Attempts: n, Completed: n}
	r := results.Rank{
		Version: results.RankVersion, Client: "load", Ranks: 1, Repeat: repeat, Workload: "inference", Mode: "closed", Concurrency: 8,
		Window: int64(25 * time.Second), Measured: count, All: count, Audit: results.Audit{Sound: true},
		Operations: []results.Operation{{Succeeded: n}}, Totals: []results.Total{{Name: "output_tokens"}},
		Metrics: []results.Metric{{
			Name: "ttft", Unit: "ns", Count: n, Sum: n * int64(50*time.Millisecond), Min: int64(50 * time.Millisecond), Max: int64(50 * time.Millisecond),
			Histogram: string(b),
		}},
	}
	for _, f := range changes {
		f(&r)
	}
	return r
}

type sight struct {
	Phase, Job, Repeats, Ready string
	Conditions                 []string
	Numbers                    int
	Do                         []string
	After                      time.Duration
	Release                    bool
}

func summary(d Decision) sight {
	out := sight{
		Phase: d.Status.Phase, Job: d.Status.Job, Repeats: d.Status.Repeats, Numbers: len(d.Status.Results), After: d.After, Release: d.Release,
	}
	for _, c := range d.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			first, _, _ := strings.Cut(c.Message, "; load") // more words of the result
			out.Ready = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, first)
			continue
		}
		out.Conditions = append(out.Conditions, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	for _, e := range d.Do {
		switch e := e.(type) {
		case CreateJob:
			peers := ""
			for _, p := range e.Job.Spec.Run.Peers {
				peers += fmt.Sprintf(" with %s %s in %s/%s/%s", p.Kind, p.Name, p.Owner, p.Run, p.Job)
			}
			out.Do = append(out.Do, "create "+e.Job.Name+peers)
		case WriteRecord:
			out.Do = append(out.Do, "record "+e.Path)
		case reconcile.Delete:
			out.Do = append(out.Do, "delete "+e.Kind+" "+e.Name)
		default:
			out.Do = append(out.Do, fmt.Sprintf("%T", e))
		}
	}
	return out
}

type state struct {
	reason string
	client *v1alpha1.LoadClient
	world  World
	want   sight
	// ended says that nothing is under way.
	ended bool
}

func states(t *testing.T) map[string]state {
	all := startStates()
	for _, more := range []map[string]state{jobStates(), endStates(t), afterStates(t), deletionStates()} {
		maps.Copy(all, more)
	}
	return all
}

func startStates() map[string]state {
	unfinished := []string{"Complete=False Progressing", "Succeeded=Unknown Progressing", "Sound=Unknown Waiting", "Reconciling=True Waiting"}
	return map[string]state{
		"start": {
			reason: "the node finds the endpoint in the folder of the target's job", client: own(), world: openSite(),
			want: sight{
				Phase: "Waiting", Ready: "False Waiting: makes its SlurmJob", Conditions: unfinished,
				Do: []string{"record /work/o/ns/loadclient.load/g3/run.json", "create lc-load-g3 with Service sim in service.sim/g1/bsvc-sim-g1"},
			},
		},
		"start, url": {
			reason: "a URL needs no service",
			client: own(func(c *v1alpha1.LoadClient) { c.Spec.Target = v1alpha1.Target{URL: "http://x"} }),
			world:  openSite(func(w *World) { w.Target, w.TargetJob = nil, nil }),
			want: sight{
				Phase: "Waiting", Ready: "False Waiting: makes its SlurmJob", Conditions: unfinished,
				Do: []string{"record /work/o/ns/loadclient.load/g3/run.json", "create lc-load-g3"},
			},
		},
		"suspended": {
			reason: "nothing starts while suspended", client: own(func(c *v1alpha1.LoadClient) { c.Spec.Suspend = true }), world: openSite(),
			want: sight{Phase: "Waiting", Ready: "False Suspended: spec.suspend is true: nothing starts"},
		},
		"no site named": {
			reason: "the API cannot see the owner", client: own(func(c *v1alpha1.LoadClient) { c.Spec.Site = "" }), world: openSite(), ended: true,
			want: sight{Phase: "Waiting", Ready: "False SiteMissing: a LoadClient that no Benchmark owns needs spec.site", Conditions: []string{"Stalled=True SiteMissing"}},
		},
		"target missing": {
			reason: "it may be made later", client: own(), world: openSite(func(w *World) { w.Target, w.TargetJob = nil, nil }), ended: true,
			want: sight{
				Phase: "Waiting", Ready: `False TargetMissing: there is no services.assay.bench "sim" in namespace ns: create it, or use target.url`,
				Conditions: []string{"Stalled=True TargetMissing"}, After: again,
			},
		},
		"target without job": {
			reason: "it is on its way", client: own(), world: openSite(func(w *World) { w.TargetJob = nil }),
			want: sight{Phase: "Waiting", Ready: "False Waiting: waits for the SlurmJob of service sim", Conditions: []string{"Reconciling=True Waiting"}, After: again},
		},
		"target ended": {
			reason: "there is nothing to load", client: own(), ended: true,
			world: openSite(func(w *World) {
				reconcile.Conditions{List: &w.TargetJob.Status.Conditions, Now: now}.Ended("True", "Completed", "")
			}),
			want: sight{Phase: "Waiting", Ready: "False TargetMissing: service sim has ended: start it again", Conditions: []string{"Stalled=True TargetMissing"}, After: again},
		},
		"time scale": {
			reason: "the API server would refuse it in the job, and nobody would say why", ended: true, world: openSite(),
			client: own(func(c *v1alpha1.LoadClient) { c.Annotations = map[string]string{v1alpha1.AnnotationTimeScale: "1e-1"} }),
			want: sight{
				Phase: "Waiting", Conditions: []string{"Stalled=True InvalidParameters"},
				Ready: `False InvalidParameters: annotation assay.bench/time-scale: "1e-1": use a number above 0 and at most 1000, such as 0.1`,
			},
		},
		"full disk": {
			reason: "what hinders the record is told, and tried again", client: own(), world: openSite(func(w *World) { w.Unwritten = "no room" }), ended: true,
			want: sight{
				Phase: "Waiting", Ready: "False WorkDirUnusable: no room",
				Conditions: []string{"Complete=False Progressing", "Succeeded=Unknown Progressing", "Sound=Unknown Waiting", "Stalled=True WorkDirUnusable"},
				Do:         []string{"record /work/o/ns/loadclient.load/g3/run.json", "create lc-load-g3 with Service sim in service.sim/g1/bsvc-sim-g1"},
			},
		},
		"door closed": {
			reason: "a site that is not open yet", client: own(), world: openSite(func(w *World) { w.Closed = "not open" }),
			want: sight{Phase: "Waiting", Ready: "False Waiting: waits for Site here: not open", Conditions: []string{"Reconciling=True Waiting"}, After: again},
		},
		"another spec": {
			reason: "the former job goes first",
			client: own(func(c *v1alpha1.LoadClient) { c.Spec.Duration = "9s" }),
			world: openSite(func(w *World) {
				w.Jobs = inJob(own()).Jobs
				w.Children = []reconcile.Child{{Kind: "SlurmJob", Name: "lc-load-g3"}}
			}),
			want: sight{
				Phase: "Draining", Ready: "False Progressing: waits until its former job is gone", Conditions: []string{"Reconciling=True Progressing"},
				Do: []string{"delete SlurmJob lc-load-g3"}, After: again,
			},
		},
		"owned, no job yet": {
			reason: "its Benchmark makes the job", client: ofBenchmark(), world: World{Benchmark: aBenchmark()},
			want: sight{Phase: "Waiting", Ready: "False Waiting: waits for its SlurmJob", Conditions: []string{
				"Reconciling=True Waiting", "Complete=False Progressing", "Succeeded=Unknown Progressing", "Sound=Unknown Waiting",
			}},
		},
	}
}

func jobStates() map[string]state {
	under := func(reason string) []string {
		return []string{"Complete=False Progressing", "Succeeded=Unknown Progressing", "Sound=Unknown Waiting", reason}
	}
	at := func(phase string, done int32) World {
		return inJob(ofBenchmark(), says(func(c *v1alpha1.ComponentStatus) { c.Phase, c.RepeatsDone = phase, done }))
	}
	follows := func(reason string, w World, want sight) state {
		want.Job = "lc-bm-load-g3"
		return state{reason: reason, client: ofBenchmark(), world: w, want: want}
	}
	return map[string]state{
		"queued": follows("the job waits", inJob(ofBenchmark(), phase("Queued")),
			sight{Phase: "Waiting", Repeats: "0/2", Ready: "False Waiting: waits for the queue", Conditions: under("Reconciling=True Waiting")}),
		"waits": follows("its service starts", at("Waiting", 0),
			sight{Phase: "Waiting", Repeats: "0/2", Ready: "False Waiting: waits for its service, or for the other ranks", Conditions: under("Reconciling=True Waiting")}),
		"barrier": follows("the other ranks are not ready", at("Ready", 0),
			sight{Phase: "Ready", Repeats: "0/2", Ready: "False Waiting: stands at the barrier", Conditions: under("Reconciling=True Waiting")}),
		"warms up": follows("load runs", at("Warmup", 1),
			sight{Phase: "Warmup", Repeats: "1/2", Ready: "False Measuring: the load runs", Conditions: under("Reconciling=True Measuring")}),
		"measures": follows("load runs", at("Measuring", 1),
			sight{Phase: "Measuring", Repeats: "1/2", Ready: "False Measuring: the load runs", Conditions: under("Reconciling=True Measuring")}),
		"between two jobs": {
			reason: "the repeat's job is over, the next one is not there yet", client: ofBenchmark(),
			world: inJob(ofBenchmark(), exits("Ended", 1), over("True", "Completed"), func(j *v1alpha1.SlurmJob, _ reconcile.Conditions) { j.Spec.Run.Repeats.Count = 1 }),
			want: sight{
				Phase: "Waiting", Job: "lc-bm-load-g3", Repeats: "1/2", Ready: "False Waiting: waits for its service, or for the other ranks",
				Conditions: under("Reconciling=True Waiting"),
			},
		},
		"ended by its job": follows("the site may start the job again, and the load with it",
			inJob(ofBenchmark(), says(func(c *v1alpha1.ComponentStatus) {
				c.Phase, c.RepeatsDone, c.Exit = "Failed", 1, &v1alpha1.ComponentExit{Reason: "Stopped"}
			})),
			sight{Phase: "Draining", Repeats: "1/2", Ready: "False Progressing: the load ends", Conditions: under("Reconciling=True Progressing")}),
		"job refused": {
			reason: "what only a person can lift", client: own(), ended: true,
			world: inJob(own(), func(_ *v1alpha1.SlurmJob, c reconcile.Conditions) { c.Stalled("WorkDirUnusable", "chmod it") }),
			want: sight{
				Phase: "Waiting", Job: "lc-load-g3", Repeats: "0/1", Ready: "False WorkDirUnusable: SlurmJob lc-load-g3: chmod it",
				Conditions: under("Stalled=True WorkDirUnusable"),
			},
		},
	}
}

// done are the conditions of a load that has ended.
func done(sound, outcome string, success metav1.ConditionStatus) []string {
	out := []string{"Sound=" + sound, "Complete=True " + outcome, fmt.Sprintf("Succeeded=%s %s", success, outcome)}
	if success != "True" {
		out = append(out, "Stalled=True "+outcome)
	}
	return out
}

func endStates(t *testing.T) map[string]state {
	both := []results.Rank{rank(t, 1), rank(t, 2)}
	limited := rank(t, 2, func(r *results.Rank) { r.Audit = results.Audit{Violations: []string{"send lag"}} })
	late := rank(t, 2, func(r *results.Rank) { r.Truncated = true })
	gone := aBenchmark(func(_ *v1alpha1.Benchmark, c reconcile.Conditions) { c.Ended("False", "TimedOut", "") })
	ended := inJob(ofBenchmark(), exits("Ended", 2))
	judged := func(reason string, w World, m Measured, want sight) state {
		m.Ranks, m.Repeats = 1, 2
		if len(w.Jobs) > 0 {
			want.Job = "lc-bm-load-g3"
		}
		return state{reason: reason, client: ofBenchmark(), world: w.with(m), want: want, ended: true}
	}
	return map[string]state{
		"site silent": {
			reason: "the results are read once the site answers", client: ofBenchmark(),
			world: func() World { w := ended; w.Silent = "no route"; return w }(),
			want: sight{
				Phase: "Draining", Job: "lc-bm-load-g3", Repeats: "2/2", After: again,
				Ready:      "False Progressing: the load has ended; its results are read once the site answers: no route",
				Conditions: []string{"Complete=False Progressing", "Succeeded=Unknown Progressing", "Sound=Unknown Waiting", "Reconciling=True Progressing"},
			},
		},
		"passed": judged("whole and sound", ended, Measured{Results: both}, sight{
			Phase: "Ended", Repeats: "2/2", Ready: "True Passed: the run is whole; it has no SLO", Numbers: 5, Conditions: done("True WithinLimits", "Passed", "True"),
		}),
		"not sound": judged("the client limited the result", ended, Measured{Results: []results.Rank{both[0], limited}}, sight{
			Phase: "Ended", Repeats: "2/2", Ready: "False MeasurementInvalid: the client limited the result: load repeat 2 rank 0: send lag", Numbers: 5,
			Conditions: done("False ClientLimited", "MeasurementInvalid", "Unknown"),
		}),
		"partial": judged("a repeat is missing", inJob(ofBenchmark(), exits("PeerLost", 1), over("False", "NodeFailure")),
			Measured{Results: both[:1], Reason: rundir.ExitReasonPeerLost}, sight{
				Phase: "Ended", Repeats: "1/2", Ready: "False Partial: 1 of 2 repeats are whole", Numbers: 5, Conditions: done("True WithinLimits", "Partial", "Unknown"),
			}),
		"gave up": judged("the abort threshold", inJob(ofBenchmark(), exits("Aborted", 1), over("False", "Aborted")),
			Measured{Results: both[:1], Reason: "Aborted", Message: "60 % failed"}, sight{
				Phase: "Failed", Repeats: "1/2", Ready: "False Failed: Aborted: 60 % failed", Numbers: 5, Conditions: done("True WithinLimits", "Failed", "False"),
			}),
		"time limit": judged("the job's time was over", inJob(ofBenchmark(), exits("TimeLimit", 1), over("False", "TimedOut")),
			Measured{Results: []results.Rank{both[0], late}, Reason: "TimeLimit"}, sight{
				Phase: "Failed", Repeats: "1/2", Ready: "False TimedOut: TimeLimit", Numbers: 5, Conditions: done("True WithinLimits", "TimedOut", "False"),
			}),
		"never ran": judged("nothing was measured: the job's words", inJob(ofBenchmark(), over("False", "SubmitRefused")), Measured{}, sight{
			Phase: "Failed", Repeats: "0/2", Ready: "False Failed: SlurmJob lc-bm-load-g3: SubmitRefused: words", Conditions: done("Unknown Failed", "Failed", "False"),
		}),
		"its jobs deleted": judged("the Benchmark stopped them; what was measured is kept", World{Benchmark: gone}, Measured{Results: both[:1], Reason: "Stopped"}, sight{
			Phase: "Failed", Ready: "False Aborted: Stopped", Numbers: 5, Conditions: done("True WithinLimits", "Aborted", "False"),
		}),
		"orphan": {
			reason: "nobody will ever make its job", client: ofBenchmark(), world: World{}, ended: true,
			want: sight{
				Phase: "Failed", Ready: "False Aborted: the Benchmark that made this LoadClient is gone: delete it too",
				Conditions: []string{"Complete=True Aborted", "Succeeded=False Aborted", "Stalled=True Aborted"},
			},
		},
	}
}

// afterStates are those of a LoadClient whose end is stored.
func afterStates(t *testing.T) map[string]state {
	complete := own(func(c *v1alpha1.LoadClient) {
		w := inJob(own(), exits("Ended", 1)).with(Measured{Ranks: 1, Repeats: 1, Results: []results.Rank{rank(t, 1)}})
		c.Status = (&Kind{}).Decide(own(), w, now).Status
	})
	started := own(func(c *v1alpha1.LoadClient) { c.Status.Job = "lc-load-g3" })
	want := sight{
		Phase: "Ended", Job: "lc-load-g3", Repeats: "1/1", Ready: "True Passed: the run is whole; it has no SLO", Numbers: 5,
		Conditions: done("True WithinLimits", "Passed", "True"),
	}
	return map[string]state{
		"complete":              {reason: "its end does not change", client: complete, world: inJob(own(), exits("Ended", 1)), want: want, ended: true},
		"complete, job deleted": {reason: "a load is made once", client: complete, world: World{}, want: want, ended: true},
		"job deleted": {
			reason: "a person ended it", client: started, world: World{}, ended: true,
			want: sight{
				Phase: "Failed", Job: "lc-load-g3", Ready: "False Aborted: SlurmJob lc-load-g3 was deleted", Conditions: done("Unknown Aborted", "Aborted", "False"),
			},
		},
	}
}

func deletionStates() map[string]state {
	dying := own(func(c *v1alpha1.LoadClient) { c.DeletionTimestamp = &metav1.Time{Time: now} })
	return map[string]state{
		"deleting": {
			reason: "its job goes first", client: dying, world: World{Children: []reconcile.Child{{Kind: "SlurmJob", Name: "j"}}},
			want: sight{
				Phase: "Draining", Ready: "False Deleting: waits until its job is gone", Conditions: []string{"Reconciling=True Deleting"},
				Do: []string{"delete SlurmJob j"}, After: again,
			},
		},
		"deleted": {reason: "nothing is left", client: dying, world: World{}, want: sight{Release: true}},
	}
}

func TestDecide(t *testing.T) {
	for name, s := range states(t) {
		t.Run(name, func(t *testing.T) {
			d := (&Kind{}).Decide(s.client.DeepCopy(), s.world, now)
			if diff := cmp.Diff(s.want, summary(d)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", s.reason, diff)
			}
			again := s.client.DeepCopy()
			again.Status = *d.Status.DeepCopy()
			if diff := cmp.Diff(d.Status, (&Kind{}).Decide(again, s.world, now.Add(time.Minute)).Status); diff != "" {
				t.Errorf("the status changes with the clock alone (-first +again):\n%s", diff)
			}
		})
	}
}

func TestMode(t *testing.T) {
	open := own(func(c *v1alpha1.LoadClient) {
		c.Spec.ClosedLoop, c.Spec.OpenLoop = nil, &v1alpha1.OpenLoop{Rate: "200"}
	})
	for want, c := range map[string]*v1alpha1.LoadClient{"closed 8": own(), "open 200/s": open} {
		if got := (&Kind{}).Decide(c, openSite(), now).Status; got.Mode != want || got.Target != "sim" {
			t.Errorf("%q %q, want %q", got.Mode, got.Target, want)
		}
	}
}

func TestKstatus(t *testing.T) {
	var lines []string
	for name, s := range states(t) {
		o := s.client.DeepCopy()
		o.Status = (&Kind{}).Decide(s.client.DeepCopy(), s.world, now).Status
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: content}
		u.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("LoadClient"))
		r, err := status.Compute(u)
		if err != nil {
			t.Fatal(err)
		}
		if s.ended && r.Status != status.CurrentStatus && r.Status != status.FailedStatus {
			t.Errorf("%s: nothing is under way, kstatus says %s", name, r.Status)
		}
		lines = append(lines, fmt.Sprintf("%-24s %s\n", name, r.Status))
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	const path = "testdata/kstatus.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s; run the test with -update if this is meant (-want +got):\n%s", path, diff)
	}
}

package service

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// own is a Service that no Benchmark owns.
func own(change ...func(*v1alpha1.Service)) *v1alpha1.Service {
	s := &v1alpha1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "sim", Namespace: "ns", UID: "uid", Generation: 3},
		Spec:       v1alpha1.ServiceSpec{ServiceParameters: v1alpha1.ServiceParameters{LLMSim: &v1alpha1.LLMSimEngine{}}, Site: "here", IdleTimeout: "15m"},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

// ofBenchmark is a Service of the Benchmark bm.
func ofBenchmark() *v1alpha1.Service {
	return own(func(s *v1alpha1.Service) {
		s.Name, s.Spec.Site = "bm-sim", ""
		s.Labels = map[string]string{v1alpha1.LabelBenchmark: "bm", v1alpha1.LabelRun: "g1", v1alpha1.LabelComponent: "sim"}
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(aBenchmark(), v1alpha1.SchemeGroupVersion.WithKind("Benchmark"))}
	})
}

func aBenchmark(change ...func(*v1alpha1.Benchmark, reconcile.Conditions)) *v1alpha1.Benchmark {
	bm := &v1alpha1.Benchmark{ObjectMeta: metav1.ObjectMeta{Name: "bm", Namespace: "ns", UID: "uid-bm"}}
	bm.Status.Run = &v1alpha1.RunStatus{Name: "g1"}
	for _, f := range change {
		f(bm, reconcile.Conditions{List: &bm.Status.Conditions, Now: now})
	}
	if reconcile.IsComplete(bm.Status.Conditions) {
		bm.Status.Run.EndTime = &metav1.Time{Time: now}
	}
	return bm
}

func openSite(change ...func(*World)) World {
	w := World{Site: &v1alpha1.Site{}, Start: Start{Run: "g3", Directory: "/work/o/ns/service.sim/g3", Seed: 5}}
	for _, f := range change {
		f(&w)
	}
	return w
}

type jobChange func(*v1alpha1.SlurmJob, reconcile.Conditions)

// inJob is a world in which the Service has its job.
func inJob(s *v1alpha1.Service, change ...jobChange) World {
	j := ownJob(s, Start{Run: "g3"})
	j.Status.Phase, j.Status.Directory = "Running", "/a/1"
	for _, f := range change {
		f(j, reconcile.Conditions{List: &j.Status.Conditions, Now: now})
	}
	w := World{Job: j}
	if owned(s) {
		w.Benchmark = aBenchmark()
		j.Spec.Run.KeepServices = false
	}
	return w
}

func phase(p string) jobChange {
	return func(j *v1alpha1.SlurmJob, _ reconcile.Conditions) { j.Status.Phase = p }
}

func says(change func(*v1alpha1.ComponentStatus)) jobChange {
	return func(j *v1alpha1.SlurmJob, _ reconcile.Conditions) {
		c := v1alpha1.ComponentStatus{Kind: "Service", Name: j.Spec.Components[0].Name, Endpoint: "n1:8000", Repeat: 2}
		change(&c)
		j.Status.Components = []v1alpha1.ComponentStatus{c}
	}
}

func exits(reason, message string) jobChange {
	return says(func(c *v1alpha1.ComponentStatus) {
		c.Exit = &v1alpha1.ComponentExit{Reason: reason, Message: message}
	})
}

type sight struct {
	Phase, Job, Endpoint, Ready, Reachable string
	Conditions                             []string
	Do                                     []string
	After                                  time.Duration
	Release                                bool
}

func summary(d Decision) sight {
	out := sight{Phase: d.Status.Phase, Job: d.Status.Job, Endpoint: d.Status.Endpoint, After: d.After, Release: d.Release}
	for _, c := range d.Status.Conditions {
		switch c.Type {
		case v1alpha1.ConditionReady:
			out.Ready = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			continue
		case v1alpha1.ConditionReachable:
			out.Reachable = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			continue
		}
		out.Conditions = append(out.Conditions, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	for _, e := range d.Do {
		switch e := e.(type) {
		case CreateJob:
			out.Do = append(out.Do, "create "+e.Job.Name+" of "+e.Job.Spec.Run.Owner)
		case WriteRecord:
			out.Do = append(out.Do, "record "+e.Path)
		case reconcile.CreateCredential:
			out.Do = append(out.Do, "credential "+e.Name)
		case AskOutside:
			out.Do = append(out.Do, fmt.Sprintf("ask %v GET %q", e.Endpoints, e.Path))
		case reconcile.Delete:
			out.Do = append(out.Do, "delete "+e.Kind+" "+e.Name)
		case reconcile.Abandon:
			out.Do = append(out.Do, "abandon "+e.Name)
		default:
			out.Do = append(out.Do, fmt.Sprintf("%T", e))
		}
	}
	return out
}

type state struct {
	reason  string
	service *v1alpha1.Service
	world   World
	want    sight
	// ended says that nothing is under way.
	ended bool
}

func states() map[string]state {
	all := startStates()
	for _, more := range []map[string]state{jobStates(), endStates(), deletionStates(), outsideStates()} {
		maps.Copy(all, more)
	}
	return all
}

func startStates() map[string]state {
	reconciling, stalled := []string{"Reconciling=True Waiting"}, []string{"Stalled=True SiteMissing"}
	return map[string]state{
		"start": {
			reason: "a Service of its own makes its record first, a credential, and its job last", service: own(), world: openSite(),
			want: sight{
				Phase: "Waiting", Ready: "False Waiting: makes its SlurmJob", Conditions: []string{"Monitored=Unknown Waiting", "Reconciling=True Waiting"},
				Do: []string{"record /work/o/ns/service.sim/g3/run.json", "credential sim-g3", "create bsvc-sim-g3 of service.sim"},
			},
		},
		"full disk": {
			reason: "what hinders the record is told, and tried again", service: own(), world: openSite(func(w *World) { w.Unwritten = "no room" }), ended: true,
			want: sight{
				Phase: "Waiting", Ready: "False WorkDirUnusable: no room", Conditions: []string{"Monitored=Unknown Waiting", "Stalled=True WorkDirUnusable"},
				Do: []string{"record /work/o/ns/service.sim/g3/run.json", "credential sim-g3", "create bsvc-sim-g3 of service.sim"},
			},
		},
		"suspended": {
			reason: "nothing starts while suspended", service: own(func(s *v1alpha1.Service) { s.Spec.Suspend = true }), world: openSite(),
			want: sight{Phase: "Waiting", Ready: "False Suspended: spec.suspend is true: nothing starts"},
		},
		"no site named": {
			reason: "the API cannot see the owner", service: own(func(s *v1alpha1.Service) { s.Spec.Site = "" }), world: openSite(), ended: true,
			want: sight{Phase: "Waiting", Ready: "False SiteMissing: a Service that no Benchmark owns needs spec.site", Conditions: stalled},
		},
		"site missing": {
			reason: "it may be made later", service: own(), world: openSite(func(w *World) { w.Site = nil }), ended: true,
			want: sight{
				Phase: "Waiting", Ready: `False SiteMissing: there is no Site "here" in namespace ns: create it, or name another in spec.site`,
				Conditions: stalled, After: again,
			},
		},
		"site refused": {
			reason: "what only a person can lift", service: own(), ended: true,
			world: openSite(func(w *World) {
				reconcile.Conditions{List: &w.Site.Status.Conditions, Now: now}.Stalled("HostAccessRefused", "not here")
			}),
			want: sight{Phase: "Waiting", Ready: "False HostAccessRefused: Site here: not here", Conditions: []string{"Stalled=True HostAccessRefused"}},
		},
		"door closed": {
			reason: "a site that is not open yet", service: own(), world: openSite(func(w *World) { w.Closed = "not open" }),
			want: sight{Phase: "Waiting", Ready: "False Waiting: waits for Site here: not open", Conditions: reconciling, After: again},
		},
		"former job": {
			reason: "another spec makes another job, once the former is gone", service: own(),
			world: openSite(func(w *World) {
				w.Job = ownJob(own(func(s *v1alpha1.Service) { s.Spec.IdleTimeout = "1m" }), Start{Run: "g2"})
				w.Children = []reconcile.Child{{Kind: "SlurmJob", Name: "bsvc-sim-g2"}, {Kind: "Secret", Name: "sim-g2"}}
			}),
			want: sight{
				Phase: "Draining", Ready: "False Progressing: waits until its former job is gone", After: again,
				Conditions: []string{"Reconciling=True Progressing"}, Do: []string{"delete SlurmJob bsvc-sim-g2"},
			},
		},
		"every run name taken": {
			reason: "a former run's folder is never used again", service: own(), world: openSite(func(w *World) { w.Start = Start{} }), ended: true,
			want: sight{
				Phase:      "Waiting",
				Ready:      "False InvalidParameters: too many former runs named g3 of a Service of this name are kept: remove some with assay prune",
				Conditions: []string{"Stalled=True InvalidParameters"},
			},
		},
		"owned, no job yet": {
			reason: "its Benchmark makes the job", service: ofBenchmark(), world: World{Benchmark: aBenchmark()},
			want: sight{Phase: "Waiting", Ready: "False Waiting: waits for its SlurmJob", Conditions: reconciling},
		},
	}
}

func jobStates() map[string]state {
	waiting := []string{"Monitored=Unknown Waiting", "Reconciling=True Waiting"}
	follows := func(reason string, w World, want sight) state {
		want.Job = "bsvc-sim-g3"
		return state{reason: reason, service: own(), world: w, want: want}
	}
	at := func(phase string, ready bool, scrapes *v1alpha1.Scrapes) World {
		return inJob(own(), says(func(c *v1alpha1.ComponentStatus) { c.Phase, c.Ready, c.Scrapes = phase, ready, scrapes }))
	}
	return map[string]state{
		"queued": follows("the batch system's own word", inJob(own(), phase("Queued"), func(j *v1alpha1.SlurmJob, _ reconcile.Conditions) {
			j.Status.Waiting = "Priority"
		}), sight{Phase: "Waiting", Ready: "False Waiting: waits for the queue: Priority", Conditions: waiting}),
		"suspended while it runs": {
			reason: "what runs goes on, whatever the spec says now", world: at("Ready", true, nil),
			service: own(func(s *v1alpha1.Service) { s.Spec.Suspend, s.Spec.IdleTimeout = true, "1m" }),
			want: sight{
				Phase: "Ready", Job: "bsvc-sim-g3", Endpoint: "n1:8000", Ready: "True ProbesPassed: every probe passed",
				Conditions: []string{"Monitored=Unknown NoTargets"},
			},
		},
		"on its node": follows("nothing was written yet", inJob(own()), sight{Phase: "Waiting", Ready: "False Waiting: waits for its node", Conditions: waiting}),
		"starting": follows("the probes do not pass yet", at("Starting", false, nil),
			sight{Phase: "Starting", Endpoint: "n1:8000", Ready: "False Starting: the server starts", Conditions: []string{"Monitored=Unknown Waiting", "Reconciling=True Starting"}}),
		"ready": follows("the probes pass", at("Ready", true, &v1alpha1.Scrapes{Due: 100, Good: 99}),
			sight{Phase: "Ready", Endpoint: "n1:8000", Ready: "True ProbesPassed: every probe passed", Conditions: []string{"Monitored=True Coverage"}}),
		"ready, low coverage": follows("fewer than 95 %", at("Ready", true, &v1alpha1.Scrapes{Due: 100, Good: 94}),
			sight{Phase: "Ready", Endpoint: "n1:8000", Ready: "True ProbesPassed: every probe passed", Conditions: []string{"Monitored=False LowCoverage"}}),
		"ready, no targets": follows("nothing to scrape", at("Ready", true, nil),
			sight{Phase: "Ready", Endpoint: "n1:8000", Ready: "True ProbesPassed: every probe passed", Conditions: []string{"Monitored=Unknown NoTargets"}}),
		"stopping": follows("between two repeats", at("Stopping", false, nil),
			sight{Phase: "Draining", Endpoint: "n1:8000", Ready: "False Progressing: the server stops", Conditions: []string{"Monitored=Unknown Waiting", "Reconciling=True Progressing"}}),
	}
}

func endStates() map[string]state {
	stalled := func(reason string) []string { return []string{"Monitored=Unknown Waiting", "Stalled=True " + reason} }
	owner := func(outcome string, success metav1.ConditionStatus) World {
		return World{Benchmark: aBenchmark(func(_ *v1alpha1.Benchmark, c reconcile.Conditions) { c.Ended(success, outcome, "words") })}
	}
	const good = "True Ended: the run of this service ended as planned"
	return map[string]state{
		"ended": {
			reason: "as planned", service: ofBenchmark(), world: inJob(ofBenchmark(), exits("Ended", "")), ended: true,
			want: sight{Phase: "Ended", Job: "bsvc-bm-sim-g3", Endpoint: "n1:8000", Ready: good, Conditions: []string{"Monitored=Unknown Waiting"}},
		},
		"idle, its own": {
			reason: "to be idle is how a Service of its own ends, and its credential ends with it", service: own(), ended: true,
			world: func() World {
				w := inJob(own(), exits("Idle", ""))
				w.Secrets = []reconcile.Child{{Kind: "Secret", Name: "sim-g3"}}
				return w
			}(),
			want: sight{
				Phase: "Ended", Job: "bsvc-sim-g3", Endpoint: "n1:8000", Ready: good, Conditions: []string{"Monitored=Unknown Waiting"},
				Do: []string{"delete Secret sim-g3"},
			},
		},
		"idle, of a Benchmark": {
			reason: "its clients never came", service: ofBenchmark(), world: inJob(ofBenchmark(), exits("Idle", "no client for 15m")), ended: true,
			want: sight{
				Phase: "Failed", Job: "bsvc-bm-sim-g3", Endpoint: "n1:8000",
				Ready: "False Idle: no client for 15m (SlurmJob bsvc-bm-sim-g3, logs in /a/1)", Conditions: stalled("Idle"),
			},
		},
		"died": {
			reason: "its own words", service: own(), world: inJob(own(), exits("ServiceDied", "exit code 137")), ended: true,
			want: sight{
				Phase: "Failed", Job: "bsvc-sim-g3", Endpoint: "n1:8000",
				Ready: "False ServiceDied: exit code 137 (SlurmJob bsvc-sim-g3, logs in /a/1)", Conditions: stalled("ServiceDied"),
			},
		},
		"job lost": {
			reason: "without words of its own, those of its job", service: own(), ended: true,
			world: inJob(own(), func(_ *v1alpha1.SlurmJob, c reconcile.Conditions) { c.Ended("False", "Lost", "nobody knows it") }),
			want:  sight{Phase: "Failed", Job: "bsvc-sim-g3", Ready: "False Lost: SlurmJob bsvc-sim-g3: nobody knows it", Conditions: stalled("Lost")},
		},
		"job done": {
			reason: "a job that ended well", service: own(), ended: true,
			world: inJob(own(), func(_ *v1alpha1.SlurmJob, c reconcile.Conditions) { c.Ended("True", "Completed", "") }),
			want:  sight{Phase: "Ended", Job: "bsvc-sim-g3", Ready: good, Conditions: []string{"Monitored=Unknown Waiting"}},
		},
		"job refused": {
			reason: "what only a person can lift", service: own(), ended: true,
			world: inJob(own(), func(_ *v1alpha1.SlurmJob, c reconcile.Conditions) { c.Stalled("WorkDirUnusable", "chmod it") }),
			want:  sight{Phase: "Waiting", Job: "bsvc-sim-g3", Ready: "False WorkDirUnusable: SlurmJob bsvc-sim-g3: chmod it", Conditions: stalled("WorkDirUnusable")},
		},
		"parameters refused": {
			reason: "another spec is needed", service: own(), ended: true,
			world: inJob(own(), func(_ *v1alpha1.SlurmJob, c reconcile.Conditions) { c.Stalled("InvalidParameters", "ttft") }),
			want:  sight{Phase: "Failed", Job: "bsvc-sim-g3", Ready: "False InvalidParameters: SlurmJob bsvc-sim-g3: ttft", Conditions: stalled("InvalidParameters")},
		},
		"owned, run timed out": {
			reason: "its job was deleted: the Benchmark's end is its own", service: ofBenchmark(), world: owner("TimedOut", "False"), ended: true,
			want: sight{Phase: "Failed", Ready: "False TimedOut: words", Conditions: []string{"Stalled=True TimedOut"}},
		},
		"owned, run passed": {
			reason: "its job was deleted after a good end", service: ofBenchmark(), world: owner("Passed", "True"), ended: true,
			want: sight{Phase: "Ended", Ready: good},
		},
		"owned, SLO violated": {
			reason: "a slow server ended as planned", service: ofBenchmark(), world: owner("SLOViolated", "False"), ended: true,
			want: sight{Phase: "Ended", Ready: good},
		},
		"orphan": {
			reason: "nobody will ever make its job", service: ofBenchmark(), world: World{}, ended: true,
			want: sight{
				Phase: "Failed", Ready: "False Aborted: the Benchmark that made this Service is gone: delete it too", Conditions: []string{"Stalled=True Aborted"},
			},
		},
	}
}

func deletionStates() map[string]state {
	dying := own(func(s *v1alpha1.Service) {
		s.DeletionTimestamp = &metav1.Time{Time: now}
		s.Annotations = map[string]string{v1alpha1.AnnotationAbandon: "true"}
	})
	return map[string]state{
		"deleting": {
			reason: "the job first, with the abandon annotation", service: dying,
			world: World{Children: []reconcile.Child{{Kind: "SlurmJob", Name: "j"}, {Kind: "Secret", Name: "x"}}},
			want: sight{
				Phase: "Draining", Ready: "False Deleting: waits until its job is gone", Conditions: []string{"Reconciling=True Deleting"},
				Do: []string{"abandon j", "delete SlurmJob j"}, After: again,
			},
		},
		"deleted": {reason: "nothing is left", service: dying, world: World{}, want: sight{Release: true}},
	}
}

func TestDecide(t *testing.T) {
	for name, s := range states() {
		t.Run(name, func(t *testing.T) {
			d := (&Kind{}).Decide(s.service.DeepCopy(), s.world, now)
			if diff := cmp.Diff(s.want, summary(d)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", s.reason, diff)
			}
			again := s.service.DeepCopy()
			again.Status = *d.Status.DeepCopy()
			if diff := cmp.Diff(d.Status, (&Kind{}).Decide(again, s.world, now.Add(time.Minute)).Status); diff != "" {
				t.Errorf("the status changes with the clock alone (-first +again):\n%s", diff)
			}
		})
	}
}

func TestKstatus(t *testing.T) {
	var lines []string
	for name, s := range states() {
		o := s.service.DeepCopy()
		o.Status = (&Kind{}).Decide(s.service.DeepCopy(), s.world, now).Status
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: content}
		u.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("Service"))
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

// The status names whichever engine the spec chose.
func TestEngineIsNamed(t *testing.T) {
	for want, p := range map[string]v1alpha1.ServiceParameters{
		"command": {Command: &v1alpha1.CommandEngine{}}, "llmsim": {LLMSim: &v1alpha1.LLMSimEngine{}},
		"minio": {MinIO: &v1alpha1.MinIOEngine{}}, "vllm": {VLLM: &v1alpha1.VLLMEngine{}}, "": {},
	} {
		s := &v1alpha1.Service{Spec: v1alpha1.ServiceSpec{ServiceParameters: p}}
		if got := (&Kind{}).Decide(s, World{}, now).Status.Engine; got != want {
			t.Errorf("engine %q, want %q", got, want)
		}
	}
}

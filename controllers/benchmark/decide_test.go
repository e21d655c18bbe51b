package benchmark

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
)

// state is a Benchmark and its world, and what must follow.
type state struct {
	reason string
	bm     *v1alpha1.Benchmark
	world  World
	want   sight
	// ended says that nothing is under way: kstatus must not call it InProgress.
	ended bool
}

func TestDecide(t *testing.T) {
	for name, s := range states(t) {
		t.Run(name, func(t *testing.T) {
			got := summary((&Kind{}).Decide(s.bm.DeepCopy(), s.world, now))
			if diff := cmp.Diff(s.want, got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", s.reason, diff)
			}
		})
	}
}

// TestDecideIsStable makes each decision again from its own status: a state that nothing changes must not be written
// again.
func TestDecideIsStable(t *testing.T) {
	for name, s := range states(t) {
		t.Run(name, func(t *testing.T) {
			first := (&Kind{}).Decide(s.bm.DeepCopy(), s.world, now)
			if wantsRun(s.bm) && first.Status.Run != s.bm.Status.Run && len(first.Do) > 0 {
				return // a run was started: the next look is at another world
			}
			bm := s.bm.DeepCopy()
			bm.Status = first.Status
			again := (&Kind{}).Decide(bm.DeepCopy(), s.world, now.Add(time.Second))
			if diff := cmp.Diff(first.Status, again.Status); diff != "" {
				t.Errorf("the status changes with the clock alone (-first +again):\n%s", diff)
			}
		})
	}
}

func states(t *testing.T) map[string]state {
	all := map[string]state{}
	for _, group := range []map[string]state{startStates(), runStates(), imageStates(), stopStates(), endStates(t), deletionStates()} {
		maps.Copy(all, group)
	}
	return all
}

func startStates() map[string]state {
	suspended := func(bm *v1alpha1.Benchmark) { bm.Spec.Suspend = true }
	created := []string{
		"record " + runDirectory + "/run.json g1", "credential bm-sim-g1",
		"create Service bm-sim", "create LoadClient bm-load", "create SlurmJob bm-g1",
	}
	started := []string{"Complete=False Progressing", "Succeeded=Unknown Progressing", "ServicesReady=False Waiting", "LoadComplete=False Waiting",
		"Monitored=Unknown Waiting", "SLOMet=Unknown Waiting", "Ready=False Progressing", "Reconciling=True Progressing"}
	return map[string]state{
		"new": {
			reason: "a new Benchmark stores its run, records it, and makes credentials before jobs",
			bm:     benchmark(), world: openSite(),
			want: sight{Phase: "Starting", Step: "makes the jobs", Progress: "0/2 ~1m", Conditions: started, Do: created},
		},
		"suspended": {
			reason: "nothing starts while suspended",
			bm:     benchmark(suspended), world: openSite(),
			want: sight{Phase: "Suspended", Step: "waits for spec.suspend to be false", Conditions: []string{"Ready=False Suspended"}},
		},
		"site missing": {
			reason: "a Site that does not exist is for a person to make; it is looked for again",
			bm:     benchmark(), world: openSite(func(w *World) { w.Site = nil }), ended: true,
			want: sight{
				Phase: "Invalid", Step: `there is no Site "here" in namespace ns: create it, or name another in spec.site`,
				Conditions: []string{"Ready=False SiteMissing", "Stalled=True SiteMissing"}, After: again,
			},
		},
		"site refused": {
			reason: "what only a person can lift at the Site is passed on",
			bm:     benchmark(), ended: true,
			world: openSite(func(w *World) {
				c := reconcile.Conditions{List: &w.Site.Status.Conditions, Now: now}
				c.Stalled(v1alpha1.ReasonHostAccessRefused, "start assay manager with --allow-host-sites")
			}),
			want: sight{
				Phase: "Invalid", Step: "Site here: start assay manager with --allow-host-sites",
				Conditions: []string{"Ready=False HostAccessRefused", "Stalled=True HostAccessRefused"},
			},
		},
		"parameters wrong": {
			reason: "what admission cannot see is refused before a run is stored, so that the spec may still be changed",
			bm:     benchmark(func(bm *v1alpha1.Benchmark) { bm.Spec.SLOs[0].AtMost = "0.5" }), world: openSite(), ended: true,
			want: sight{
				Phase: "Invalid", Step: `spec.slos[0].atMost: "0.5": a latency takes a duration, such as 500ms`,
				Conditions: []string{"Ready=False InvalidParameters", "Stalled=True InvalidParameters"},
			},
		},
		"bound that nothing reaches": {
			reason: "an object of an older release: no run shows that every request succeeds",
			bm: benchmark(func(bm *v1alpha1.Benchmark) {
				bm.Spec.SLOs[0] = v1alpha1.SLO{Client: bm.Spec.SLOs[0].Client, Metric: "success_ratio", Statistic: "value", AtLeast: "1"}
			}), world: openSite(), ended: true,
			want: sight{
				Phase: "Invalid", Step: `spec.slos[0].atLeast: "1": the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows`,
				Conditions: []string{"Ready=False InvalidParameters", "Stalled=True InvalidParameters"},
			},
		},
		"door closed": {
			reason: "a site that is not open yet is waited for",
			bm:     benchmark(), world: openSite(func(w *World) { w.Closed = "the site is not open" }),
			want: sight{
				Phase: "Queued", Step: "waits for site here",
				Conditions: []string{"Ready=False Progressing", "Reconciling=True Progressing"}, After: again,
			},
		},
		"name taken": {
			reason: "an object of somebody else is never taken over",
			bm:     benchmark(), world: openSite(func(w *World) { w.Taken = "services.assay.bench bm-sim" }), ended: true,
			want: sight{
				Phase: "Invalid", Step: "services.assay.bench bm-sim exists and belongs to something else: rename the component or the Benchmark",
				Conditions: []string{"Ready=False InvalidParameters", "Stalled=True InvalidParameters"},
			},
		},
		"every run name taken": {
			reason: "the folder of a former run is never used again",
			bm:     benchmark(), world: openSite(func(w *World) { w.Start.Run, w.Start.Directory = "", "" }), ended: true,
			want: sight{
				Phase: "Invalid", Step: "too many former runs named g1 of a Benchmark of this name are kept: remove some with assay prune",
				Conditions: []string{"Ready=False InvalidParameters", "Stalled=True InvalidParameters"},
			},
		},
		"next run waits for the former": {
			reason: "the former run's jobs go first, then its other children",
			bm:     ended(metav1.ConditionTrue, results.Passed, func(bm *v1alpha1.Benchmark) { bm.Spec.Run, bm.Generation = 1, 2 }),
			world: openSite(func(w *World) {
				w.Former = []reconcile.Child{{Kind: "SlurmJob", Name: "bm-g1", UID: "a"}, {Kind: "Service", Name: "bm-sim", UID: "b"}}
			}),
			want: sight{
				Phase: "Queued", Step: "ends the jobs of the former run", After: again, Do: []string{"delete SlurmJob bm-g1 a"},
				Conditions: []string{"Complete=False Progressing", "Succeeded=Unknown Progressing", "Ready=False Progressing", "Reconciling=True Progressing"},
			},
		},
		"next run": {
			reason: "a raised spec.run starts the next run once the former's children are gone",
			bm:     ended(metav1.ConditionTrue, results.Passed, func(bm *v1alpha1.Benchmark) { bm.Spec.Run, bm.Generation = 1, 2 }),
			world:  openSite(func(w *World) { w.Start.Run, w.Start.Directory = "g2", "/work/o/ns/bm/g2" }),
			want: sight{
				Phase: "Starting", Step: "makes the jobs", Progress: "0/2 ~1m",
				Conditions: []string{
					"Complete=False Progressing", "Succeeded=Unknown Progressing", "Ready=False Progressing", "ServicesReady=False Waiting",
					"LoadComplete=False Waiting", "Monitored=Unknown Waiting", "SLOMet=Unknown Waiting", "Reconciling=True Progressing",
				},
				Do: []string{
					"record /work/o/ns/bm/g2/run.json g2", "credential bm-sim-g2",
					"create Service bm-sim", "create LoadClient bm-load", "create SlurmJob bm-g2",
				},
			},
		},
		"next run is refused": {
			reason: "the conditions of the former run do not speak for the next",
			bm: ended(metav1.ConditionTrue, results.Passed, func(bm *v1alpha1.Benchmark) {
				bm.Spec.Run, bm.Generation, bm.Spec.Site = 1, 2, "elsewhere"
			}),
			want: sight{
				Phase: "Invalid", Step: `there is no Site "elsewhere" in namespace ns: create it, or name another in spec.site`, After: again,
				Conditions: []string{"Complete=False Progressing", "Succeeded=Unknown Progressing", "Ready=False SiteMissing", "Stalled=True SiteMissing"},
			},
		},
		"suspended after a run": {
			reason: "a change while suspended starts nothing",
			bm:     ended(metav1.ConditionTrue, results.Passed, func(bm *v1alpha1.Benchmark) { bm.Spec.Run, bm.Spec.Suspend = 1, true }),
			world:  openSite(),
			want: sight{
				Phase: "Suspended", Step: "waits for spec.suspend to be false",
				Conditions: []string{"Complete=True Passed", "Succeeded=True Passed", "Ready=False Suspended"},
			},
		},
	}
}

// conditions of a run under way.
func running(servicesReady, load, monitored string) []string {
	return []string{
		"ServicesReady=" + servicesReady, "LoadComplete=" + load, "Monitored=" + monitored, "Ready=False Progressing", "Reconciling=True Progressing",
	}
}

func runStates() map[string]state {
	bm := underRun()
	under := func(step, phase, progress string, conditions []string) sight {
		return sight{Phase: phase, Step: step, Progress: progress, Conditions: conditions}
	}
	waiting := []string{"ServicesReady=False Waiting", "LoadComplete=False Waiting", "Ready=False Progressing", "Reconciling=True Progressing"}
	starting := []string{"ServicesReady=False Starting", "LoadComplete=False Waiting", "Ready=False Progressing", "Reconciling=True Progressing"}
	measuring := []string{"ServicesReady=True ProbesPassed", "LoadComplete=False Measuring", "Ready=False Progressing", "Reconciling=True Progressing"}
	return map[string]state{
		"one child missing": {
			reason: "what a crash left out is made; what exists is not touched",
			bm:     bm, world: world(bm, func(w *World) { delete(w.Clients, "bm-load") }),
			want: sight{
				Phase: "Queued", Step: "the job is handed in", Progress: "0/2 ~1m", Conditions: waiting,
				Do: []string{"record " + runDirectory + "/run.json g1", "create LoadClient bm-load"},
			},
		},
		"queued": {
			reason: "the batch system's own word tells why a job waits",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Queued"), func(j *v1alpha1.SlurmJob) { j.Status.Waiting = "Priority" })),
			want: under("waits for the queue: Priority", "Queued", "0/2 ~1m", waiting),
		},
		"site silent": {
			reason: "a failed look changes nothing but the words",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Queued"), condition("Synced", "Unknown", "SiteUnreachable", "no route"))),
			want: under("site here does not answer; what runs there goes on", "Queued", "0/2 ~1m", waiting),
		},
		"service starts": {
			reason: "the first service that is not ready is named",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Running"), serviceSays("Starting", false), clientSays("Waiting", 0))),
			want: under("repeat 1 of 2: service sim starts", "Starting", "0/2 ~1m", starting),
		},
		"measuring": {
			reason: "the client that is furthest behind tells the phase",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Running"), serviceSays("Ready", true), clientSays("Measuring", 0))),
			want: under("repeat 1 of 2: measuring", "Running", "0/2 ~1m", measuring),
		},
		"second repeat": {
			reason: "progress counts the repeats that every client has closed",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Running"), serviceSays("Ready", true), clientSays("Warmup", 1))),
			want: under("repeat 2 of 2: warming up", "Running", "1/2 ~30s", measuring),
		},
		"restart between repeats": {
			reason: "a service that starts again for a later repeat is part of the running",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Running"), serviceSays("Starting", false), clientSays("Waiting", 1))),
			want: under("repeat 2 of 2: service sim starts", "Running", "1/2 ~30s", starting),
		},
		"low coverage": {
			reason: "fewer than 95 % good scrapes are told at once",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Running"), serviceSays("Ready", true), clientSays("Measuring", 0),
				says("Service", "bm-sim", func(c *v1alpha1.ComponentStatus) { c.Scrapes = &v1alpha1.Scrapes{Due: 100, Good: 90} }))),
			want: under("repeat 1 of 2: measuring", "Running", "0/2 ~1m", running("True ProbesPassed", "False Measuring", "False LowCoverage")),
		},
		"good coverage": {
			reason: "enough good scrapes",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Running"), serviceSays("Ready", true), clientSays("Measuring", 0),
				says("Service", "bm-sim", func(c *v1alpha1.ComponentStatus) { c.Scrapes = &v1alpha1.Scrapes{Due: 100, Good: 95} }))),
			want: under("repeat 1 of 2: measuring", "Running", "0/2 ~1m", running("True ProbesPassed", "False Measuring", "True Coverage")),
		},
		"services stop": {
			reason: "the load is over, the job not yet",
			bm:     bm, world: world(bm, job("bm-g1", inPhase("Running"), serviceSays("Stopping", false), clientSays("Ended", 2))),
			want: under("the services stop", "Finishing", "2/2",
				[]string{"ServicesReady=False Starting", "LoadComplete=True Ended", "Ready=False Progressing", "Reconciling=True Progressing"}),
		},
		"job waits for a person": {
			reason: "a refusal that can be lifted stalls the run, and does not end it",
			bm:     bm, ended: true,
			world: world(bm, job("bm-g1", func(j *v1alpha1.SlurmJob) {
				reconcile.Conditions{List: &j.Status.Conditions, Now: now}.Stalled(v1alpha1.ReasonWorkDirUnusable, "others may write to /work: chmod 0700 it")
			})),
			want: sight{
				Phase: "Invalid", Step: "others may write to /work: chmod 0700 it", Progress: "0/2 ~1m",
				Conditions: []string{"ServicesReady=False Waiting", "LoadComplete=False Waiting", "Ready=False WorkDirUnusable", "Stalled=True WorkDirUnusable"},
			},
		},
	}
}

func stopStates() map[string]state {
	separate := func(bm *v1alpha1.Benchmark) { bm.Spec.Placement = v1alpha1.SeparateJobs }
	timeout := func(bm *v1alpha1.Benchmark) { bm.Spec.Timeout = "5m" }
	later := func(bm *v1alpha1.Benchmark) { bm.Spec.Timeout = "15m" }
	timed, apart, patient := underRun(timeout), underRun(separate), underRun(later)
	perRepeat := underRun(func(bm *v1alpha1.Benchmark) { bm.Spec.Repeats.Restart = v1alpha1.RestartJob })
	return map[string]state{
		"timeout not yet": {
			reason: "the next look is at the deadline at the latest",
			bm:     patient, world: world(patient, job("bm-g1", inPhase("Queued"))),
			want: sight{
				Phase: "Queued", Step: "waits for the queue", Progress: "0/2 ~1m", After: 5 * time.Minute,
				Conditions: []string{"ServicesReady=False Waiting", "LoadComplete=False Waiting", "Ready=False Progressing", "Reconciling=True Progressing"},
			},
		},
		"timeout": {
			reason: "a run past its timeout ends its jobs, and makes nothing any more",
			bm:     timed, world: world(timed, job("bm-g1", inPhase("Running")), func(w *World) { delete(w.Clients, "bm-load") }),
			want: sight{
				Phase: "Finishing", Step: "stops the jobs: the run did not end within its timeout of 5m", After: again,
				Conditions: []string{"Ready=False Progressing", "Reconciling=True Progressing"}, Do: []string{"delete SlurmJob bm-g1 uid-bm-g1"},
			},
		},
		"one of several jobs failed": {
			reason: "what the others would measure without it is worth nothing",
			bm:     apart, world: world(apart, job("bm-g1-load", complete("False", "SubmitRefused", "no such partition")), job("bm-g1-sim", inPhase("Running"))),
			want: sight{
				Phase: "Finishing", Step: "stops the jobs: SlurmJob bm-g1-load: SubmitRefused: no such partition", After: again,
				Conditions: []string{"Ready=False Progressing", "Reconciling=True Progressing"}, Do: []string{"delete SlurmJob bm-g1-sim uid-bm-g1-sim"},
			},
		},
		"a person deletes a job": {
			reason: "the run ends; the job is not deleted twice and never made again",
			bm:     apart, world: world(apart, job("bm-g1-load", beingDeleted), job("bm-g1-sim", inPhase("Running"))),
			want: sight{
				Phase: "Finishing", Step: "stops the jobs: SlurmJob bm-g1-load was deleted", After: again,
				Conditions: []string{"Ready=False Progressing", "Reconciling=True Progressing"}, Do: []string{"delete SlurmJob bm-g1-sim uid-bm-g1-sim"},
			},
		},
		"a repeat's job failed": {
			reason: "no further repeat is begun: the run ends, and its results are read",
			bm:     perRepeat, world: world(perRepeat, job("bm-g1-r1", complete("False", "NodeFailure", "n1")), func(w *World) { w.Silent = "no route" }),
			want: sight{
				Phase: "Finishing", Step: "waits for the site, to read the results", Progress: "0/2", After: again,
				Conditions: []string{"ServicesReady=False Ended", "LoadComplete=False Partial", "Ready=False Progressing", "Reconciling=True Progressing"},
			},
		},
		"next repeat's job": {
			reason: "the next repeat's job is made when the former is over",
			bm:     perRepeat, world: world(perRepeat, job("bm-g1-r1", complete("True", "Completed", "ok"), clientSays("Ended", 1), exits("Service", "bm-sim", "Ended", ""))),
			want: sight{
				Phase: "Starting", Step: "makes the jobs", Progress: "1/2 ~30s",
				Conditions: []string{"ServicesReady=False Ended", "LoadComplete=False Waiting", "Ready=False Progressing", "Reconciling=True Progressing"},
				Do:         []string{"record " + runDirectory + "/run.json g1", "credential bm-sim-g1", "create SlurmJob bm-g1-r2"},
			},
		},
	}
}

func deletionStates() map[string]state {
	dying := func(bm *v1alpha1.Benchmark) { bm.DeletionTimestamp = &metav1.Time{Time: now} }
	abandoned := func(bm *v1alpha1.Benchmark) { bm.Annotations = map[string]string{v1alpha1.AnnotationAbandon: "true"} }
	children := func(list ...reconcile.Child) World { return World{Children: list} }
	deleting := []string{"Ready=False Deleting", "Reconciling=True Deleting"}
	child := func(kind, name string) reconcile.Child {
		return reconcile.Child{Kind: kind, Name: name, UID: types.UID("u-" + name)}
	}
	return map[string]state{
		"deleting, jobs first": {
			reason: "the others are what the jobs speak of",
			bm:     underRun(dying), world: children(child("SlurmJob", "j"), child("Service", "s"), child("Secret", "x")),
			want: sight{Phase: "Finishing", Step: "ends its jobs", Conditions: deleting, Do: []string{"delete SlurmJob j u-j"}, After: again},
		},
		"deleting, job on its way": {
			reason: "a job that is being deleted is waited for",
			bm:     underRun(dying), world: children(reconcile.Child{Kind: "SlurmJob", Name: "j", UID: "u-j", Deleting: true}, child("Service", "s")),
			want: sight{Phase: "Finishing", Step: "ends its jobs", Conditions: deleting, After: again},
		},
		"deleting, the rest": {
			reason: "then the rest goes",
			bm:     underRun(dying), world: children(child("Service", "s"), child("Secret", "x")),
			want: sight{Phase: "Finishing", Step: "ends its jobs", Conditions: deleting, Do: []string{"delete Service s u-s", "delete Secret x u-x"}, After: 20 * time.Millisecond},
		},
		"deleting, abandoned": {
			reason: "abandon is handed down, also to a job that is being deleted",
			bm:     underRun(dying, abandoned), world: children(reconcile.Child{Kind: "SlurmJob", Name: "j", UID: "u-j", Deleting: true}),
			want: sight{Phase: "Finishing", Step: "ends its jobs", Conditions: deleting, Do: []string{"abandon j"}, After: again},
		},
		"deleted": {
			reason: "without children it is let go",
			bm:     underRun(dying), world: children(),
			want: sight{Release: true},
		},
	}
}

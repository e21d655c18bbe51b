package benchmark

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// over says that the shared job ended as planned after both repeats.
func over() func(*World) {
	return job("bm-g1", complete("True", "Completed", "ok"), clientSays("Ended", 2),
		exits("LoadClient", "bm-load", "Ended", ""), exits("Service", "bm-sim", "Ended", ""))
}

// full is a run directory that takes nothing.
func full(w *World) { w.Unwritten = cannotWriteWords }

const cannotWriteWords = "the run directory cannot be written: no space left on device: make room there, or make it writable"

func endStates(t *testing.T) map[string]state {
	fast, slow := 50*time.Millisecond, 300*time.Millisecond
	bm := underRun()
	reading := []string{"ServicesReady=False Ended", "LoadComplete=True Ended", "Ready=False Progressing", "Reconciling=True Progressing"}
	all := map[string]state{
		"site silent at the end": {
			reason: "nothing is concluded from silence",
			bm:     bm, world: world(bm, over(), func(w *World) { w.Silent = "no route to host" }),
			want: sight{Phase: "Finishing", Step: "waits for the site, to read the results", Progress: "2/2", Conditions: reading, After: again},
		},
		"result not written": {
			reason: "result.json is written before anything is told",
			bm:     bm, world: world(bm, over(), found(evidence(t, fast))),
			want: sight{
				Phase: "Finishing", Step: "writes the result", Progress: "2/2", Conditions: reading,
				Do: []string{"result " + runDirectory + "/result.json"}, After: soon,
			},
		},
		"result written by another hand": {
			reason: "only the file that was meant counts as written",
			bm:     bm, world: world(bm, over(), found(evidence(t, fast)), func(w *World) { w.Written = "0123" }),
			want: sight{
				Phase: "Finishing", Step: "writes the result", Progress: "2/2", Conditions: reading,
				Do: []string{"result " + runDirectory + "/result.json"}, After: soon,
			},
		},
		"disk full at the end": {
			reason: "what hinders the result is for a person to clear away; the write is tried again",
			bm:     bm, world: world(bm, over(), found(evidence(t, fast)), full), ended: true,
			want: sight{
				Phase: "Invalid", Step: cannotWriteWords, Progress: "2/2",
				Conditions: []string{"ServicesReady=False Ended", "LoadComplete=True Ended", "Ready=False WorkDirUnusable", "Stalled=True WorkDirUnusable"},
				Do:         []string{"result " + runDirectory + "/result.json"}, After: again,
			},
		},
		"credentials left": {
			reason: "Complete comes after the credentials are gone",
			bm:     bm, world: written(bm, world(bm, over(), found(evidence(t, fast)), func(w *World) {
				w.Secrets = []reconcile.Child{{Kind: "Secret", Name: "bm-sim-g1", UID: "u"}}
			})),
			want: sight{
				Phase: "Finishing", Step: "reads the results", Progress: "2/2", Conditions: reading,
				Do: []string{"delete Secret bm-sim-g1 u"}, After: soon,
			},
		},
	}
	maps.Copy(all, outcomes(t, fast, slow))
	maps.Copy(all, afterStates())
	return all
}

// outcomes are the ways in which a run can end.
func outcomes(t *testing.T, fast, slow time.Duration) map[string]state {
	twoJobs := func(bm *v1alpha1.Benchmark) { bm.Spec.Placement = v1alpha1.SeparateJobs }
	endedAs := func(reason string, b *v1alpha1.Benchmark, w World, phase, step, progress, servicesReady, load, outcome, slo string, success metav1.ConditionStatus) state {
		conditions := []string{"ServicesReady=" + servicesReady, "LoadComplete=" + load}
		ready := fmt.Sprintf("Ready=False %s", outcome)
		if success == metav1.ConditionTrue {
			ready = "Ready=True " + outcome
		}
		conditions = append(conditions, ready, "SLOMet="+slo, "Complete=True "+outcome, fmt.Sprintf("Succeeded=%s %s", success, outcome))
		if success != metav1.ConditionTrue {
			conditions = append(conditions, "Stalled=True "+outcome)
		}
		return state{reason: reason, bm: b, world: written(b, w), ended: true, want: sight{Phase: phase, Step: step, Progress: progress, Conditions: conditions}}
	}
	const endedServices, done = "False Ended", "True Ended"
	bm := underRun()
	failing := func(e *JobEvidence) {
		e.Results = e.Results[:1]
		e.Ranks[0].Exit = exit(rundir.ExitReasonServiceDied, "exit code 137")
		e.Ranks[1].Exit = exit(rundir.ExitReasonServiceLost, "the service is gone")
	}
	failedJob := job("bm-g1", complete("False", "NonZeroExit", "job 4711 ended with exit code 1"), clientSays("Failed", 1),
		exits("Service", "bm-sim", "ServiceDied", "exit code 137"), exits("LoadClient", "bm-load", "ServiceLost", "the service is gone"))
	limited := job("bm-g1", complete("False", "TimedOut", "job 4711 reached its time limit"), clientSays("Failed", 1), exits("LoadClient", "bm-load", "TimeLimit", ""), exits("Service", "bm-sim", "TimeLimit", ""))
	partly := job("bm-g1", complete("False", "NodeFailure", "job 4711: node n1 failed"), clientSays("Measuring", 1))
	timed, apart := underRun(func(b *v1alpha1.Benchmark) { b.Spec.Timeout = "5m" }), underRun(twoJobs)
	out := map[string]state{
		"passed": endedAs("the SLO holds", bm, world(bm, over(), found(evidence(t, fast))),
			"Complete", "1 of 1 SLOs hold", "2/2", endedServices, done, "Passed", "True Passed", "True"),
		"violated": endedAs("the SLO does not hold", bm, world(bm, over(), found(evidence(t, slow))),
			"Complete", "0 of 1 SLOs hold; not p90(ttft) of load", "2/2", endedServices, done, "SLOViolated", "False SLOViolated", "False"),
		"undecided": endedAs("ten requests decide nothing", bm, world(bm, over(), found(evidence(t, fast, func(e *JobEvidence) {
			e.Results = []results.Rank{measured(t, 1, 5, fast), measured(t, 2, 5, fast)}
		}))),
			"Complete", "0 of 1 SLOs hold; the others are undecided", "2/2", endedServices, done, "Undecided", "Unknown Undecided", "Unknown"),
		"invalid": endedAs("the client limited the result", bm, world(bm, over(), found(evidence(t, fast, func(e *JobEvidence) {
			e.Results[1].Audit = results.Audit{Violations: []string{"send lag"}}
		}))),
			"Invalid", "the client limited the result: load repeat 2 rank 0: send lag", "2/2", endedServices, done, "MeasurementInvalid", "Unknown MeasurementInvalid", "Unknown"),
		"partial": endedAs("a repeat is missing", bm, world(bm, partly, found(evidence(t, fast, func(e *JobEvidence) {
			e.Results, e.Ranks, e.Exit = e.Results[:1], e.Ranks[:0], nil
		}))),
			"Invalid", "1 of 2 repeats are whole", "1/2", endedServices, "False Partial", "Partial", "Unknown Partial", "Unknown"),
		"service died": endedAs("a service that fails is the cause, and what was measured is kept", bm, world(bm, failedJob, found(evidence(t, fast, failing))),
			"Failed", "service sim: ServiceDied: exit code 137", "1/2", "False ServiceDied", "False Partial", "Failed", "Unknown Failed", "False"),
		"client gave up": endedAs("the abort threshold ends a run as Failed", bm, world(bm, job("bm-g1", complete("False", "Aborted", "load gave up"), clientSays("Failed", 0)),
			found(evidence(t, fast, func(e *JobEvidence) {
				e.Results = e.Results[:1]
				e.Results[0].Truncated, e.Results[0].Reason = true, "Aborted"
				e.Ranks[1].Exit = exit(rundir.ExitReasonAborted, "60 % of the requests failed")
			}))),
			"Failed", "client load: Aborted: 60 % of the requests failed", "0/2", endedServices, "False Partial", "Failed", "Unknown Failed", "False"),
		"time limit": endedAs("the job's time limit is a timeout, and what was measured is kept", bm, world(bm, limited, found(evidence(t, fast, func(e *JobEvidence) {
			e.Results[1].Truncated = true
			e.Ranks[0].Exit, e.Ranks[1].Exit = exit(rundir.ExitReasonTimeLimit, ""), exit(rundir.ExitReasonTimeLimit, "")
		}))),
			"Failed", "SlurmJob bm-g1: TimedOut: job 4711 reached its time limit", "1/2", endedServices, "False Partial", "TimedOut", "Unknown TimedOut", "False"),
		"refused by the batch system": endedAs("nothing was measured: the job's words tell why", bm,
			world(bm, job("bm-g1", complete("False", "SubmitRefused", "invalid account")), found(&Evidence{})),
			"Failed", "SlurmJob bm-g1: SubmitRefused: invalid account", "0/2", endedServices, "False Partial", "Failed", "Unknown Failed", "False"),
		"parameters refused later": endedAs("a job that can never be rendered ends the run", bm,
			world(bm, job("bm-g1", func(j *v1alpha1.SlurmJob) {
				reconcile.Conditions{List: &j.Status.Conditions, Now: now}.Stalled(v1alpha1.ReasonInvalidParameters, "memory: no number")
			}), found(&Evidence{})),
			"Failed", "SlurmJob bm-g1: InvalidParameters: memory: no number", "0/2", endedServices, "False Partial", "Failed", "Unknown Failed", "False"),
		"timed out": endedAs("the jobs are gone, the deadline has passed", timed, world(timed, gone("bm-g1"), found(evidence(t, fast, func(e *JobEvidence) {
			e.Results = e.Results[:1]
			e.Ranks[1].Exit = exit(rundir.ExitReasonStopped, "")
		}))),
			"Failed", "the run did not end within its timeout of 5m", "1/2", endedServices, "False Partial", "TimedOut", "Unknown TimedOut", "False"),
		"aborted": endedAs("a person deleted the job", apart, world(apart, gone("bm-g1-sim"), gone("bm-g1-load"), found(&Evidence{})),
			"Failed", "SlurmJob bm-g1-sim was deleted", "0/2", endedServices, "False Partial", "Aborted", "Unknown Aborted", "False"),
		"job deleted after the last repeat": endedAs("a whole measurement is judged, however its jobs went", bm, world(bm, gone("bm-g1"), found(evidence(t, fast))),
			"Complete", "1 of 1 SLOs hold", "2/2", endedServices, "False Partial", "Passed", "True Passed", "True"),
	}
	return out
}

// afterStates are those of a Benchmark that is Complete.
func afterStates() map[string]state {
	keeps := func(bm *v1alpha1.Benchmark) { bm.Spec.Cleanup.Services = keep }
	kept, stopping, done, failed := underRun(keeps), underRun(keeps), underRun(), underRun()
	for bm, outcome := range map[*v1alpha1.Benchmark]string{kept: results.Passed, stopping: results.Passed, done: results.Passed, failed: results.Failed} {
		reconcile.Conditions{List: &bm.Status.Conditions, Generation: 1, Now: now}.Ended(reconcile.Success(results.Succeeded(outcome)), outcome, "words")
		bm.Status.Run.EndTime = &metav1.Time{Time: now}
	}
	serving := job("bm-g1", inPhase("Running"), serviceSays("Ready", true))
	secret := func(w *World) { w.Secrets = []reconcile.Child{{Kind: "Secret", Name: "bm-sim-g1", UID: "u"}} }
	passed := []string{"Complete=True Passed", "Succeeded=True Passed", "Ready=True Passed"}
	keptWorld, stoppingWorld := world(kept, serving, secret), world(stopping, serving)
	stopping.Spec.Cleanup.Services = "Stop"
	return map[string]state{
		"complete": {
			reason: "nothing more happens", ended: true,
			bm: done, world: world(done, over()), want: sight{Conditions: passed},
		},
		"complete, failed": {
			reason: "a run without success stays Stalled", ended: true,
			bm: failed, world: world(failed, over()),
			want: sight{Conditions: []string{"Complete=True Failed", "Succeeded=False Failed", "Ready=False Failed", "Stalled=True Failed"}},
		},
		"complete, service kept": {
			reason: "a kept service keeps its job and its credential", ended: true,
			bm: kept, world: keptWorld, want: sight{Conditions: passed},
		},
		"complete, kept service told to stop": {
			reason: "cleanup may change at any time", ended: true,
			bm: stopping, world: stoppingWorld, want: sight{Conditions: passed, Do: []string{"delete SlurmJob bm-g1 uid-bm-g1"}},
		},
	}
}

// The job of a kept service goes on, so its last counters are waited for, but not for ever.
func TestKeptServiceIsScrapedOnceMore(t *testing.T) {
	bm := underRun(func(b *v1alpha1.Benchmark) { b.Spec.Cleanup.Services = keep })
	early := evidence(t, 50*time.Millisecond, func(e *JobEvidence) { e.Plan.KeepServices, e.Counters = true, e.Counters[:1] })
	w := world(bm, found(early), job("bm-g1", inPhase("Running"), serviceSays("Ready", true), clientSays("Ended", 2), exits("LoadClient", "bm-load", "Ended", "")))
	d := (&Kind{}).Decide(bm.DeepCopy(), w, now)
	if d.Status.Step != "waits for the last scrape of service sim" || len(d.Do) > 0 || d.After == 0 {
		t.Errorf("without the last counters: %+v", summary(d))
	}
	bm.Status = d.Status
	if d := (&Kind{}).Decide(bm.DeepCopy(), w, now.Add(lastCounters)); len(d.Do) == 0 {
		t.Errorf("a service that is never scraped again holds up the result: %+v", summary(d))
	}
	w.Evidence = evidence(t, 50*time.Millisecond, func(e *JobEvidence) { e.Plan.KeepServices = true })
	if d := (&Kind{}).Decide(bm.DeepCopy(), w, now); len(d.Do) == 0 {
		t.Errorf("with the last counters: %+v", summary(d))
	}
}

func TestKeptServiceCompletes(t *testing.T) {
	bm := underRun(func(b *v1alpha1.Benchmark) { b.Spec.Cleanup.Services = keep })
	w := world(bm, found(evidence(t, 50*time.Millisecond)),
		job("bm-g1", inPhase("Running"), serviceSays("Ready", true), clientSays("Ended", 2), exits("LoadClient", "bm-load", "Ended", "")),
		func(w *World) { w.Secrets = []reconcile.Child{{Kind: "Secret", Name: "bm-sim-g1", UID: "u"}} })
	d := (&Kind{}).Decide(bm.DeepCopy(), written(bm, w), now)
	if !reconcile.IsComplete(d.Status.Conditions) || len(d.Do) > 0 {
		t.Errorf("a kept service must not hold up the end of the run, and keeps its credential: %+v", summary(d))
	}
}

func TestCompletedStatus(t *testing.T) {
	bm := underRun()
	for i := range maxRuns {
		bm.Status.Runs = append(bm.Status.Runs, v1alpha1.EndedRun{Name: fmt.Sprintf("old%d", i), Outcome: "Passed"})
	}
	d := (&Kind{}).Decide(bm.DeepCopy(), written(bm, world(bm, over(), found(evidence(t, 50*time.Millisecond)))), now)
	last := d.Status.Runs[len(d.Status.Runs)-1]
	end := metav1.NewTime(now)
	want := v1alpha1.EndedRun{Name: "g1", Jobs: []string{"bm-g1"}, Directory: runDirectory, Outcome: "Passed", EndTime: &end}
	if diff := cmp.Diff(want, last); diff != "" || len(d.Status.Runs) != maxRuns || d.Status.Runs[0].Name != "old1" {
		t.Errorf("%d runs, the first %s; the last (-want +got):\n%s", len(d.Status.Runs), d.Status.Runs[0].Name, diff)
	}
	if d.Status.SLO != "1/1" || d.Status.Primary != "p90(ttft) 50.0 ms [50.0 ms, 50.0 ms]" {
		t.Errorf("slo %q, primary %q", d.Status.SLO, d.Status.Primary)
	}
	first := d.Status.Results[0]
	if first.Client != "load" || first.Metric != "ttft" || first.Statistic != "p90" || first.Requests != 2000 {
		t.Errorf("the first number is the SLO's: %+v", first)
	}
	if len(d.Events) != 1 || d.Events[0].Warning || d.Events[0].Reason != "RunEnded" {
		t.Errorf("events %+v", d.Events)
	}
}

// TestResultIsRepeatable makes the result twice from the same evidence at different times.
func TestResultIsRepeatable(t *testing.T) {
	bm := underRun()
	w := world(bm, over(), found(evidence(t, 50*time.Millisecond)))
	first := (&Kind{}).Decide(bm.DeepCopy(), w, now)
	again := (&Kind{}).Decide(bm.DeepCopy(), w, now.Add(time.Hour))
	if diff := cmp.Diff(first.Do, again.Do); diff != "" {
		t.Errorf("a result that depends on the clock is written for ever (-first +again):\n%s", diff)
	}
	r, err := results.Parse(first.Do[0].(WriteResult).Content)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"ended": r.Ended, "shared": r.SharedNode, "checks": len(r.CrossChecks), "agree": r.CrossChecks[0].Agrees,
		"scrapes": r.Services[0].ScrapesDue, "endpoint": r.Services[0].Endpoint, "engine": r.Services[0].Engine, "whole": r.RepeatsWhole,
		"version": r.Version, "job": r.Jobs[0].Name,
	}
	want := map[string]any{
		"ended": now.Add(-time.Minute), "shared": true, "checks": 2, "agree": true,
		"scrapes": int64(60), "endpoint": "127.0.0.1:8000", "engine": "llmsim", "whole": 2, "version": "v1", "job": "bm-g1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

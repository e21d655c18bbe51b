package slurmjob

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// ending is a world in which the job is over and nothing more is to be expected of its files.
func ending(phase slurmbridge.Phase, reason string, edits ...func(*world)) world {
	j := batch(phase, func(j *slurmbridge.Job) { j.Reason = reason })
	return open(both(append([]func(*world){seeing(j), func(w *world) { w.overFor = time.Minute }}, edits...)...))
}

// saying is the job's own end.
func saying(reason string, code int) func(*world) {
	return func(w *world) { w.read, w.exit = true, &rundir.Exit{Reason: reason, Code: code, Message: "words"} }
}

// Whose doing an end was, and what follows from it.
func TestClasses(t *testing.T) {
	site, own, person := v1alpha1.ClassSite, v1alpha1.ClassOwn, v1alpha1.ClassPerson
	zero := int32(0)
	for name, tt := range map[string]struct {
		reason  string
		job     func(*v1alpha1.SlurmJob)
		attempt func(*v1alpha1.Attempt)
		seen    world
		class   v1alpha1.AttemptClass
		ended   string // the attempt's reason
		again   bool
		exclude string
	}{
		"node":          {"a node failed", nil, nil, ending(slurmbridge.Interrupted, "NodeFailure"), site, "NodeFailure", true, "mel2001"},
		"boot":          {"a node did not come up", nil, nil, ending(slurmbridge.Interrupted, "BootFailure"), site, "BootFailure", true, "mel2001"},
		"launch flag":   {"newer versions say so", nil, nil, ending(slurmbridge.Interrupted, "LaunchFailure"), site, "LaunchFailure", true, "mel2001"},
		"preempted":     {"the nodes are well", nil, nil, ending(slurmbridge.Interrupted, "Preempted"), site, "Preempted", true, ""},
		"host":          {"this host was started anew", nil, nil, ending(slurmbridge.Interrupted, "HostRestarted"), site, "HostRestarted", true, ""},
		"site's word":   {"a word of the site's that we do not know", nil, nil, ending(slurmbridge.Interrupted, "Meteor"), site, "Meteor", true, ""},
		"requeued":      {"the site started it again", nil, nil, ending(slurmbridge.Failed, "NonZeroExit", saying(rundir.ExitReasonRequeued, 76)), site, "Requeued", true, ""},
		"prolog":        {"cancelled by Slurm itself, before its script began", nil, nil, ending(slurmbridge.Failed, "Cancelled", func(w *world) { w.unbegun = true }), site, "LaunchFailure", true, "mel2001"},
		"prolog, held":  {"held by the site, and cancelled by us", nil, func(a *v1alpha1.Attempt) { a.CancelTime, a.Reason = ago(time.Second), "LaunchFailure" }, ending(slurmbridge.Failed, "Cancelled"), site, "LaunchFailure", true, "mel2001"},
		"requeue, held": {"put back by the site, and cancelled by us", nil, func(a *v1alpha1.Attempt) { a.CancelTime = ago(time.Second) }, ending(slurmbridge.Failed, "Cancelled", func(w *world) { w.jobs[0].Restarts = 1 }), site, "Requeued", true, ""},
		"folder":        {"a node does not see the folder that was just written", nil, nil, ending(slurmbridge.Failed, "NonZeroExit", saying(rundir.ExitReasonWorkDirUnusable, 74)), site, "WorkDirUnusable", true, "mel2001"},
		"folder, late":  {"it was there before: it is full", func(j *v1alpha1.SlurmJob) { j.Status.Components = began() }, nil, ending(slurmbridge.Failed, "NonZeroExit", saying(rundir.ExitReasonWorkDirUnusable, 74)), own, "WorkDirUnusable", false, ""},
		"step":          {"a node could not start it", nil, nil, ending(slurmbridge.Failed, "NonZeroExit", ranksEnded("StepLaunch", 141)), site, "StepLaunch", true, "mel2001"},
		"scancel":       {"somebody cancelled a job that ran", nil, nil, ending(slurmbridge.Failed, "Cancelled"), person, "Cancelled", false, ""},
		"stopped":       {"somebody told it to stop", nil, nil, ending(slurmbridge.Failed, "NonZeroExit", saying(rundir.ExitReasonStopped, 1)), person, "Stopped", false, ""},
		"exit code":     {"the program's own", nil, nil, ending(slurmbridge.Failed, "NonZeroExit"), own, "NonZeroExit", false, ""},
		"memory":        {"the next one would need as much", nil, nil, ending(slurmbridge.Failed, "OutOfMemory"), own, "OutOfMemory", false, ""},
		"time limit":    {"the next one would take as long", nil, nil, ending(slurmbridge.Failed, "TimeLimit"), own, "TimeLimit", false, ""},
		"readiness":     {"the server's own", nil, nil, ending(slurmbridge.Failed, "NonZeroExit", ranksEnded("ReadinessTimeout", 1)), own, "ReadinessTimeout", false, ""},
		"image":         {"it stays missing", nil, nil, ending(slurmbridge.Failed, "NonZeroExit", ranksEnded("ImageMissing", 1)), own, "ImageMissing", false, ""},
		"well":          {"an end as planned is nobody's doing", nil, nil, ending(slurmbridge.Succeeded, "Completed", ranksEnded("Ended", 0)), "", "Completed", false, ""},
		"turned off":    {"the recipe wants one attempt", func(j *v1alpha1.SlurmJob) { j.Spec.Run.Retries.Site = &zero }, nil, ending(slurmbridge.Interrupted, "NodeFailure"), site, "NodeFailure", false, ""},
		"used up":       {"two more attempts, and no third", nil, func(a *v1alpha1.Attempt) { a.Number = 3 }, ending(slurmbridge.Interrupted, "NodeFailure"), site, "NodeFailure", false, ""},
		"peers": {"what runs in other jobs cannot go back", func(j *v1alpha1.SlurmJob) {
			j.Status.Components, j.Spec.Run.Peers = began(), []v1alpha1.PeerReference{{}}
		}, nil, ending(slurmbridge.Interrupted, "NodeFailure"), site, "NodeFailure", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			job := sj(try(v1alpha1.AttemptRunning, tt.attempt))
			if tt.job != nil {
				tt.job(job)
			}
			got := decide(job, tt.seen, noon).Status
			first := got.Attempts[0]
			if first.Class != tt.class || first.Reason != tt.ended || first.State != v1alpha1.AttemptEnded {
				t.Errorf("%s: the attempt is %s %q, of class %q; want %q, %q", tt.reason, first.State, first.Reason, first.Class, tt.ended, tt.class)
			}
			if again := len(got.Attempts) == 2; again != tt.again {
				t.Fatalf("%s: another attempt: %t, want %t: %+v", tt.reason, again, tt.again, got.Conditions)
			}
			if tt.again {
				if diff := cmp.Diff(tt.exclude, strings.Join(got.Attempts[1].Exclude, ",")); diff != "" {
					t.Errorf("%s: excluded nodes (-want +got):\n%s", tt.reason, diff)
				}
			}
		})
	}
}

func began() []v1alpha1.ComponentStatus {
	return []v1alpha1.ComponentStatus{{Kind: "Service", Name: "bench-server", Heartbeat: 3}}
}

// The pause before the next attempt is told, with its cause; it doubles, and differs from job to job.
func TestPause(t *testing.T) {
	job := sj(try(v1alpha1.AttemptRunning, nil))
	job.Status = decide(job, ending(slurmbridge.Interrupted, "NodeFailure"), noon).Status
	second := newest(job.Status.Attempts)
	pause := pauseBefore(second)
	message := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionReady).Message
	want := fmt.Sprintf("attempt 2 follows in %d s, away from mel2001: node mel2001 failed (job 4711: INTERRUPTED)", int(pause.Seconds()))
	if message != want {
		t.Errorf("the condition says %q, want %q", message, want)
	}
	waiting := open(func(w *world) { w.made = toMake(); w.made.number, w.made.key = 2, key2 })
	d := decide(job.DeepCopy(), waiting, noon.Add(pause-time.Second))
	if diff := cmp.Diff(job.Status, d.Status); diff != "" || len(d.Do) > 0 || d.After > 2*time.Second {
		t.Errorf("before its time it does %v, looks again in %s, and stores (-before +after):\n%s", d.Do, d.After, diff)
	}
	d = decide(job.DeepCopy(), waiting, noon.Add(pause+time.Second))
	if len(d.Do) != 1 || newest(d.Status.Attempts).PlanHash != "hash" {
		t.Errorf("when its time has come it does %v", d.Do)
	}
	if pause < firstPause || pause > firstPause*5/4 {
		t.Errorf("the first pause is %s", pause)
	}
	other := pauseBefore(&v1alpha1.Attempt{Number: 6, Key: string(key1)})
	if same := pauseBefore(&v1alpha1.Attempt{Number: 6, Key: string(key2)}); same == other {
		t.Errorf("two jobs come back after the same %s", other)
	}
	for n, bounds := range map[int32][2]time.Duration{3: between(20, 25), 4: between(40, 50), 5: between(80, 100), 6: between(160, 200), 7: between(300, 300), 100: between(300, 300)} {
		if got := pauseBefore(&v1alpha1.Attempt{Number: n, Key: string(key1)}); got < bounds[0] || got > bounds[1] {
			t.Errorf("the pause before attempt %d is %s, want %s to %s", n, got, bounds[0], bounds[1])
		}
	}
}

func TestKeptFrom(t *testing.T) {
	ended := func(reason, nodes string) v1alpha1.Attempt {
		return v1alpha1.Attempt{State: v1alpha1.AttemptEnded, Class: v1alpha1.ClassSite, Reason: reason, Nodes: nodes}
	}
	for reason, tt := range map[string]struct {
		attempts []v1alpha1.Attempt
		want     string
	}{
		"no nodes are known":               {[]v1alpha1.Attempt{ended("NodeFailure", "")}, ""},
		"all attempts count":               {[]v1alpha1.Attempt{ended("NodeFailure", "n3"), ended("LaunchFailure", "n[1-2]"), ended("NodeFailure", "n2")}, "n1,n2,n3"},
		"healthy nodes do not":             {[]v1alpha1.Attempt{ended("Preempted", "n1"), ended("Requeued", "n2")}, ""},
		"eight are the most":               {[]v1alpha1.Attempt{ended("NodeFailure", "n[1-9]")}, ""},
		"the latest go first, and whole":   {[]v1alpha1.Attempt{ended("NodeFailure", "a[1-4]"), ended("NodeFailure", "b[1-3]"), ended("NodeFailure", "c[1-5]")}, "b1,b2,b3,c1,c2,c3,c4,c5"},
		"a list that was cut says nothing": {[]v1alpha1.Attempt{ended("NodeFailure", "n[1,2,")}, ""},
	} {
		if got := strings.Join(keptFrom(tt.attempts), ","); got != tt.want {
			t.Errorf("%s: %q, want %q", reason, got, tt.want)
		}
	}
}

// What is left of a small partition may be too little: then any node will do, under the same key.
func TestExclusionIsDropped(t *testing.T) {
	kept := func(submits int32) *v1alpha1.SlurmJob {
		return sj(try(v1alpha1.AttemptEnded, nil), try(v1alpha1.AttemptIntended, func(a *v1alpha1.Attempt) {
			a.Number, a.Key, a.Exclude, a.Submits = 2, string(key2), []string{"mel2001"}, submits
		}))
	}
	no := errors.New("Requested node configuration is not available")
	for reason, tt := range map[string]struct {
		job  *v1alpha1.SlurmJob
		seen world
	}{
		"asked before": {kept(0), open(func(w *world) { w.made, w.written, w.said.impossible = toMake(), true, no })},
		"nodes away":   {kept(0), open(func(w *world) { w.made, w.written, w.said.away = toMake(), true, no })},
		"handed in":    {kept(1), open(func(w *world) { w.made, w.answer.refused = toMake(), no })},
	} {
		d := decide(tt.job, tt.seen, noon)
		a := newest(d.Status.Attempts)
		if len(a.Exclude) > 0 || a.Submits != 0 || a.State != v1alpha1.AttemptIntended || a.Key != string(key2) {
			t.Errorf("%s: %+v, want the same attempt on any node", reason, a)
		}
		message := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady).Message
		if want := "takes no job that keeps away from mel2001, so attempt 2 may get them: Requested node"; !strings.Contains(message, want) || d.Events[0].Reason != "ExclusionDropped" {
			t.Errorf("%s: it says %q and %v, want %q", reason, message, d.Events, want)
		}
		again := open(func(w *world) { w.made, w.written, w.said.impossible = toMake(), true, no })
		if d := decide(&v1alpha1.SlurmJob{ObjectMeta: tt.job.ObjectMeta, Spec: tt.job.Spec, Status: d.Status}, again, noon); !ended(newest(d.Status.Attempts)) {
			t.Errorf("%s: refused for another reason, and it goes on: %+v", reason, d.Status)
		}
	}
}

// Nodes are lost at random: the run succeeds as long as an attempt is left, each attempt runs once, and none gets a node
// that failed one before it.
func TestNodesAreLost(t *testing.T) {
	for seed := range uint64(20) {
		losses := int(seed % 4)
		t.Run(fmt.Sprintf("seed %d, %d losses", seed, losses), func(t *testing.T) {
			b := newBench(t, seed, &plot{})
			began := b.now
			for n := 1; n <= losses; n++ {
				switch b.random.IntN(3) {
				case 0:
					b.cluster.FailLaunches(1)
				default:
					job := b.until(fmt.Sprintf("running in attempt %d", n), func(j *v1alpha1.SlurmJob) bool {
						return int(j.Status.Attempt) == n && j.Status.Phase == "Running"
					})
					b.cluster.LoseNode(job.Status.JobID)
				}
				b.until("past it", func(j *v1alpha1.SlurmJob) bool { return int(j.Status.Attempt) > n || complete(j) })
			}
			job := b.until("complete", complete)
			attempts := job.Status.Attempts
			if want := min(losses+1, 3); len(attempts) != want {
				t.Fatalf("%d attempts, want %d: %+v", len(attempts), want, attempts)
			}
			if got := meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionSucceeded); got != (losses < 3) {
				t.Errorf("succeeded is %t after %d losses: %+v", got, losses, job.Status.Conditions)
			}
			var pauses time.Duration
			for i := range attempts {
				key := slurmbridge.Key(attempts[i].Key)
				if diff := cmp.Diff(keptFrom(attempts[:i]), b.excluded[key]); diff != "" || i > 0 && len(b.excluded[key]) < i {
					t.Errorf("attempt %d keeps away from %v (-want +got):\n%s", i+1, b.excluded[key], diff)
				}
				if n := b.cluster.Counts().Submits[key]; n != 1 {
					t.Errorf("attempt %d was handed in %d times", i+1, n)
				}
				if i > 0 {
					pauses += pauseBefore(&attempts[i])
				}
			}
			if took := b.now.Sub(began); took < pauses {
				t.Errorf("it took %s, and the pauses alone %s", took, pauses)
			}
		})
	}
}

// between are two lengths in seconds.
func between(low, high int) [2]time.Duration {
	return [2]time.Duration{time.Duration(low) * time.Second, time.Duration(high) * time.Second}
}

package slurmjob

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/sim"
)

// keptAccounts are the options of a cluster that soon forgets jobs and keeps accounts of them.
func keptAccounts(o sim.Options) sim.Options {
	o.Remember, o.Accounts = time.Minute, true
	return o
}

// TestSince: accounting is asked only for what the batch system may have forgotten.
func TestSince(t *testing.T) {
	k := &Kind{Deps: Deps{Process: "me", Now: func() time.Time { return noon }}}
	for reason, c := range map[string]struct {
		process   string
		intended  time.Duration // before now
		remembers time.Duration
		want      time.Time
	}{
		"just intended by this process":     {"me", time.Second, time.Minute, time.Time{}},
		"half of what it remembers is over": {"me", 30 * time.Second, time.Minute, noon.Add(-30*time.Second - accountsBefore)},
		"intended by another process":       {"another", time.Second, time.Minute, noon.Add(-time.Second - accountsBefore)},
		"a site that forgets nothing":       {"another", time.Hour, 0, time.Time{}},
	} {
		a := try(v1alpha1.AttemptIntended, func(a *v1alpha1.Attempt) { a.Process, a.IntendTime = c.process, ago(c.intended) })
		if got := k.since(&a, &world{remembers: c.remembers}); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", reason, got, c.want)
		}
	}
}

// TestMidnight: a job that ended before midnight, and that the batch system has forgotten, is found in its accounts by a
// control plane that was away: accounts are asked from the intent on, not from the beginning of the day.
func TestMidnight(t *testing.T) {
	cases := map[string]struct {
		reason string
		end    func(*bench, *v1alpha1.SlurmJob)
		want   string
	}{
		"cancelled in the queue": {
			reason: "it wrote nothing that could tell",
			end: func(b *bench, j *v1alpha1.SlurmJob) {
				if err := b.site.Cancel(t.Context(), j.Status.JobID); err != nil {
					t.Fatal(err)
				}
			},
			want: v1alpha1.ReasonAborted,
		},
		"ended as planned": {
			reason: "nothing is measured again",
			end: func(b *bench, j *v1alpha1.SlurmJob) {
				if err := b.site.Release(t.Context(), j.Status.JobID); err != nil {
					t.Fatal(err)
				}
			},
			want: v1alpha1.ReasonCompleted,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBenchOn(t, 11, &plot{}, keptAccounts)
			b.now = time.Date(2026, 1, 1, 23, 58, 0, 0, time.UTC)
			job := b.until("handed in", func(j *v1alpha1.SlurmJob) bool { return j.Status.JobID != "" })
			c.end(b, job)
			b.now = time.Date(2026, 1, 2, 0, 30, 0, 0, time.UTC)
			b.start()
			job = b.until("complete", complete)
			if got := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionSucceeded); got.Reason != c.want || job.Status.Attempt != 1 {
				t.Errorf("%s: %+v after %d attempts, want %s after one", c.reason, got, job.Status.Attempt, c.want)
			}
			if n := b.cluster.Counts().Past; n == 0 {
				t.Error("the accounts were not asked")
			}
			if ended := newest(job.Status.Attempts).EndTime; ended == nil || ended.Day() != 1 {
				t.Errorf("it ended %v, want before midnight", ended)
			}
		})
	}
}

// TestReusedID: the id of a job that the batch system lost is given to another job of ours, and to one of another control
// plane. Neither is taken for the lost one, and neither is touched.
func TestReusedID(t *testing.T) {
	for name, origin := range map[string]string{"our own job": origin, "another's job": "feedc0defeedc0de"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 12, &plot{})
			job := b.until("running", func(j *v1alpha1.SlurmJob) bool { return j.Status.Phase == "Running" })
			id := job.Status.JobID
			b.cluster.LoseNode(id)
			b.cluster.Vanish(id)
			other := b.cluster.Site(origin)
			key := slurmbridge.NewKey(origin, "40000000-0000-4000-8000-000000000009", 1)
			b.cluster.ReuseID(id)
			b.cluster.Program("/other", sim.Program{Takes: time.Hour})
			script := slurmbridge.Script{Directory: "/work/other/1", Node: "/other", Parts: []slurmbridge.Part{{Nodes: 1}}}
			if err := other.Submit(t.Context(), key, script); err != nil {
				t.Fatal(err)
			}
			if err := other.Release(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			job = b.until("complete", complete)
			if got := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionSucceeded); got.Reason != v1alpha1.ReasonLost {
				t.Errorf("%+v, want Lost: the job with this id is another one", got)
			}
			if err := b.client.Delete(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				b.pass()
			}
			found, err := other.Find(t.Context(), key)
			if err != nil || len(found) != 1 || found[0].ID != id || found[0].Phase != slurmbridge.Running {
				t.Errorf("the other job: %+v, %v; want it to run under the id %s", found, err, id)
			}
		})
	}
}

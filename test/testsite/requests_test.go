//go:build e2e

package testsite

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/test/user"
)

// within is how soon a request that could never run is told so. Side by side with the other cases two cores may take longer
// for some of them, so the soonest counts.
const within = 5 * time.Second

// refusedRequests get Slurm's own words, and no job. The last one would be taken by sbatch: only a preflight refuses it. Its
// partition is this test's own, for what a preflight says of nodes is final only where all of them are up.
func (p *plane) refusedRequests() {
	p.site.Root("scontrol", "create", "PartitionName=three", "Nodes=mel[2001-2003]")
	words := map[string]string{
		"account: nobody": "Invalid account or account/partition combination specified", "partition: quantum": "Invalid partition name specified",
		"qos: best": "Invalid qos specification", "partition: three, memory: 900Gi": "Requested node configuration is not available",
	}
	names := map[string]string{}
	var texts []string
	for edit := range words {
		name := strings.ToLower(strings.NewReplacer(": ", "-", ", ", "-").Replace(edit))
		names[name] = edit
		texts = append(texts, benchmark(name, "cpusPerTask: 1", "cpusPerTask: 1, "+edit))
	}
	p.apply(texts...)
	soonest := time.Hour
	for name, edit := range names {
		p.ended(name, v1alpha1.ReasonFailed, v1alpha1.ReasonSubmitRefused, v1alpha1.ReasonSubmitRefused, words[edit])
		j := p.sj(name)
		if id := j.Status.JobID; id != "" {
			p.t.Errorf("%s: there is a job %s", name, id)
		}
		told := meta.FindStatusCondition(j.Status.Conditions, v1alpha1.ConditionComplete).LastTransitionTime
		took := told.Sub(j.CreationTimestamp.Time)
		p.t.Logf("%s: refused %s after its SlurmJob was made", name, took)
		soonest = min(soonest, took)
	}
	if soonest > within {
		p.t.Errorf("the soonest was refused after %s, want it within %s", soonest, within)
	}
}

// drained waits in the queue for a node that is away, which a preflight takes for a request that is never met.
func (p *plane) drained() {
	p.site.Root("scontrol", "create", "PartitionName=pair", "Nodes=mel[2003-2004]")
	p.site.Root("scontrol", "update", "node=mel2004", "state=drain", "reason=test")
	p.apply(benchmark("patient", "cpusPerTask: 1", "cpusPerTask: 1, partition: pair"))
	j := p.awaitJob("patient", "waits for the node", func(j v1alpha1.SlurmJob) bool { return j.Status.Waiting != "" })
	p.t.Logf("it waits: %s", j.Status.Waiting)
	if b := p.bm("patient"); is(j.Status.Conditions, v1alpha1.ConditionStalled)+is(b.Status.Conditions, v1alpha1.ConditionStalled) != "" {
		p.t.Errorf("%+v and the Benchmark %+v, want them to wait", j.Status.Conditions, b.Status.Conditions)
	}
	p.site.Root("scontrol", "update", "node=mel2004", "state=resume")
	p.measured(p.awaitEnd("patient"), 1)
}

// tooMany are two at a QOS that takes one job of a user: the second is handed in once the first has ended, under the one key.
func (p *plane) tooMany() {
	const single = "cpusPerTask: 1, qos: single"
	p.apply(benchmark("one", "cpusPerTask: 1", single), benchmark("two", "cpusPerTask: 1", single))
	var late string
	p.until("one of two is not taken now", func() bool {
		for _, name := range []string{"one", "two"} {
			if reason(v1alpha1.ConditionSubmitted, "False SiteBusy")(p.sj(name)) {
				late = name
			}
		}
		return late != ""
	}, func() any { return []any{p.sj("one").Status, p.sj("two").Status} })
	if said := message(p.sj(late).Status.Conditions, v1alpha1.ConditionReady); !strings.Contains(said, "QOSMaxSubmitJobPerUserLimit") {
		p.t.Errorf("it says %q, want the limit's name", said)
	}
	p.measured(p.awaitEnd("one"), 1)
	p.measured(p.awaitEnd("two"), 1)
}

// endless waits for what never comes, for its time limit is over its QOS's, and says so.
func (p *plane) endless() {
	b := v1alpha1.Benchmark{}
	p.until("a Benchmark that can never start is stalled", func() bool {
		b = p.bm("endless")
		return is(b.Status.Conditions, v1alpha1.ConditionStalled) == "True Unschedulable"
	}, func() any { return p.sj("endless").Status })
	if said := message(b.Status.Conditions, v1alpha1.ConditionStalled); !strings.Contains(said, "QOSMaxWallDurationPerJobLimit") {
		p.t.Errorf("it says %q, want Slurm's own word", said)
	}
	p.u.Must("assay", "kubectl", "delete", "bm/endless", "--timeout", user.Within.String())
}

// suspended stands still while root has it suspended, and does not say that it runs.
func (p *plane) suspended() {
	j := p.awaitJob("suspended", "measures", measuring)
	p.site.Root("scontrol", "suspend", j.Status.JobID)
	p.awaitJob("suspended", "is suspended", reason(v1alpha1.ConditionRunning, "False Suspended"))
	p.site.Root("scontrol", "resume", j.Status.JobID)
	p.awaitJob("suspended", "runs again", reason(v1alpha1.ConditionRunning, "True Running"))
	p.u.Must("assay", "kubectl", "delete", "bm/suspended", "--timeout", user.Within.String())
}

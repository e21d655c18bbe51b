package slurmjob

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
)

// limitedSite has limits.
func limitedSite(l v1alpha1.SiteLimits) *v1alpha1.Site {
	return &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "here", UID: "site"}, Spec: v1alpha1.SiteSpec{
		Jobs: v1alpha1.JobsDoor{Sim: &v1alpha1.SimDoor{}}, WorkDir: "/work", Limits: l,
	}}
}

// inLine is a SlurmJob that was made at a minute, in a state: waits, intended, handed in, ended, or going.
func inLine(name string, minute int, state string) v1alpha1.SlurmJob {
	job := v1alpha1.SlurmJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID(name),
			CreationTimestamp: metav1.NewTime(noon.Add(time.Duration(minute) * time.Minute)),
		},
		Spec: v1alpha1.SlurmJobSpec{Site: "here"},
	}
	attempt := v1alpha1.Attempt{Number: 1, State: v1alpha1.AttemptIntended, GPUs: 4, GPUSeconds: 4 * 3600}
	switch state {
	case "waits":
		return job
	case "going":
		job.DeletionTimestamp = &metav1.Time{Time: noon}
		return job
	case "intended":
	case "handed in":
		attempt.Submits, attempt.State = 1, v1alpha1.AttemptQueued
	case "ended": // after half an hour of its hour
		attempt.Submits, attempt.State = 1, v1alpha1.AttemptEnded
		attempt.StartTime, attempt.EndTime = &metav1.Time{Time: noon}, &metav1.Time{Time: noon.Add(30 * time.Minute)}
	}
	job.Status.Attempts = []v1alpha1.Attempt{attempt}
	return job
}

// The line decides who goes next: whoever is with the batch system, or is promised to be, has a place; then first come,
// first served.
func TestLine(t *testing.T) {
	jobs := func(n int32) v1alpha1.SiteLimits { return v1alpha1.SiteLimits{Jobs: n} }
	gpus := func(h v1alpha1.Decimal) v1alpha1.SiteLimits { return v1alpha1.SiteLimits{GPUHours: h} }
	hour := claim{gpus: 4, gpuSeconds: 4 * 3600, limit: time.Hour}
	cases := map[string]struct {
		reason   string
		limits   v1alpha1.SiteLimits
		used     int64
		charged  []string
		others   []v1alpha1.SlurmJob
		asks     map[types.UID]claim
		hindered map[types.UID]bool
		claim    claim
		want     string
	}{
		"alone":       {reason: "nobody is in its way", limits: jobs(1)},
		"room":        {reason: "one of two is taken", limits: jobs(2), others: []v1alpha1.SlurmJob{inLine("a", 1, "handed in")}},
		"full":        {reason: "all are taken", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("a", 1, "handed in")}, want: "SiteBusy: waits for its turn at site here: 1 of 1 jobs"},
		"an intent":   {reason: "what is stored counts, also that of a younger one", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("z", 9, "intended")}, want: "SiteBusy: waits for its turn at site here: 1 of 1 jobs"},
		"ended":       {reason: "who has ended has no place", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("a", 1, "ended")}},
		"going":       {reason: "who is deleted before it was handed in never will be", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("a", 1, "going")}},
		"first come":  {reason: "an older one goes first", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("z", 1, "waits")}, want: "SiteBusy: waits for its turn at site here: 1 of 1 jobs"},
		"by name":     {reason: "of two of the same second the name decides", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("a", 5, "waits")}, want: "SiteBusy: waits for its turn at site here: 1 of 1 jobs"},
		"last come":   {reason: "a younger one waits", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("a", 6, "waits")}},
		"both fit":    {reason: "there is room for the older one too", limits: jobs(2), others: []v1alpha1.SlurmJob{inLine("a", 1, "waits")}},
		"hindered":    {reason: "who could not go anyway holds nobody up", limits: jobs(1), others: []v1alpha1.SlurmJob{inLine("a", 1, "waits")}, hindered: map[types.UID]bool{"a": true}},
		"hours":       {reason: "four of five are promised", limits: gpus("5"), others: []v1alpha1.SlurmJob{inLine("a", 1, "handed in")}, claim: hour, want: "SiteBusy: waits for its turn at site here: the 4 GPU-hours that it asks for are promised to the jobs before it"},
		"hours fit":   {reason: "eight of eight", limits: gpus("8"), others: []v1alpha1.SlurmJob{inLine("a", 1, "handed in")}, claim: hour},
		"half used":   {reason: "who has ended counts with what it used", limits: gpus("6"), others: []v1alpha1.SlurmJob{inLine("a", 1, "ended")}, claim: hour},
		"never":       {reason: "2 used and 4 asked are more than 5.5", limits: gpus("5.5"), others: []v1alpha1.SlurmJob{inLine("a", 1, "ended")}, claim: hour, want: "stalled BudgetExceeded: asks for 4 GPUs for 1h0m0s, which is 4 GPU-hours; of the 5.5 GPU-hours of site here 2 are used and 3.5 are left: ask for less, or raise limits.gpuHours of the Site"},
		"charged":     {reason: "what the Site took over is not counted twice", limits: gpus("6"), used: 7200, charged: []string{"a"}, others: []v1alpha1.SlurmJob{inLine("a", 1, "ended")}, claim: hour},
		"of the gone": {reason: "what deleted ones used is the Site's", limits: gpus("5"), used: 7200, claim: hour, want: "stalled BudgetExceeded: asks for 4 GPUs for 1h0m0s, which is 4 GPU-hours; of the 5 GPU-hours of site here 2 are used and 3 are left: ask for less, or raise limits.gpuHours of the Site"},
		"asked first": {reason: "nobody overtakes an older one that has to wait for more", limits: gpus("10"), others: []v1alpha1.SlurmJob{inLine("a", 1, "waits")}, asks: map[types.UID]claim{"a": {gpus: 4, gpuSeconds: 8 * 3600}}, claim: hour, want: "SiteBusy: waits for its turn at site here: the 4 GPU-hours that it asks for are promised to the jobs before it"},
		"not asked":   {reason: "what an older one will ask for is not known yet", limits: gpus("10"), others: []v1alpha1.SlurmJob{inLine("a", 1, "waits")}, claim: hour, want: "SiteBusy: waits for its turn at site here: the 4 GPU-hours that it asks for are promised to the jobs before it"},
		"no GPU":      {reason: "a job without GPUs uses none of them", limits: gpus("1"), others: []v1alpha1.SlurmJob{inLine("a", 1, "handed in")}},
		"no limit":    {reason: "its use has no bound", limits: gpus("100"), claim: claim{gpus: 2}, want: "stalled InvalidParameters: asks for 2 GPUs without a time limit, but site here counts GPU-hours: give resources.timeLimit"},
		"elsewhere":   {reason: "another site's jobs are not in its way", limits: jobs(1), others: []v1alpha1.SlurmJob{at("there", inLine("a", 1, "handed in"))}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			site := limitedSite(c.limits)
			site.Status.GPUSecondsUsed, site.Status.Charged = c.used, c.charged
			me := inLine("me", 5, "waits")
			asks := map[types.UID]claim{"me": c.claim}
			maps.Copy(asks, c.asks)
			l := lineAt(site, append(c.others, me), nil, c.hindered, asks)
			mine, _ := placeOf(&me, nil, nil, asks)
			if diff := cmp.Diff(c.want, words(l.refuses(site, mine, c.claim))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func at(site string, job v1alpha1.SlurmJob) v1alpha1.SlurmJob {
	job.Spec.Site = v1alpha1.Name(site)
	return job
}

func words(b *blocked) string {
	switch {
	case b == nil:
		return ""
	case b.stalled:
		return fmt.Sprintf("stalled %s: %s", b.reason, b.message)
	}
	return b.reason + ": " + b.message
}

func TestClaimOfAScript(t *testing.T) {
	s := slurmbridge.Script{TimeLimit: 90 * time.Minute, Parts: []slurmbridge.Part{
		{Nodes: 2, GPUsPerNode: 4}, {GPUsPerNode: 1}, {Nodes: 3, Gres: "gpu:a100:2,shard:7"}, {Nodes: 8},
	}}
	want := claim{gpus: 8 + 1 + 6, gpuSeconds: 15 * 5400, limit: 90 * time.Minute}
	if got := claimOf(s); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzGPUsInGres(f *testing.F) {
	for gres, want := range map[string]int{"": 0, "gpu": 1, "gpu:3": 3, "gpu:a100:2": 2, "gpu:a100": 1, "shard:4": 0, "gpu:1,craynetwork:2,gpu:v100:2": 3} {
		if got := gpusIn(gres); got != want {
			f.Errorf("%q holds %d GPUs, want %d", gres, got, want)
		}
		f.Add(gres)
	}
	f.Fuzz(func(t *testing.T, gres string) {
		n := gpusIn(gres)
		if n < 0 || n > 0 && !strings.Contains(gres, "gpu") {
			t.Errorf("%q holds %d GPUs", gres, n)
		}
	})
}

// A SlurmJob that used GPUs of a Site that counts them stays until the Site has taken that over.
func TestGoesOnlyWhenItsUseIsCounted(t *testing.T) {
	job := inLine("a", 1, "ended")
	job.DeletionTimestamp = &metav1.Time{Time: noon}
	site := limitedSite(v1alpha1.SiteLimits{GPUHours: "5"})
	for _, step := range []struct {
		reason string
		edit   func()
		want   bool
	}{
		{"nobody has counted it", func() {}, false},
		{"the Site has", func() { site.Status.Charged = []string{"a"} }, true},
		{"the Site counts nothing", func() { site.Status.Charged, site.Spec.Limits.GPUHours = nil, "" }, true},
		{"the Site is gone", func() { site = nil }, true},
	} {
		step.edit()
		seen := open(func(w *world) { w.owes, w.jobs = owes(&job, site), nil })
		if d := decide(job.DeepCopy(), seen, noon); d.Release != step.want {
			t.Errorf("%s: released %v", step.reason, d.Release)
		}
	}
}

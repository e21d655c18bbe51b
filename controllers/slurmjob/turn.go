package slurmjob

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// claim is what a job asks of its site's limits.
type claim struct {
	gpus int32
	// gpuSeconds is its GPUs times its time limit.
	gpuSeconds int64
	limit      time.Duration
}

// claimOf is what a script asks for.
func claimOf(s slurmbridge.Script) claim {
	var c claim
	for _, p := range s.Parts {
		c.gpus += int32(max(1, p.Nodes) * (p.GPUsPerNode + gpusIn(p.Gres)))
	}
	c.limit = s.TimeLimit
	c.gpuSeconds = int64(c.gpus) * int64(s.TimeLimit/time.Second)
	return c
}

// gpusIn counts the GPUs of a node in Slurm's notation of generic resources: gpu, gpu:2, gpu:a100:2 and others, with commas.
func gpusIn(gres string) (n int) {
	for one := range strings.SplitSeq(gres, ",") {
		words := strings.Split(one, ":")
		if words[0] != "gpu" {
			continue
		}
		count, err := strconv.ParseUint(words[len(words)-1], 10, 16)
		if err != nil {
			count = 1 // no number: one
		}
		n += int(count)
	}
	return n
}

// rank is how far a job has come on its way to the batch system. Who has come further goes first.
type rank int

const (
	rankHandedIn rank = iota // the batch system may have it
	rankPromised             // its intent is stored, or this process has just let it
	rankWaits                // it waits for its turn
)

// place is a job's place in the line of its site.
type place struct {
	uid     types.UID
	created time.Time
	name    string
	rank    rank
	// gpuSeconds of its claim; known says whether it has told it.
	gpuSeconds int64
	known      bool
}

// before orders a line: by rank, then first come, first served.
func before(a, b place) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), a.created.Compare(b.created), cmp.Compare(a.name, b.name))
}

// line is everybody at a site who has, or waits for, a turn, and the GPU-seconds that were used there before.
type line struct {
	places []place
	used   int64
}

// refuses says why a job may not be handed in now, or nil. It goes when the places before it leave room for it, so that
// nobody overtakes and nobody waits for ever.
func (l line) refuses(site *v1alpha1.Site, me place, c claim) *blocked {
	limits := site.Spec.Limits
	jobs, promised, known := 0, int64(0), true
	for _, p := range l.places {
		if p.uid == me.uid || before(p, me) > 0 {
			continue
		}
		jobs++
		promised += p.gpuSeconds
		known = known && (p.known || p.rank < rankWaits)
	}
	if b := l.never(site, c); b != nil {
		return b
	}
	busy := func(format string, args ...any) *blocked {
		return &blocked{reason: v1alpha1.ReasonSiteBusy,
			message: fmt.Sprintf("waits for its turn at site %s: ", site.Name) + fmt.Sprintf(format, args...)}
	}
	if limits.Jobs > 0 && jobs >= int(limits.Jobs) {
		return busy("%d of %d jobs", limits.Jobs, limits.Jobs)
	}
	budget, limited := budgetOf(limits)
	if limited && c.gpuSeconds > 0 && (!known || l.used+promised+c.gpuSeconds > budget) {
		return busy("the %s GPU-hours that it asks for are promised to the jobs before it", hours(c.gpuSeconds))
	}
	return nil
}

// never says why a job does not fit into the budget however long it waits, or nil.
func (l line) never(site *v1alpha1.Site, c claim) *blocked {
	budget, limited := budgetOf(site.Spec.Limits)
	switch {
	case !limited || c.gpus == 0:
		return nil
	case c.limit == 0:
		return &blocked{stalled: true, reason: v1alpha1.ReasonInvalidParameters, message: fmt.Sprintf(
			"asks for %d GPUs without a time limit, but site %s counts GPU-hours: give resources.timeLimit", c.gpus, site.Name)}
	case l.used+c.gpuSeconds > budget:
		return &blocked{stalled: true, reason: v1alpha1.ReasonBudgetExceeded, message: fmt.Sprintf(
			"asks for %d GPUs for %s, which is %s GPU-hours; of the %s GPU-hours of site %s %s are used and %s are left: ask for less, or raise limits.gpuHours of the Site",
			c.gpus, c.limit, hours(c.gpuSeconds), site.Spec.Limits.GPUHours, site.Name, hours(l.used), hours(max(0, budget-l.used)))}
	}
	return nil
}

// budgetOf is a site's limit in GPU-seconds; false where it has none.
func budgetOf(l v1alpha1.SiteLimits) (int64, bool) {
	if l.GPUHours == "" {
		return 0, false
	}
	h, err := l.GPUHours.Float()
	if err != nil {
		return 0, true // admission lets none through
	}
	return int64(h * 3600), true
}

// hours writes GPU-seconds as GPU-hours.
func hours(seconds int64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(float64(seconds)/3600, 'f', 2, 64), "0"), ".")
}

// lineAt puts the jobs of a site into line. granted are those that this process has let and that may not be stored yet;
// hindered are those that something else holds up, which do not stand in line; asks are claims by UID.
func lineAt(site *v1alpha1.Site, jobs []v1alpha1.SlurmJob, granted, hindered map[types.UID]bool, asks map[types.UID]claim) line {
	l := line{used: site.Status.GPUSecondsUsed}
	for i := range jobs {
		job := &jobs[i]
		if string(job.Spec.Site) != site.Name {
			continue
		}
		if !slices.Contains(site.Status.Charged, string(job.UID)) {
			l.used += reconcile.GPUSecondsUsed(job)
		}
		if p, ok := placeOf(job, granted, hindered, asks); ok {
			l.places = append(l.places, p)
		}
	}
	slices.SortFunc(l.places, before)
	return l
}

// placeOf is a job's place in line; false for one that has ended, goes, or cannot be handed in anyway.
func placeOf(job *v1alpha1.SlurmJob, granted, hindered map[types.UID]bool, asks map[types.UID]claim) (place, bool) {
	p := place{uid: job.UID, created: job.CreationTimestamp.Time, name: job.Name, rank: rankWaits}
	c, asked := asks[job.UID]
	p.gpuSeconds, p.known = c.gpuSeconds, asked
	a := newest(job.Status.Attempts)
	switch {
	case ended(a), reconcile.IsComplete(job.Status.Conditions):
		return p, false
	case handedIn(a):
		p.rank = rankHandedIn
	case isDeleting(job):
		return p, false
	case a != nil, granted[job.UID]:
		p.rank = rankPromised
	case hindered[job.UID]:
		return p, false
	}
	if a != nil && a.GPUSeconds > 0 {
		p.gpuSeconds, p.known = a.GPUSeconds, true
	}
	return p, true
}

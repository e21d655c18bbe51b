package site

import (
	"cmp"
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
)

// A SlurmJob keeps what it used of the site's GPU-hours in its own status. Before it goes the Site takes that over, once:
// the sum and the UID are stored in one write, and the SlurmJob's finalizer goes only when its UID is there.

// bill is what a SlurmJob used that is about to go.
type bill struct {
	uid     string
	seconds int64
}

// mostCharged is the longest list of UIDs; who is not in it yet waits for those before to be gone.
const mostCharged = 256

// bills reads, live, what is to be taken over, and which of those that were taken over are still there. It asks nothing
// when the cache shows nothing to do.
func (k *Kind) bills(ctx context.Context, site *v1alpha1.Site, cached []v1alpha1.SlurmJob) (due []bill, there []string, err error) {
	if len(site.Status.Charged) == 0 && !slices.ContainsFunc(cached, func(j v1alpha1.SlurmJob) bool { return owes(&j) }) {
		return nil, nil, nil
	}
	var jobs v1alpha1.SlurmJobList
	if err := k.Live.List(ctx, &jobs, client.InNamespace(site.Namespace)); err != nil {
		return nil, nil, err
	}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		if string(job.Spec.Site) != site.Name {
			continue
		}
		there = append(there, string(job.UID))
		if owes(job) {
			due = append(due, bill{string(job.UID), reconcile.GPUSecondsUsed(job)})
		}
	}
	slices.SortFunc(due, func(a, b bill) int { return cmp.Compare(a.uid, b.uid) })
	return due, there, nil
}

// owes says that a SlurmJob is about to go, that nothing of it runs any more, and that it used GPUs.
func owes(job *v1alpha1.SlurmJob) bool {
	return !job.DeletionTimestamp.IsZero() && !isLive(job) && reconcile.GPUSecondsUsed(job) > 0
}

// charge takes over what SlurmJobs used that go, and forgets those that are gone.
func charge(site *v1alpha1.Site, seen *world) {
	status := &site.Status
	status.Charged = slices.DeleteFunc(status.Charged, func(uid string) bool { return !slices.Contains(seen.there, uid) })
	if len(status.Charged) == 0 {
		status.Charged = nil
	}
	if site.Spec.Limits.GPUHours == "" {
		return
	}
	for _, b := range seen.due {
		if len(status.Charged) < mostCharged && !slices.Contains(status.Charged, b.uid) {
			status.Charged = append(status.Charged, b.uid)
			status.GPUSecondsUsed += b.seconds
		}
	}
}

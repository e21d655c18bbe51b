package site

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

// world is what one look saw. Decide reads nothing else.
type world struct {
	// door is the kind of door that the spec asks for; "" for one that this program does not have.
	door string
	// refused says that the door is on this host, and that such doors are not allowed.
	refused bool
	// open says that a door is open, current that it was opened with this spec. elsewhere says that this spec means another
	// place than that of the door, tried that the door could not be opened anew with this spec when it was tried last.
	open, current, elsewhere, tried bool
	looks                           looks
	// expires is when the token of the door ends, the zero time where it has none or does not say; stale is why no new one
	// could be made.
	expires    time.Time
	stale      error
	sweepEvery time.Duration
	// jobs are the SlurmJobs that refer to the site and have not ended; live are those that may have a job there.
	jobs, live int
	// due are the bills of SlurmJobs that are about to go, there the UIDs of those that are not gone.
	due   []bill
	there []string
	// limits are those that the door keeps.
	limits v1alpha1.SiteLimits
	// users names every SlurmJob that refers to the site, by a live read; only while the Site is being deleted.
	users []string
}

// Observe reads the registry and the SlurmJobs of the site.
func (k *Kind) Observe(ctx context.Context, site *v1alpha1.Site) (world, error) {
	w := world{sweepEvery: k.SweepEvery}
	if o, ok := k.opener(site); ok {
		w.door, w.refused = o.Name, o.usesHost(&site.Spec) && !k.AllowHost
	}
	if e, ok := k.Registry.snapshot(client.ObjectKeyFromObject(site)); ok {
		w.open, w.looks, w.limits = e.open, e.looks, e.limits
		if e.token != nil {
			w.expires, w.stale = e.token.Token()
		}
		spec := doorSpecOf(&site.Spec)
		w.current = e.uid == site.UID && reflect.DeepEqual(e.spec, spec)
		w.elsewhere, w.tried = e.spec.leadsElsewhere(spec), reflect.DeepEqual(e.tried, spec)
	}
	var jobs v1alpha1.SlurmJobList
	err := k.Client.List(ctx, &jobs, client.InNamespace(site.Namespace), client.MatchingFields{indexUsers: site.Name})
	if err != nil {
		return w, fmt.Errorf("SlurmJobs of site %s: %w", site.Name, err)
	}
	states := map[string]int{}
	for i := range jobs.Items {
		if !hasEnded(&jobs.Items[i]) {
			w.jobs++
		}
		if isLive(&jobs.Items[i]) {
			w.live++
		}
		states[cmp.Or(jobs.Items[i].Status.Phase, "Waiting")]++
	}
	k.Meter.Jobs(site.Namespace, site.Name, states, w.live)
	if w.due, w.there, err = k.bills(ctx, site, jobs.Items); err != nil {
		return w, fmt.Errorf("SlurmJobs of site %s: %w", site.Name, err)
	}
	if !site.DeletionTimestamp.IsZero() {
		w.users, err = k.users(ctx, client.ObjectKeyFromObject(site))
	}
	return w, err
}

// opener finds the kind of door that a spec asks for.
func (k *Kind) opener(site *v1alpha1.Site) (Opener, bool) {
	i := slices.IndexFunc(k.Openers, func(o Opener) bool { return o.Matches(&site.Spec) })
	if i < 0 {
		return Opener{}, false
	}
	return k.Openers[i], true
}

// users names the SlurmJobs that refer to a site, by a live read: a cache may not know the newest.
func (k *Kind) users(ctx context.Context, site client.ObjectKey) ([]string, error) {
	var jobs v1alpha1.SlurmJobList
	if err := k.Live.List(ctx, &jobs, client.InNamespace(site.Namespace)); err != nil {
		return nil, fmt.Errorf("SlurmJobs of site %s: %w", site.Name, err)
	}
	var names []string
	for i := range jobs.Items {
		if string(jobs.Items[i].Spec.Site) == site.Name {
			names = append(names, jobs.Items[i].Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// hasEnded says that nothing of a SlurmJob runs any more.
func hasEnded(job *v1alpha1.SlurmJob) bool {
	return meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionComplete)
}

// isLive says that a job may exist under a key of a SlurmJob.
func isLive(job *v1alpha1.SlurmJob) bool {
	return slices.ContainsFunc(job.Status.Attempts, func(a v1alpha1.Attempt) bool {
		return a.Submits > 0 && a.State != v1alpha1.AttemptEnded
	})
}

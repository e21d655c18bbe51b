package slurmjob

import (
	"context"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// ask asks the batch system itself for the jobs under a key.
func (k *Kind) ask(ctx context.Context, poller Poller, a *v1alpha1.Attempt, w *world) []slurmbridge.Job {
	key, asked := slurmbridge.Key(a.Key), k.Now()
	jobs, err := poller.Lookup(ctx, key, k.since(a, w))
	if err != nil {
		w.looked, w.lookErr = false, err
		return nil
	}
	w.looked, w.asked = w.lookErr == nil, asked
	k.memory.with(key, func(n *note) { n.found, n.asked = jobs, asked })
	return jobs
}

// accountsBefore is how much earlier than the intent accounting is asked from: the site's clock is another.
const accountsBefore = 5 * time.Minute

// since is the instant from which on accounting is asked for an attempt's job: the zero time while the batch system itself
// cannot have forgotten it yet, for then this process made the intent, and not long ago.
func (k *Kind) since(a *v1alpha1.Attempt, w *world) time.Time {
	if w.remembers == 0 || a.IntendTime == nil {
		return time.Time{}
	}
	if a.Process == reconcile.Clip(k.Process, 64) && k.Now().Sub(a.IntendTime.Time) < w.remembers/2 {
		return time.Time{}
	}
	return a.IntendTime.Add(-accountsBefore)
}

package slurmjob

import (
	"slices"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
)

// Meter counts what happens to the jobs of a site.
type Meter interface {
	// DuplicatesPrevented counts jobs that a second submit would have doubled, or that were cancelled as doubles.
	DuplicatesPrevented(namespace, site string, n int)
	// Lost counts a job that the batch system does not know any more.
	Lost(namespace, site string)
	// Queued takes the time from a job's submit to its start.
	Queued(namespace, site string, wait time.Duration)
}

// unmetered counts nothing.
type unmetered struct{}

func (unmetered) DuplicatesPrevented(string, string, int) {}
func (unmetered) Lost(string, string)                     {}
func (unmetered) Queued(string, string, time.Duration)    {}

// Count is an effect that tells the meter what a pass has stored. A crash before it costs a count, never a job.
type Count struct {
	Duplicates, Lost int
	Queued           []time.Duration
}

// counts compares what is stored with what was before.
func counts(before v1alpha1.SlurmJobStatus, d decision) (Count, bool) {
	var c Count
	if slices.ContainsFunc(d.Events, func(e reconcile.Event) bool { return e.Reason == eventDuplicate }) {
		c.Duplicates += doubles(d)
	}
	for i := range before.Attempts {
		was := &before.Attempts[i]
		j := slices.IndexFunc(d.Status.Attempts, func(a v1alpha1.Attempt) bool { return a.Number == was.Number })
		if j < 0 {
			continue
		}
		is := &d.Status.Attempts[j]
		if was.JobID == "" && is.JobID != "" && (was.Submits == 0 || was.State == v1alpha1.AttemptUncertain) {
			c.Duplicates++ // it was there before a submit that would have been the second one
		}
		if !ended(was) && ended(is) && is.Reason == v1alpha1.ReasonLost && is.JobID != "" {
			c.Lost++
		}
		if was.StartTime == nil && is.StartTime != nil && is.SubmitTime != nil {
			c.Queued = append(c.Queued, is.StartTime.Sub(is.SubmitTime.Time))
		}
	}
	return c, c.Duplicates > 0 || c.Lost > 0 || len(c.Queued) > 0
}

// doubles are the jobs that a decision cancels beside the attempt's own.
func doubles(d decision) (n int) {
	own := newest(d.Status.Attempts)
	for _, e := range d.Do {
		if cancel, ok := e.(Cancel); ok && own != nil && cancel.ID != own.JobID {
			n++
		}
	}
	return n
}

// count tells the meter.
func (k *Kind) count(job *v1alpha1.SlurmJob, c Count) {
	site := string(job.Spec.Site)
	if c.Duplicates > 0 {
		k.Meter.DuplicatesPrevented(job.Namespace, site, c.Duplicates)
	}
	for range c.Lost {
		k.Meter.Lost(job.Namespace, site)
	}
	for _, wait := range c.Queued {
		k.Meter.Queued(job.Namespace, site, wait)
	}
}

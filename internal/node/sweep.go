package node

import (
	"context"
	"fmt"
	"slices"

	"assay.bench/internal/load"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3"
)

// sweeps says that the job removes what a client has stored when its first rank is lost: at a URL, for a server of the job
// has ended by then and taken with it what was stored in it.
func (j *job) sweeps(c *rundir.Client) bool {
	return c.S3 != nil && c.Target.URL != "" && j.plan.DeleteObjects
}

// soFar is the result of a rank before it has cleaned up: it is read only when the rank is lost.
func (c *client) soFar(k int, out *load.Result) results.Rank {
	r := c.result(k, out)
	if c.number == 0 && c.job.sweeps(c.spec) {
		r.Warnings = append(slices.Clone(r.Warnings), fmt.Sprintf("its first instance was lost before the clean-up: see in %s whether the job has removed what is below %s/r%d/ of bucket %s",
			rundir.JobLogFile, c.spec.S3.Prefix, k, c.spec.S3.Bucket))
	}
	return r
}

// sweep removes what clients have stored whose first rank was lost. All ranks have ended.
func (b *batch) sweep() {
	for _, c := range b.children {
		at := slices.IndexFunc(b.job.plan.Clients, func(spec rundir.Client) bool { return spec.Name == c.component.name })
		if c.component.verb != "load" || c.lost == 0 || at < 0 || !b.job.sweeps(&b.job.plan.Clients[at]) {
			continue
		}
		spec := &b.job.plan.Clients[at]
		place := fmt.Sprintf("below %s/r%d of bucket %s", spec.S3.Prefix, c.lost, spec.S3.Bucket)
		calls, err := b.remove(c, spec)
		switch {
		case err != nil:
			b.sayf("%s/0 was lost before its clean-up, and so not everything %s is removed: %v", spec.Name, place, err)
			b.log("CleanUpFailed", "name", spec.Name, "repeat", c.lost, "error", err)
		case len(calls) > 0:
			b.sayf("%s/0 was lost before its clean-up: the job has removed what was %s", spec.Name, place)
			b.log("CleanUpDone", "name", spec.Name, "repeat", c.lost, "calls", calls)
		}
	}
}

// remove removes what all ranks of a client have stored for the repeat in which its first one was lost.
func (b *batch) remove(c *child, spec *rundir.Client) (s3.Calls, error) {
	var all []s3.Manifest
	for rank := range spec.Ranks {
		m, err := manifest(rundir.Rank(b.job.dir, spec.Name, rank), rank, c.lost)
		if err != nil {
			b.log("ObjectsNotKnown", "name", spec.Name, "repeat", c.lost, "rank", rank, "error", err)
			continue
		}
		all = append(all, m)
	}
	clock, err := load.NewClock()
	if err != nil {
		return nil, err
	}
	defer func() { _ = clock.Close() }() // a timer
	w, err := s3.New(objectsOf(spec, c.component.secrets.Credential, c.lost, clock, b.world.Now))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpGrace)
	defer cancel()
	return w.Remove(ctx, all...)
}

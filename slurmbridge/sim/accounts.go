package sim

import (
	"context"
	"slices"
	"time"

	"assay.bench/slurmbridge"
)

// Past returns the jobs of this origin under the keys that were submitted since an instant, those too that the batch
// system itself has forgotten. As with sacct, no instant means the midnight before.
func (s *Site) Past(ctx context.Context, since time.Time, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.o.Accounts {
		return nil, slurmbridge.ErrNoAccounting
	}
	if err := c.enter(ctx, &c.counts.Past); err != nil {
		return nil, err
	}
	if since.IsZero() {
		since = c.now.Truncate(24 * time.Hour)
	}
	var out []slurmbridge.Job
	for _, j := range slices.Concat(c.forgotten, c.jobs) {
		if j.key.Origin() == s.origin && slices.Contains(keys, j.key) && !j.submitted.Before(since) {
			out = append(out, c.describe(j))
		}
	}
	return c.print(out).parse()
}

// ReuseID gives the next job an id that was given out before: batch systems begin anew when they have used up theirs.
func (c *Cluster) ReuseID(id string) { c.change(func(f *faultState) { f.reuse = id }) }

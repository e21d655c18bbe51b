package poll

import (
	"context"
	"slices"
	"time"

	"assay.bench/slurmbridge"
)

// lookup is one query that several callers wait for.
type lookup struct {
	keys []slurmbridge.Key
	done chan struct{}
	jobs []slurmbridge.Job
	err  error
}

// Lookup asks the batch system itself for the jobs under a key, oldest first. The query begins after the call: calls
// within Pace.LookupWait share one.
func (p *Poller) Lookup(ctx context.Context, key slurmbridge.Key) ([]slurmbridge.Job, error) {
	l := p.join(key)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
	}
	if l.err != nil {
		return nil, l.err
	}
	var mine []slurmbridge.Job
	for _, j := range l.jobs {
		if j.Key == key {
			mine = append(mine, j)
		}
	}
	slices.SortFunc(mine, oldest)
	return mine, nil
}

func (p *Poller) join(key slurmbridge.Key) *lookup {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lookup == nil {
		p.lookup = &lookup{done: make(chan struct{})}
		time.AfterFunc(p.o.Pace.LookupWait, p.find)
	}
	l := p.lookup
	if !slices.Contains(l.keys, key) {
		l.keys = append(l.keys, key)
	}
	return l
}

// find sends the query of all who joined.
func (p *Poller) find() {
	p.mu.Lock()
	l := p.lookup
	p.lookup = nil
	p.stats.Finds++
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	l.jobs, l.err = p.o.Jobs.Find(ctx, l.keys...)
	close(l.done)
}

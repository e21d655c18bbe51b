package poll

import (
	"context"
	"errors"
	"slices"
	"time"

	"assay.bench/slurmbridge"
)

// lookup is one query that several callers wait for.
type lookup struct {
	keys []slurmbridge.Key
	// past are those of the keys that accounting is asked for too, since an instant.
	past  []slurmbridge.Key
	since time.Time
	// due says that it waits for the query under way only.
	due  bool
	done chan struct{}
	jobs []slurmbridge.Job
	err  error
}

// Lookup asks the batch system itself for the jobs under a key, oldest first. The query begins after the call: calls
// within Pace.LookupWait share one, and so do those that come while the one before is under way. A call whose context ended
// before its query did leaves that to the next call for the key: a site may take longer to answer than a caller waits. Where
// since is not zero, a job that the batch system does not know is looked for in the site's accounting too, from that instant
// on.
func (p *Poller) Lookup(ctx context.Context, key slurmbridge.Key, since time.Time) ([]slurmbridge.Job, error) {
	l := p.join(key, since)
	select {
	case <-ctx.Done():
		p.mu.Lock()
		p.left[key] = l
		p.mu.Unlock()
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

func (p *Poller) join(key slurmbridge.Key, since time.Time) *lookup {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.left[key]; l != nil {
		delete(p.left, key)
		if l.serves(key, since) {
			return l
		}
	}
	if p.lookup == nil {
		fresh := &lookup{done: make(chan struct{})}
		p.lookup = fresh
		time.AfterFunc(p.o.Pace.LookupWait, func() { p.find(fresh, false) })
		time.AfterFunc(p.o.Pace.LookupWait+lookupPatience, func() { p.find(fresh, true) })
	}
	l := p.lookup
	if !slices.Contains(l.keys, key) {
		l.keys = append(l.keys, key)
	}
	if !since.IsZero() {
		l.past = append(l.past, key)
		if l.since.IsZero() || since.Before(l.since) {
			l.since = since
		}
	}
	return l
}

// serves says that a query is under way, and asks for what is wanted of a key. The caller holds the lock.
func (l *lookup) serves(key slurmbridge.Key, since time.Time) bool {
	select {
	case <-l.done:
		return false // nobody knows how old it is
	default:
		return since.IsZero() || slices.Contains(l.past, key) && !since.Before(l.since)
	}
}

// lookupPatience is how long a query waits for the one before it: one that hangs holds nobody up for longer.
const lookupPatience = 15 * time.Second

// find sends the query of all who joined. While another one is under way it is left to that one's end, and more may join:
// a site that is slow, or that may be asked rarely, is asked for more of them at once.
func (p *Poller) find(l *lookup, now bool) {
	p.mu.Lock()
	if p.lookup != l {
		p.mu.Unlock()
		return // it was sent
	}
	if p.finding > 0 && !now {
		l.due = true
		p.mu.Unlock()
		return
	}
	p.lookup = nil
	p.finding++
	p.stats.Finds++
	p.mu.Unlock()
	p.query(l)
	p.mu.Lock()
	p.finding--
	next := p.lookup
	due := next != nil && next.due
	p.mu.Unlock()
	if due {
		p.find(next, false)
	}
}

// query asks the site.
func (p *Poller) query(l *lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if l.jobs, l.err = p.o.Jobs.Find(ctx, l.keys...); l.err == nil {
		l.err = p.remember(ctx, l)
	}
	close(l.done)
}

// remember adds what accounting knows of the keys that the batch system does not. An answer that fails leaves the whole
// look-up without one: half of the witnesses prove nothing.
func (p *Poller) remember(ctx context.Context, l *lookup) error {
	accountant, ok := p.o.Jobs.(slurmbridge.Accountant)
	if !ok {
		return nil
	}
	unknown := slices.DeleteFunc(l.past, func(k slurmbridge.Key) bool {
		return slices.ContainsFunc(l.jobs, func(j slurmbridge.Job) bool { return j.Key == k })
	})
	if len(unknown) == 0 {
		return nil
	}
	p.mu.Lock()
	p.stats.Pasts++
	p.mu.Unlock()
	jobs, err := accountant.Past(ctx, l.since, unknown...)
	if errors.Is(err, slurmbridge.ErrNoAccounting) {
		return nil
	}
	l.jobs = append(l.jobs, jobs...)
	return err
}

package slurmjob

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
)

// How long what a batch system said of a request is taken for its answer to the same request; that nodes are away passes.
const (
	preflightHolds = 10 * time.Minute
	awayHolds      = time.Minute
)

// preflights are the questions to batch systems that are under way, and those whose answer stays true for a while, by site
// and request.
type preflights struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]*question
}

// question is one to a batch system. Said may be read once done is closed.
type question struct {
	done chan struct{}
	said foretold
	// until is how long the answer holds; zero while it is under way.
	until time.Time
}

func newPreflights() *preflights { return &preflights{by: map[[sha256.Size]byte]*question{}} }

// join drops answers that are not fresh. It returns the question that is under way, or whose answer is fresh still; mine says
// that there is none, and that the caller is to ask it.
func (p *preflights) join(request [sha256.Size]byte, now time.Time) (q *question, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r, old := range p.by {
		if !old.until.IsZero() && now.After(old.until) {
			delete(p.by, r)
		}
	}
	if q := p.by[request]; q != nil {
		return q, false
	}
	q = &question{done: make(chan struct{})}
	p.by[request] = q
	return q, true
}

// answered ends a question, and keeps its answer until a time; one of now is not kept.
func (p *preflights) answered(request [sha256.Size]byte, q *question, now, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.until = until; !until.After(now) {
		delete(p.by, request)
	}
	close(q.done)
}

// foretell asks the batch system, once for each distinct request, whether the job could ever run; whoever comes with the same
// meanwhile waits for that answer. A question that failed says nothing, and the submit itself will tell. What is about now is
// asked again.
func (k *Kind) foretell(ctx context.Context, site *v1alpha1.Site, door slurmbridge.Door, m *made) foretold {
	asker, ok := door.Jobs.(slurmbridge.Preflighter)
	if !ok {
		return foretold{}
	}
	request, err := requestOf(site, m.out.Script)
	if err != nil {
		return foretold{}
	}
	now := k.Now()
	q, mine := k.preflights.join(request, now)
	if !mine {
		select {
		case <-q.done:
			return q.said
		case <-ctx.Done():
			return foretold{}
		}
	}
	err = asker.Preflight(ctx, m.key, m.out.Script)
	holds := time.Duration(0)
	switch {
	case err == nil:
		holds = preflightHolds
	case errors.Is(err, slurmbridge.ErrRefused):
		q.said.impossible, holds = err, preflightHolds
	case errors.Is(err, slurmbridge.ErrNodesAway):
		q.said.away, holds = err, awayHolds
	case errors.Is(err, slurmbridge.ErrNotNow):
		q.said.notNow = err
	}
	k.preflights.answered(request, q, now, now.Add(holds))
	return q.said
}

// requestOf tells requests apart: by the Site as it is now, and by all that the batch system judges. A Site that was made
// anew, or changed, may be another batch system.
func requestOf(site *v1alpha1.Site, s slurmbridge.Script) ([sha256.Size]byte, error) {
	b, err := json.Marshal([]any{site.UID, site.Generation, s.Parts, s.TimeLimit, s.Dependency})
	return sha256.Sum256(b), err
}

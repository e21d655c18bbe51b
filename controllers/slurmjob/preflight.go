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

// preflightHolds is how long what a batch system said of a request is taken for its answer to the same request.
const preflightHolds = 10 * time.Minute

// preflights are the answers of batch systems to requests, by site and request.
type preflights struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]preflight
}

type preflight struct {
	at      time.Time
	refused error
}

func newPreflights() *preflights { return &preflights{by: map[[sha256.Size]byte]preflight{}} }

// of returns a fresh answer, and drops those that are not.
func (p *preflights) of(request [sha256.Size]byte, now time.Time) (preflight, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r, a := range p.by {
		if now.Sub(a.at) > preflightHolds {
			delete(p.by, r)
		}
	}
	a, ok := p.by[request]
	return a, ok
}

func (p *preflights) keep(request [sha256.Size]byte, a preflight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[request] = a
}

// impossible asks the batch system, once for each distinct request, whether the job could ever run. The error wraps
// slurmbridge.ErrRefused; a question that failed says nothing, and the submit itself will tell.
func (k *Kind) impossible(ctx context.Context, job *v1alpha1.SlurmJob, door slurmbridge.Door, m *made) error {
	asker, ok := door.Jobs.(slurmbridge.Preflighter)
	if !ok {
		return nil
	}
	b, err := json.Marshal([]any{job.Namespace, job.Spec.Site, m.out.Script.Parts, m.out.Script.TimeLimit})
	if err != nil {
		return err
	}
	request := sha256.Sum256(b)
	now := k.Now()
	if a, ok := k.preflights.of(request, now); ok {
		return a.refused
	}
	switch err := asker.Preflight(ctx, m.key, m.out.Script); {
	case errors.Is(err, slurmbridge.ErrRefused):
		k.preflights.keep(request, preflight{now, err})
		return err
	case err == nil:
		k.preflights.keep(request, preflight{at: now})
	}
	return nil
}

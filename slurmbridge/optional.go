package slurmbridge

import (
	"context"
	"errors"
	"time"
)

// Accountant is implemented by a transport that can ask for jobs which the batch system itself has forgotten.
type Accountant interface {
	// Past returns the jobs under the keys that were submitted since an instant, from the site's accounting. The error wraps
	// ErrNoAccounting where the site keeps none: that is normal, and says nothing about any job.
	Past(ctx context.Context, since time.Time, keys ...Key) ([]Job, error)
}

// Preflighter is implemented by a transport that can ask whether a job could ever run.
type Preflighter interface {
	// Preflight asks about a script, without a job. The error wraps ErrRefused, with the batch system's words, when it would
	// be refused; any other error leaves it open.
	Preflight(ctx context.Context, key Key, s Script) error
}

// Estimator is implemented by a transport whose batch system tells when it expects a job to start.
type Estimator interface {
	// Estimate returns the expected start of a waiting job; the zero time where none is known.
	Estimate(ctx context.Context, id string) (time.Time, error)
}

// ErrNoAccounting says that the site keeps no accounts of ended jobs.
var ErrNoAccounting = errors.New("the site keeps no accounts of jobs")

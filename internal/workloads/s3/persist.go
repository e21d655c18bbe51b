package s3

import (
	"context"
	"errors"
	"net/http"
	"time"

	"assay.bench/internal/load"
)

// A call of the set-up or of the clean-up is attempted so often at most. The first pause is so long at most, and each
// further one twice as long: what is busy now is seldom busy for a second. The first write gets more of them, 6 to 13 s: a
// server of several nodes may be ready before all of its drives are.
const (
	attempts      = 5
	firstAttempts = 8
	firstPause    = 100 * time.Millisecond
)

// failure is an exchange that failed without an answer, by its kind.
type failure struct {
	kind load.Kind
	error
}

func (f *failure) Unwrap() error { return f.error }

// persist makes an attempt again while the server is busy or its connection breaks. The requests of the load itself are
// never repeated so: each of theirs is a measurement.
func (w *worker) persist(ctx context.Context, attempt func() error) error {
	return w.persistFor(ctx, attempts, attempt)
}

// persistFor makes up to so many attempts.
func (w *worker) persistFor(ctx context.Context, most int, attempt func() error) error {
	for n, pause := 1, firstPause; ; n, pause = n+1, 2*pause {
		err := attempt()
		if err == nil || n == most || !passing(err) || !w.pause(ctx, pause) {
			return err
		}
	}
}

// passing says that what went wrong may go well a moment later.
func passing(err error) bool {
	switch code := status(err); code {
	case 0:
		f, is := errors.AsType[*failure](err)
		return is && f.kind == load.Reset
	case http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusInsufficientStorage:
		return false
	default:
		return code >= http.StatusInternalServerError
	}
}

// pause waits for between half and all of a time, so that those whom the server has refused together do not come back
// together. It is false when ctx ended.
func (w *worker) pause(ctx context.Context, longest time.Duration) bool {
	o := &w.workload.options
	x := load.Rand(o.Seed, streamPause|uint64(o.Rank), w.workload.pauses.Add(1))
	timer := time.NewTimer(longest/2 + time.Duration(x%uint64(longest/2+1)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

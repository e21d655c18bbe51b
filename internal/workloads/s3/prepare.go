package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"assay.bench/internal/load"
)

// mark is the object that says whose prefix it is; rank 0 stores it first and removes it last.
const mark = "assay"

// Calls are how often each call of the S3 API was made, by its name.
type Calls map[string]int64

// Add adds up the calls of two.
func (c Calls) Add(more Calls) {
	for name, n := range more {
		c[name] += n
	}
}

// All goes through the calls in the order of their names.
func (c Calls) All() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for _, name := range slices.Sorted(maps.Keys(c)) {
			if !yield(name, c[name]) {
				return
			}
		}
	}
}

// list is the answer to ListObjectsV2.
type list struct {
	XMLName  xml.Name `xml:"ListBucketResult"`
	Contents []struct {
		Key string `xml:"Key"`
	} `xml:"Contents"`
	IsTruncated bool   `xml:"IsTruncated"`
	Next        string `xml:"NextContinuationToken"`
}

// Store makes ready for the load: rank 0 makes the bucket where there is none, refuses a prefix that holds anything, and
// marks it; then each rank stores its share of what the load reads, and what it deletes itself. It returns the calls that
// it made, also beside an error.
func (w *Workload) Store(ctx context.Context) (Calls, error) {
	one := newWorker(ctx, w)
	defer one.Close()
	claim := one.claim
	if w.options.Rank > 0 {
		claim = one.awaitMark
	}
	if err := claim(ctx); err != nil {
		return one.calls, fmt.Errorf("s3: %w", err)
	}
	share := func(yield func(object) bool) {
		for obj := range w.beforehand() {
			if rank, _, _ := w.offer.place(obj.set, obj.number); rank == uint64(w.options.Rank) && !yield(obj) {
				return
			}
		}
	}
	for range share {
		w.toStore.Add(1)
	}
	calls, err := parallel(ctx, w, share, func(x *worker, obj object) error {
		w.ledger.begin(obj)
		err := x.store(ctx, obj)
		if err == nil {
			w.ledger.keep(obj)
			w.stored.Add(1)
		}
		return err
	})
	calls.Add(one.calls)
	if err != nil {
		return calls, fmt.Errorf("s3: store the data set: %w", err)
	}
	return calls, nil
}

// Stored is how many objects Store has stored so far, of all that it will.
func (w *Workload) Stored() (done, all int64) { return w.stored.Load(), w.toStore.Load() }

// beforehand are the objects that are there before the load.
func (w *Workload) beforehand() func(yield func(object) bool) {
	return func(yield func(object) bool) {
		for _, phase := range []load.Phase{load.Warmup, load.Measure, load.Cooldown} {
			for _, s := range []set{dataSet, victims, spares} {
				for n := range w.offer.stored(s, phase) {
					if !yield(w.offer.object(s, phase, n)) {
						return
					}
				}
			}
		}
	}
}

// mostParallel is how many connections the set-up and the clean-up open at most.
const mostParallel = 16

// parallel does something to each of many things, on several connections. After the first error nothing more is begun, and
// what is under way comes to its end: a write that is cut off may reach the server after the clean-up.
func parallel[T any](ctx context.Context, w *Workload, each func(yield func(T) bool), do func(*worker, T) error) (Calls, error) {
	begin, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var mu sync.Mutex
	things, calls := make(chan T), Calls{}
	for range min(mostParallel, w.options.InFlight) {
		all.Go(func() {
			one := newWorker(ctx, w)
			defer one.Close()
			for thing := range things {
				if err := do(one, thing); err != nil {
					stop(err)
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			calls.Add(one.calls)
		})
	}
	each(func(thing T) bool {
		select {
		case things <- thing:
			return true
		case <-begin.Done():
			return false
		}
	})
	close(things)
	all.Wait()
	return calls, context.Cause(begin)
}

// claim makes sure of the bucket and that nothing lies below the prefix, and stores the mark.
func (w *worker) claim(ctx context.Context) error {
	p := &w.workload.options.Plan
	found, err := w.list(ctx, "", 1)
	if status(err) == http.StatusNotFound {
		found, err = list{}, w.createBucket(ctx)
	}
	if err == nil && len(found.Contents) > 0 {
		return fmt.Errorf("bucket %s holds %s, which is not ours: name another prefix, or remove it yourself", p.Bucket, found.Contents[0].Key)
	}
	if err == nil {
		err = w.mark(ctx)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", p.Bucket, w.advised(err))
	}
	return nil
}

// mark stores the mark. Once it is on its way it may be there, also when its answer is lost; a refusal is an answer.
func (w *worker) mark(ctx context.Context) error {
	w.workload.claimed.Store(true)
	refused := true
	err := w.persistFor(ctx, firstAttempts, func() error {
		_, err := w.once(callPutObject, request{method: "PUT", path: w.markPath()}, []byte("Objects below this prefix belong to a benchmark of assay.\n"))
		refused = refused && status(err) > 0
		return err
	})
	if err != nil && refused {
		w.workload.claimed.Store(false)
	}
	return err
}

// defaultRegion is the one that S3 makes a bucket in where nothing is said, and that may not be said.
const defaultRegion = "us-east-1"

func (w *worker) createBucket(ctx context.Context) error {
	p := &w.workload.options.Plan
	var where []byte
	if p.Region != "" && p.Region != defaultRegion {
		where = []byte("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>" + p.Region +
			"</LocationConstraint></CreateBucketConfiguration>")
	}
	_, err := w.call(ctx, callCreateBucket, request{method: "PUT", path: appendEscaped(nil, "/"+p.Bucket, false)}, where)
	if refused, is := errors.AsType[*apiError](err); is && refused.Code == "BucketAlreadyOwnedByYou" {
		return nil
	}
	return err
}

func (w *worker) markPath() []byte { return append(append([]byte(nil), w.workload.root...), mark...) }

// awaitMark waits until rank 0 has claimed the prefix.
func (w *worker) awaitMark(ctx context.Context) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := w.call(ctx, callHeadObject, request{method: "HEAD", path: w.markPath()}, nil)
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil && status(err) != http.StatusNotFound:
			return fmt.Errorf("bucket %s: the mark of rank 0: %w", w.workload.options.Plan.Bucket, w.advised(err))
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("rank 0 has not claimed the prefix: %w", context.Cause(ctx))
		}
	}
}

// list asks for at most n keys below the prefix.
func (w *worker) list(ctx context.Context, next string, n int) (list, error) {
	p := &w.workload.options.Plan
	var q []byte
	if next != "" {
		q = append(appendEscaped(append(q, "continuation-token="...), next, true), '&')
	}
	q = fmt.Appendf(q, "list-type=2&max-keys=%d&prefix=", n)
	q = appendEscaped(q, p.Prefix+"/", true)
	var found list
	answer, err := w.call(ctx, callListObjectsV2, request{method: "GET", path: appendEscaped(nil, "/"+p.Bucket, false), query: q}, nil)
	if err != nil {
		return found, err
	}
	if found, err = parseList(answer); err != nil {
		return found, fmt.Errorf("%s: %w", callListObjectsV2, err)
	}
	if found.IsTruncated && (found.Next == "" || found.Next == next) {
		return found, fmt.Errorf("%s: the server says that there are more keys and not from where on", callListObjectsV2)
	}
	return found, nil
}

func parseList(answer []byte) (list, error) {
	var found list
	if err := xml.Unmarshal(answer, &found); err != nil {
		return list{}, errNoS3
	}
	return found, nil
}

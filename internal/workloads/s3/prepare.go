package s3

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
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
// marks it; then each rank stores its share of what the load reads and deletes. It returns the calls that it made, also
// beside an error.
func (w *Workload) Store(ctx context.Context, rank, ranks int) (Calls, error) {
	one := newWorker(ctx, w)
	defer one.Close()
	claim := one.claim
	if rank > 0 {
		claim = one.awaitMark
	}
	if err := claim(ctx); err != nil {
		return one.calls, fmt.Errorf("s3: %w", err)
	}
	share := func(yield func(object) bool) {
		i := 0
		for obj := range w.beforehand() {
			if i++; (i-1)%ranks == rank && !yield(obj) {
				return
			}
		}
	}
	for range share {
		w.toStore.Add(1)
	}
	calls, err := parallel(ctx, w, share, func(x *worker, obj object) error {
		err := x.store(obj)
		if err == nil {
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
			for _, s := range []set{dataSet, victims} {
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
func (w *worker) claim(context.Context) error {
	p := &w.workload.options.Plan
	found, err := w.list("", 1)
	if status(err) == http.StatusNotFound {
		found, err = list{}, w.createBucket()
	}
	if err == nil && len(found.Contents) > 0 {
		return fmt.Errorf("bucket %s holds %s, which is not ours: name another prefix, or remove it yourself", p.Bucket, found.Contents[0].Key)
	}
	if err == nil {
		// From here on the mark may be there, also when its answer is lost; a refusal is an answer.
		w.workload.claimed.Store(true)
		_, err = w.call(callPutObject, request{method: "PUT", path: w.markPath()}, []byte("Objects below this prefix belong to a benchmark of assay.\n"))
	}
	if err != nil {
		if status(err) > 0 {
			w.workload.claimed.Store(false)
		}
		return fmt.Errorf("bucket %s: %w", p.Bucket, w.advised(err))
	}
	return nil
}

func (w *worker) createBucket() error {
	p := &w.workload.options.Plan
	_, err := w.call(callCreateBucket, request{method: "PUT", path: appendEscaped(nil, "/"+p.Bucket, false)}, nil)
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
		_, err := w.call(callHeadObject, request{method: "HEAD", path: w.markPath()}, nil)
		if err == nil || status(err) != http.StatusNotFound {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("rank 0 has not claimed the prefix: %w", context.Cause(ctx))
		}
	}
}

// list asks for at most n keys below the prefix.
func (w *worker) list(next string, n int) (list, error) {
	p := &w.workload.options.Plan
	var q []byte
	if next != "" {
		q = append(appendEscaped(append(q, "continuation-token="...), next, true), '&')
	}
	q = fmt.Appendf(q, "list-type=2&max-keys=%d&prefix=", n)
	q = appendEscaped(q, p.Prefix+"/", true)
	var found list
	answer, err := w.call(callListObjectsV2, request{method: "GET", path: appendEscaped(nil, "/"+p.Bucket, false), query: q}, nil)
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

// settle is how long the server may take with a write whose answer nobody awaited.
const settle = time.Second

// Remove deletes what is ours below the prefix, and nothing else; the mark goes last. A prefix that Store has not claimed
// is left alone. What somebody else has put there stays, and is an error. One rank does it, once no load is under way. It
// returns the calls that it made, also beside an error.
func (w *Workload) Remove(ctx context.Context) (Calls, error) {
	calls := Calls{}
	if !w.claimed.Load() {
		return calls, nil
	}
	if w.unanswered.Load() {
		select {
		case <-time.After(settle):
		case <-ctx.Done():
		}
	}
	one := newWorker(ctx, w)
	defer one.Close()
	own := w.options.Plan.Prefix + "/"
	remove := func(x *worker, key string) error {
		path := appendEscaped(nil, "/"+w.options.Plan.Bucket+"/"+key, false)
		_, err := x.call(callDeleteObject, request{method: "DELETE", path: path}, nil)
		return err
	}
	foreign, first := 0, ""
	var err error
	for found, next := (list{IsTruncated: true}), ""; found.IsTruncated && err == nil; next = found.Next {
		if found, err = one.list(next, 1000); err != nil {
			break
		}
		var done Calls
		done, err = parallel(ctx, w, func(yield func(string) bool) {
			for _, c := range found.Contents {
				name, below := strings.CutPrefix(c.Key, own)
				switch {
				case below && name == mark:
				case !below || !isKey(name):
					foreign++
					first = cmp.Or(first, c.Key)
				case !yield(c.Key):
					return
				}
			}
		}, remove)
		calls.Add(done)
	}
	if err == nil {
		err = remove(one, own+mark)
	}
	calls.Add(one.calls)
	switch {
	case err != nil:
		return calls, fmt.Errorf("s3: remove what was stored below %s of bucket %s: %w", own, w.options.Plan.Bucket, err)
	case foreign > 0:
		return calls, fmt.Errorf("s3: %d of the objects below %s of bucket %s are not ours and stay, such as %s: remove them yourself",
			foreign, own, w.options.Plan.Bucket, first)
	}
	return calls, nil
}

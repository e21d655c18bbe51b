package s3

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// settle is how long the server may take with a write whose answer nobody awaited.
const settle = time.Second

// Remove deletes what this rank and the others have begun to store, and nothing else; the mark goes last. A prefix that
// neither Store nor a rank of the others has claimed is left alone. What else is found below it stays, and is an error; so
// is what cannot be deleted, beside which the rest is. One rank does it, once no load is under way. It returns the calls
// that it made, also beside an error.
func (w *Workload) Remove(ctx context.Context, others ...Manifest) (Calls, error) {
	if !w.claimed.Load() && !slices.ContainsFunc(others, func(m Manifest) bool { return m.Claimed }) {
		return Calls{}, nil
	}
	c := clearing{workload: w, owners: w.owners(others), calls: Calls{}}
	if c.owners.unanswered {
		select {
		case <-time.After(settle):
		case <-ctx.Done():
		}
	}
	one := newWorker(ctx, w)
	defer one.Close()
	err := c.run(ctx, one)
	c.calls.Add(one.calls)
	return c.calls, c.verdict(err)
}

// clearing is one clean-up.
type clearing struct {
	workload *Workload
	owners   owners
	calls    Calls
	// ours and foreign are how many objects of either kind the last pass found; alien is the first of the latter.
	ours, foreign int
	alien         string

	mu sync.Mutex // of what follows, since objects are deleted on several connections
	// failed are the deletes that failed, row those since the last one that did not.
	failed, row int
	first       error
}

const (
	// passes are how often the list is gone through at most: what comes while one pass is under way, the next one sees.
	passes = 3
	// hopeless is how many deletes fail one after the other before nothing more is tried.
	hopeless = 2 * mostParallel
)

// run goes through the list until nothing of ours is in it.
func (c *clearing) run(ctx context.Context, one *worker) error {
	for range passes {
		err := c.pass(ctx, one)
		switch {
		case c.failed > 0:
			return fmt.Errorf("%d deletes failed, the first that of %w", c.failed, c.first)
		case err != nil:
			return err
		case c.ours == 0:
			return c.remove(ctx, one, c.prefix()+mark)
		}
	}
	return fmt.Errorf("%d objects were there again after all had been deleted %d times: see who else stores them", c.ours, passes)
}

// pass goes through the list once, and deletes what is ours.
func (c *clearing) pass(ctx context.Context, one *worker) error {
	c.ours, c.foreign, c.alien = 0, 0, ""
	for found, next := (list{IsTruncated: true}), ""; found.IsTruncated; next = found.Next {
		var err error
		if found, err = one.list(ctx, next, 1000); err != nil {
			return err
		}
		done, err := parallel(ctx, c.workload, c.own(found), func(x *worker, key string) error {
			return c.note(ctx, key, c.remove(ctx, x, key))
		})
		c.calls.Add(done)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *clearing) prefix() string { return c.workload.options.Plan.Prefix + "/" }

// own hands out the keys of a list that are ours, but for the mark.
func (c *clearing) own(found list) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, o := range found.Contents {
			name, below := strings.CutPrefix(o.Key, c.prefix())
			if below && name == mark {
				continue
			}
			if !below || !c.owners.own(name) {
				c.foreign++
				c.alien = cmp.Or(c.alien, o.Key)
				continue
			}
			if c.ours++; !yield(o.Key) {
				return
			}
		}
	}
}

// remove deletes one object; that it is not there is no error.
func (c *clearing) remove(ctx context.Context, x *worker, key string) error {
	path := appendEscaped(nil, "/"+c.workload.options.Plan.Bucket+"/"+key, false)
	_, err := x.call(ctx, callDeleteObject, request{method: "DELETE", path: path}, nil)
	if status(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// note takes down what became of a delete. It returns an error when nothing more is to be tried.
func (c *clearing) note(ctx context.Context, key string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.row = 0
		return nil
	}
	if c.failed++; c.failed == 1 {
		c.first = fmt.Errorf("%s: %w", key, err)
	}
	if c.row++; c.row >= hopeless || ctx.Err() != nil {
		return c.first
	}
	return nil
}

// verdict says what is left; err is how run ended.
func (c *clearing) verdict(err error) error {
	bucket := c.workload.options.Plan.Bucket
	if err != nil {
		err = fmt.Errorf("s3: remove what was stored below %s of bucket %s: %w", c.prefix(), bucket, err)
	}
	if c.foreign == 0 {
		return err
	}
	stay := fmt.Errorf("s3: %d of the objects below %s of bucket %s are not ours and stay, such as %s: remove them yourself",
		c.foreign, c.prefix(), bucket, c.alien)
	if err == nil {
		return stay
	}
	return fmt.Errorf("%w; %w", err, stay)
}

// owners are the manifests of all ranks.
type owners struct {
	offer      *offer
	begun      []map[string][]uint64 // by rank; nil for one that is not known
	unanswered bool
}

func (w *Workload) owners(others []Manifest) owners {
	all := owners{offer: w.offer, begun: make([]map[string][]uint64, w.options.Ranks)}
	for _, m := range append(others, w.Manifest(false)) {
		all.unanswered = all.unanswered || m.Unanswered
		if m.Rank < 0 || m.Rank >= len(all.begun) {
			continue
		}
		if all.begun[m.Rank] == nil {
			all.begun[m.Rank] = map[string][]uint64{}
		}
		for key, lanes := range m.Begun {
			all.begun[m.Rank][key] = greater(all.begun[m.Rank][key], lanes)
		}
	}
	return all
}

// greater has the greater of each two.
func greater(a, b []uint64) []uint64 {
	out := slices.Clone(b)
	for i, n := range a {
		if i == len(out) {
			return append(out, a[i:]...)
		}
		out[i] = max(out[i], n)
	}
	return out
}

// own says whether a name below the prefix is one that a rank has begun to store.
func (a *owners) own(name string) bool {
	s, phase, number, found := parseKey(name)
	if !found {
		return false
	}
	rank, lane, nth := a.offer.place(s, number)
	lanes := a.begun[rank][group(s, phase)]
	return lane < uint64(len(lanes)) && nth < lanes[lane]
}

// ParseManifest reads a rank's manifest.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("manifest of a rank's objects: %w", err)
	}
	return m, nil
}

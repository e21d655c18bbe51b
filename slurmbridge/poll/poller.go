package poll

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"assay.bench/slurmbridge"
)

// Poller asks one site. Its methods may be called concurrently.
type Poller struct {
	o Options

	mu      sync.Mutex
	watched map[slurmbridge.Key]*entry
	stats   Stats
	lookup  *lookup
	// left are look-ups whose caller could not wait for the answer, by the caller's key.
	left map[slurmbridge.Key]*lookup
	// finding counts the queries of look-ups that are under way.
	finding int

	listSoon, readSoon chan struct{}
}

type entry struct {
	want Watched
	view View
	// since orders answers: one that was asked for before the watch began says nothing about it.
	since time.Time
}

// New makes a poller. It asks nothing before Run, but for Lookup.
func New(o Options) *Poller {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Notify == nil {
		o.Notify = func(slurmbridge.Key) {}
	}
	return &Poller{
		o:        o,
		watched:  map[slurmbridge.Key]*entry{},
		left:     map[slurmbridge.Key]*lookup{},
		listSoon: make(chan struct{}, 1),
		readSoon: make(chan struct{}, 1),
	}
}

// Watch begins to serve a key, or changes what is wanted of it. It is cheap to call again with the same.
func (p *Poller) Watch(key slurmbridge.Key, w Watched) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.watched[key]
	if e == nil {
		e = &entry{since: time.Now()}
		p.watched[key] = e
		poke(p.listSoon)
	}
	if !slices.Equal(e.want.Paths, w.Paths) || w.Starting && !e.want.Starting {
		poke(p.readSoon)
	}
	e.want = Watched{Paths: slices.Clone(w.Paths), Starting: w.Starting}
}

// Forget stops to serve a key.
func (p *Poller) Forget(key slurmbridge.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watched, key)
	delete(p.left, key)
}

// Seen returns what was seen of a key; false when it is not watched.
func (p *Poller) Seen(key slurmbridge.Key) (View, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.watched[key]
	if e == nil {
		return View{}, false
	}
	return e.view, true
}

// Expect says that something was just done to a job: the next list comes at the shortest pace.
func (p *Poller) Expect() { poke(p.listSoon) }

// Stats returns the counts so far.
func (p *Poller) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Run asks the site until the context ends. While nothing is watched nothing is asked.
func (p *Poller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { p.runLists(ctx) })
	wg.Go(func() { p.runReads(ctx) })
	wg.Wait()
}

func (p *Poller) runLists(ctx context.Context) {
	pace, last := p.shortest(), time.Time{}
	for {
		due := last.Add(max(pace, p.o.Pace.ListFloor))
		if !waitUntil(ctx, due, p.listSoon, func() time.Time {
			pace = p.shortest()
			return last.Add(max(pace, p.o.Pace.ListFloor))
		}) {
			return
		}
		if !p.watching() {
			if !waitFor(ctx, p.listSoon) {
				return
			}
			pace = p.shortest()
			continue
		}
		last = time.Now()
		pace = min(2*pace, p.o.Pace.ListMax)
		changed, err := p.list(ctx)
		switch {
		case err != nil:
			pace = min(pace, retryPaces*p.o.Pace.ListMin)
		case changed:
			pace = p.shortest()
		}
	}
}

func (p *Poller) runReads(ctx context.Context) {
	last := time.Time{}
	for {
		due := last.Add(p.readPace())
		if !waitUntil(ctx, due, p.readSoon, func() time.Time { return last.Add(p.o.Pace.ReadStarting) }) {
			return
		}
		paths := p.paths()
		if len(paths) == 0 {
			if !waitFor(ctx, p.readSoon) {
				return
			}
			continue
		}
		last = time.Now()
		if p.read(ctx, paths) {
			poke(p.listSoon)
		}
	}
}

// manyJobs are so many that a list of them costs the site noticeably more, and tells of more changes at once.
const manyJobs = 100

// shortest is the least time between two lists: Pace.ListMin, and once more for every so many jobs.
func (p *Poller) shortest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(p.o.Pace.ListMin*time.Duration(1+len(p.watched)/manyJobs), p.o.Pace.ListMax)
}

func (p *Poller) watching() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watched) > 0
}

func (p *Poller) readPace() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.watched {
		if e.want.Starting {
			return p.o.Pace.ReadStarting
		}
	}
	return p.o.Pace.ReadSteady
}

// paths returns each wanted path once, in order.
func (p *Poller) paths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, e := range p.watched {
		all = append(all, e.want.Paths...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const (
	// askTimeout ends a question that a transport never answers.
	askTimeout = 2 * time.Minute
	// retryPaces bounds the pace while the site does not answer, so that its return is seen soon.
	retryPaces = 4
)

// list asks once and tells whether any watched key changed.
func (p *Poller) list(ctx context.Context) (bool, error) {
	p.mu.Lock()
	p.stats.Ticks++
	p.stats.Lists++
	p.mu.Unlock()
	asked, at := time.Now(), p.o.Now()
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	jobs, err := p.o.Jobs.List(bounded)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	byKey := map[slurmbridge.Key][]slurmbridge.Job{}
	for _, j := range jobs {
		byKey[j.Key] = append(byKey[j.Key], j)
	}
	var changed, notify []slurmbridge.Key
	p.mu.Lock()
	for key, e := range p.watched {
		if e.since.After(asked) {
			continue
		}
		if err != nil {
			if sameError(e.view.ListErr, err) {
				continue
			}
			e.view.ListErr = err
			notify = append(notify, key)
			continue
		}
		seen := byKey[key]
		slices.SortFunc(seen, oldest)
		differs := e.view.Lists == 0 || e.view.ListErr != nil || !slices.Equal(e.view.Jobs, seen)
		e.view.Jobs, e.view.Listed, e.view.ListErr = seen, at, nil
		e.view.Lists++
		if differs {
			changed = append(changed, key)
		}
		if differs || len(seen) == 0 {
			notify = append(notify, key)
		}
	}
	p.mu.Unlock()
	p.tell(notify)
	return len(changed) > 0, err
}

// mostReads is how many reads one look may take: one, and one more for each key of which a file cannot be read.
const mostReads = 4

// read looks once and tells whether a file came or went, which says that a job began or ended something. A file that cannot
// be read says nothing about other keys: they are read without it.
func (p *Poller) read(ctx context.Context, paths []string) bool {
	appeared := false
	for n := 1; len(paths) > 0; n++ {
		left, came := p.readAll(ctx, paths, n < mostReads)
		appeared, paths = appeared || came, left
	}
	return appeared
}

// readAll asks for some paths. Those of other keys than one whose file cannot be read are left over, where that may be.
func (p *Poller) readAll(ctx context.Context, paths []string, mayLeave bool) (left []string, appeared bool) {
	p.mu.Lock()
	p.stats.Reads++
	p.mu.Unlock()
	asked, at := time.Now(), p.o.Now()
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	files, err := p.o.Files.Read(bounded, paths...)
	if ctx.Err() != nil {
		return nil, false
	}
	bad := ""
	if at, ok := errors.AsType[*fs.PathError](err); ok && mayLeave && slices.Contains(paths, at.Path) {
		bad = at.Path
	}
	var notify []slurmbridge.Key
	p.mu.Lock()
	for key, e := range p.watched {
		if e.since.After(asked) || !subset(e.want.Paths, paths) {
			continue
		}
		if bad != "" && !slices.Contains(e.want.Paths, bad) {
			left = append(left, e.want.Paths...)
			continue
		}
		if err != nil {
			if !sameError(e.view.ReadErr, err) {
				e.view.ReadErr = err
				notify = append(notify, key)
			}
			continue
		}
		mine := make(map[string][]byte, len(e.want.Paths))
		for _, path := range e.want.Paths {
			if b, ok := files[path]; ok {
				mine[path] = b
			}
		}
		differs := e.view.Reads == 0 || e.view.ReadErr != nil || !sameFiles(e.view.Files, mine)
		appeared = appeared || len(e.view.Files) != len(mine)
		e.view.Files, e.view.Read, e.view.ReadErr = mine, at, nil
		e.view.Reads++
		if differs {
			notify = append(notify, key)
		}
	}
	p.mu.Unlock()
	p.tell(notify)
	slices.Sort(left)
	return slices.Compact(left), appeared
}

func (p *Poller) tell(keys []slurmbridge.Key) {
	slices.Sort(keys)
	for _, key := range keys {
		p.o.Notify(key)
	}
}

func oldest(a, b slurmbridge.Job) int {
	return cmp.Or(a.Submitted.Compare(b.Submitted), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
}

func sameError(a, b error) bool {
	return a != nil && b != nil && (a.Error() == b.Error() || errors.Is(a, b))
}

func sameFiles(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for path, x := range a {
		if y, ok := b[path]; !ok || !bytes.Equal(x, y) {
			return false
		}
	}
	return true
}

// subset says whether every one of some is in all, which is sorted.
func subset(some, all []string) bool {
	for _, s := range some {
		if _, ok := slices.BinarySearch(all, s); !ok {
			return false
		}
	}
	return true
}

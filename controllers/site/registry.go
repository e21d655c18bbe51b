package site

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
)

// Opener is one kind of door. internal/app gives them as a list that one can read.
type Opener struct {
	// Name of the kind, such as local or sim.
	Name string
	// Host says that a spec makes it run commands on the host of the control plane, or use what lies there: refused unless
	// that is allowed. nil is for a door that never does.
	Host func(*v1alpha1.SiteSpec) bool
	// Matches says whether a spec asks for this kind.
	Matches func(*v1alpha1.SiteSpec) bool
	// Open opens the door. It may be called again after it failed.
	Open func(ctx context.Context, site *v1alpha1.Site, secrets Secrets) (Opened, error)
}

// usesHost says that the door of a spec is one to this host.
func (o Opener) usesHost(s *v1alpha1.SiteSpec) bool { return o.Host != nil && o.Host(s) }

// Secrets reads one key of a Secret in the namespace of the Site.
type Secrets func(ctx context.Context, name, key string) ([]byte, error)

// Always says that every spec of a door is one that uses the host.
func Always(*v1alpha1.SiteSpec) bool { return true }

// Opened is what an Opener made.
type Opened struct {
	Jobs  slurmbridge.Jobs
	Files slurmbridge.Files
	// Prober is nil where the door has none; then a list of the jobs is the probe.
	Prober slurmbridge.Prober
	// Dialer is nil where the door reaches no ports of the nodes.
	Dialer slurmbridge.Dialer
	// Node is the absolute path of assay-node on the site.
	Node string
	// Remembers is slurmbridge.Door.Remembers.
	Remembers time.Duration
	// Cluster is the name of the batch system; empty where nobody tells.
	Cluster string
	// Token tells of the token that the door works with; nil where it has none.
	Token slurmbridge.TokenHolder
	// Pace is how often the site may be asked.
	Pace poll.Pace
	// Limit changes how often the site may be asked; nil for a door without a limit.
	Limit func(v1alpha1.SiteLimits)
	// Close ends what Open began; nil for nothing.
	Close func()
}

// Registry holds the open doors, with their credentials, in memory. It implements slurmbridge.Doors. A door stays open
// until the last SlurmJob that needs it is gone, even when the Site went before.
type Registry struct {
	origin string
	notify func(slurmbridge.Key)
	now    func() time.Time

	mu     sync.Mutex
	doors  map[types.NamespacedName]*entry
	closed bool
}

// entry is one site: the open door, and what the last looks through it told.
type entry struct {
	uid types.UID
	// spec is what the door was opened with, tried that by which it was last to be opened anew, in vain.
	spec, tried doorSpec
	// cluster is Opened.Cluster, counter that of the newest mark that was written through the door.
	cluster string
	counter int64
	open    bool
	door    slurmbridge.Door
	poller  *poll.Poller
	prober  slurmbridge.Prober
	token   slurmbridge.TokenHolder
	// limits are those that limit was given last.
	limits v1alpha1.SiteLimits
	limit  func(v1alpha1.SiteLimits)
	stop   func()
	looks  looks
}

// looks are times and answers of this process.
type looks struct {
	opened, probed, beaten, swept time.Time
	// failed is why the door did not open, the first time or anew, or why the last probe failed.
	failed error
	// unbeaten is why the last beat was not written.
	unbeaten error
	// sweepFailed says that the janitor could not look.
	sweepFailed bool
}

// NewRegistry makes a registry for a control plane's origin. notify is called, and must not block, when a poll saw a
// change of a key. Close ends every poll.
func NewRegistry(origin string, notify func(slurmbridge.Key), now func() time.Time) *Registry {
	return &Registry{origin: origin, notify: notify, now: now, doors: map[types.NamespacedName]*entry{}}
}

// Door returns the open door of a Site, or an error that wraps slurmbridge.ErrNotOpen.
func (r *Registry) Door(namespace, name string) (slurmbridge.Door, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.doors[types.NamespacedName{Namespace: namespace, Name: name}]
	if e == nil || !e.open {
		return slurmbridge.Door{}, fmt.Errorf("site %s/%s: %w", namespace, name, slurmbridge.ErrNotOpen)
	}
	return e.door, nil
}

// Poller returns the poll of an open Site; false when it is not open.
func (r *Registry) Poller(namespace, name string) (*poll.Poller, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.doors[types.NamespacedName{Namespace: namespace, Name: name}]
	if e == nil || !e.open {
		return nil, false
	}
	return e.poller, true
}

// Close ends every poll and closes every door, for good.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, name := range r.names() {
		r.shut(name)
	}
}

// names of all doors, in order.
func (r *Registry) names() []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Keys(r.doors), func(a, b types.NamespacedName) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
}

// snapshot returns what is known of a site.
func (r *Registry) snapshot(name types.NamespacedName) (entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.doors[name]
	if e == nil {
		return entry{}, false
	}
	return *e, true
}

// change calls f with the entry of a site, which it makes where there is none.
func (r *Registry) change(name types.NamespacedName, f func(*entry)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.doors[name]
	if e == nil {
		e = &entry{}
		r.doors[name] = e
	}
	f(e)
}

// limit changes how often an open site may be asked.
func (r *Registry) limit(name types.NamespacedName, limits v1alpha1.SiteLimits) {
	r.change(name, func(e *entry) {
		e.limits = limits
		if e.limit != nil {
			e.limit(limits)
		}
	})
}

func (r *Registry) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// shut closes a door, if it is open, and drops what is known of the site.
func (r *Registry) shut(name types.NamespacedName) {
	r.mu.Lock()
	e := r.doors[name]
	delete(r.doors, name)
	r.mu.Unlock()
	if e != nil && e.stop != nil {
		e.stop()
	}
}

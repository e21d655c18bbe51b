package slurmjob

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// memory is what this process knows and a new one finds out again: losing it costs time, never a job.
type memory struct {
	mu    sync.Mutex
	byKey map[slurmbridge.Key]*note
	queue workqueue.TypedRateLimitingInterface[ctrl.Request]
}

// note is what is remembered of one attempt.
type note struct {
	name     types.NamespacedName
	answer   answer
	writeErr error
	doErr    error
	// cancelled is when the batch system last took a cancel of a job, by its id.
	cancelled map[string]time.Time
	// paths are the files that the poller looks at.
	paths []string
	plan  *rundir.Plan
	lease lease
	// refusals is how often on end the batch system took no job now.
	refusals int
	// unclear is how many submits the batch system answered with an error that nobody knows, since it took one.
	unclear int
	// hopelessSince is since which answer of the batch system the job waits for what never comes.
	hopelessSince time.Time
	// found is what the batch system answered when it was last asked for the key, at asked.
	found []slurmbridge.Job
	asked time.Time
	// overSince is when the job was first seen to be over.
	overSince time.Time
	// version of the object, and since when it is the newest.
	version      string
	versionSince time.Time
}

func newMemory() *memory { return &memory{byKey: map[slurmbridge.Key]*note{}} }

// with calls f with the note of a key, which it makes where there is none.
func (m *memory) with(key slurmbridge.Key, f func(*note)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.byKey[key]
	if n == nil {
		n = &note{}
		m.byKey[key] = n
	}
	f(n)
}

// of returns a copy of the note of a key.
func (m *memory) of(key slurmbridge.Key) note {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.byKey[key]; n != nil {
		return *n
	}
	return note{}
}

// told notes what a job was told, unless it was forgotten meanwhile.
func (m *memory) told(key slurmbridge.Key, l lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.byKey[key]; n != nil {
		n.lease = l
	}
}

// cancelled notes that the batch system took a cancel.
func (m *memory) cancelled(key slurmbridge.Key, id string, at time.Time) {
	m.with(key, func(n *note) {
		if n.cancelled == nil {
			n.cancelled = map[string]time.Time{}
		}
		n.cancelled[id] = at
	})
}

func (m *memory) forget(key slurmbridge.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byKey, key)
}

// wake puts the object that watches a key into the queue. It does not block.
func (m *memory) wake(key slurmbridge.Key) {
	m.add(m.of(key).name)
}

// add puts an object into the queue. It does not block.
func (m *memory) add(name types.NamespacedName) {
	m.mu.Lock()
	queue := m.queue
	m.mu.Unlock()
	if queue != nil && name.Name != "" {
		queue.Add(ctrl.Request{NamespacedName: name})
	}
}

func (m *memory) setQueue(q workqueue.TypedRateLimitingInterface[ctrl.Request]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = q
}

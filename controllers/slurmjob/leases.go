package slurmjob

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// leases are the jobs of each site that are to be told that we live: in one write for all of a site, for each write is a
// program that runs on its login node. What ends a job waits for no other.
type leases struct {
	mu     sync.Mutex
	bySite map[types.NamespacedName]*siteLeases
}

// siteLeases are those of one site.
type siteLeases struct {
	mu sync.Mutex
	// due are to be written, since when the first of them came. running is when each job last came.
	due     map[slurmbridge.Key]WriteControl
	since   time.Time
	running map[slurmbridge.Key]time.Time

	// writing is held by who tells jobs to run, and shared by those who tell one to stop: the last word is not an older one.
	writing sync.RWMutex
}

func newLeases() *leases { return &leases{bySite: map[types.NamespacedName]*siteLeases{}} }

func (l *leases) of(site types.NamespacedName) *siteLeases {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.bySite[site]
	if s == nil {
		s = &siteLeases{due: map[slurmbridge.Key]WriteControl{}, running: map[slurmbridge.Key]time.Time{}}
		l.bySite[site] = s
	}
	return s
}

// gather is how long a lease waits for those of the site's other jobs: each comes within this time.
const gather = leaseEvery / 2

// add notes a lease, and says that it is time to write: every job that runs has come, or the first has waited long enough.
func (s *siteLeases) add(e WriteControl, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.due) == 0 {
		s.since = now
	}
	s.due[e.Key], s.running[e.Key] = e, now
	maps.DeleteFunc(s.running, func(_ slurmbridge.Key, came time.Time) bool { return now.Sub(came) > 2*leaseEvery })
	return len(s.due) >= len(s.running) || now.Sub(s.since) >= gather
}

// drop forgets a job.
func (s *siteLeases) drop(key slurmbridge.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.due, key)
	delete(s.running, key)
}

// forget drops what this process remembers of an attempt.
func (k *Kind) forget(site types.NamespacedName, key slurmbridge.Key) {
	k.memory.forget(key)
	k.leases.of(site).drop(key)
}

// take hands over what is due.
func (s *siteLeases) take() map[slurmbridge.Key]WriteControl {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.due
	s.due = map[slurmbridge.Key]WriteControl{}
	return taken
}

// writeControl tells a job what is wanted of it. It is best effort: a node obeys control.json and never needs it, and what
// was not written is due again at the next pass.
func (k *Kind) writeControl(ctx context.Context, site types.NamespacedName, files slurmbridge.Files, e WriteControl) {
	s := k.leases.of(site)
	if e.Lease.want != rundir.WantRun {
		s.drop(e.Key)
		s.writing.RLock()
		defer s.writing.RUnlock()
		k.writeAll(ctx, files, map[slurmbridge.Key]WriteControl{e.Key: e})
		return
	}
	if !s.add(e, k.Now()) || !s.writing.TryLock() {
		return
	}
	defer s.writing.Unlock()
	k.writeAll(ctx, files, s.take())
}

// writeAll writes the leases of many jobs at once. One folder that takes no file keeps no other job from its lease.
func (k *Kind) writeAll(ctx context.Context, files slurmbridge.Files, list map[slurmbridge.Key]WriteControl) {
	content := map[string][]byte{}
	for _, e := range list {
		b, err := controlJSON(e.Lease)
		if err != nil {
			log.FromContext(ctx).Error(err, "control.json cannot be made")
			continue
		}
		content[filepath.Join(e.Directory, rundir.ControlFile)] = b
	}
	err := files.Write(ctx, content)
	if err != nil && len(list) > 1 && !errors.Is(err, slurmbridge.ErrUnreachable) {
		for key, e := range list {
			k.writeAll(ctx, files, map[slurmbridge.Key]WriteControl{key: e})
		}
		return
	}
	if err != nil {
		log.FromContext(ctx).Info("control.json was not written", "jobs", len(list), "error", err.Error())
		return
	}
	for key, e := range list {
		k.memory.told(key, e.Lease)
	}
}

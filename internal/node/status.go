package node

import (
	"context"
	"encoding/json"
	"path/filepath"
	"sync"
	"time"

	"assay.bench/internal/rundir"
)

// How often a rank writes its status beside each change.
const (
	beatSlow = 10 * time.Second // a service that serves
	beatFast = 2 * time.Second  // everything that moves
	// beatFailures in a row are more than a hiccup of the file system.
	beatFailures = 3
)

// statusFile is a rank's status.json.
type statusFile struct {
	path string
	now  func() time.Time
	// failed is told of writes that do not work.
	failed func(error)

	mu     sync.Mutex
	status rundir.Status
	misses int
}

func newStatus(w *World, dir, phase string, repeat int, failed func(error)) *statusFile {
	return &statusFile{path: filepath.Join(dir, rundir.StatusFile), now: w.Now, failed: failed, status: rundir.Status{
		Version: rundir.Version, Phase: phase, Repeat: repeat, Host: w.Hostname, PID: w.PID}}
}

// set changes the status and writes it.
func (f *statusFile) set(change func(*rundir.Status)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
	return f.write()
}

// must is set for the places where nothing better can be done with an error than to end the rank.
func (f *statusFile) must(change func(*rundir.Status)) {
	if err := f.set(change); err != nil {
		f.failed(err)
	}
}

func (f *statusFile) get() rundir.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *statusFile) write() error {
	f.status.Heartbeat++
	f.status.Time = f.now().UTC()
	b, err := json.Marshal(f.status)
	if err != nil {
		return err
	}
	return rundir.Replace(f.path, append(b, '\n'))
}

// beat writes the status again and again until ctx ends; refresh may bring it up to date first.
func (f *statusFile) beat(ctx context.Context, refresh func(*rundir.Status)) {
	timer := time.NewTimer(f.every())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := f.set(refresh); err == nil {
			f.misses = 0
		} else if f.misses++; f.misses >= beatFailures {
			f.failed(err)
		}
		timer.Reset(f.every())
	}
}

func (f *statusFile) every() time.Duration {
	if s := f.get(); s.Phase == rundir.PhaseReady && s.Endpoint != nil {
		return beatSlow
	}
	return beatFast
}

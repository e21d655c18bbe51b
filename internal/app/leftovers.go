package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay.bench/internal/app/state"
	"assay.bench/internal/rundir"
)

// leftover is one folder that may be removed.
type leftover struct {
	of         state.Folder
	path, what string
	// collect is the command that collects its results first; "" when there is nothing left to collect.
	collect  string
	size     int64
	modified time.Time
}

// leftovers are what may go of one control plane. A live job keeps everything: it may still write.
func leftovers(ctx context.Context, f state.Folder, running bool) ([]leftover, error) {
	live, err := liveJobs(ctx, f)
	if err != nil || len(live) > 0 {
		return nil, err
	}
	if f.Info.Kind == state.KindUp {
		return runFolders(f, running)
	}
	if running {
		return nil, nil
	}
	l := leftover{of: f, path: f.Path, what: "state of a dead assay run"}
	if len(f.Info.Benchmarks) > 0 {
		l.what += " of " + strings.Join(f.Info.Benchmarks, ", ")
		if !f.Info.Collected {
			l.collect = "assay attach " + f.Short()
		}
	}
	err = l.measure()
	return []leftover{l}, err
}

// runFolders are <work>/<origin>/<namespace>/<owner>/<run> of a standing control plane.
func runFolders(f state.Folder, running bool) ([]leftover, error) {
	paths, err := filepath.Glob(filepath.Join(f.Work(), f.Info.Origin, "*", "*", "*"))
	if err != nil {
		return nil, fmt.Errorf("run folders: %w", err)
	}
	var out []leftover
	for _, p := range paths {
		l := leftover{of: f, path: p, what: "an ended run of assay up " + f.Info.Context}
		if !fileExists(filepath.Join(p, rundir.ResultFile)) {
			if running {
				continue // its jobs have ended, and the controllers still read what they wrote
			}
			if hasResults(p) {
				l.collect = "assay up --context " + f.Info.Context
			}
		}
		if err := l.measure(); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// hasResults says whether there may be something to collect in a run's folder: a Service of its own measures nothing.
func hasResults(run string) bool {
	b, err := os.ReadFile(filepath.Join(run, rundir.RecordFile))
	if err != nil {
		return true
	}
	record, err := rundir.ParseRecord(b)
	return err != nil || record.Kind != "Service"
}

// measure adds up the sizes, and finds the newest file.
func (l *leftover) measure() error {
	err := filepath.WalkDir(l.path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		l.size += info.Size()
		if info.ModTime().After(l.modified) {
			l.modified = info.ModTime()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at %s: %w", l.path, err)
	}
	return nil
}

// removeState removes the folder of a control plane that no process has and whose jobs have ended.
func removeState(ctx context.Context, o *OS, f state.Folder) error {
	lock, err := f.Hold(o.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else did
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	live, err := liveJobs(ctx, f)
	if err != nil {
		return err
	}
	if len(live) > 0 {
		return fmt.Errorf("the state of the control plane %s stays, for %d of its jobs live, the first is %s: see assay jobs, and remove it with assay prune once they have ended",
			f.Short(), len(live), live[0].ID)
	}
	return f.Remove()
}

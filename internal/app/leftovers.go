package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	// keep is what to do about its results first; "" when there is nothing left to collect.
	keep     string
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
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		return runFolders(f, judgeOf(ctx, f, running))
	}
	if running {
		return nil, nil
	}
	l := leftover{of: f, path: f.Path, what: "state of a dead assay run"}
	if len(f.Info.Benchmarks) > 0 {
		l.what += " of " + strings.Join(f.Info.Benchmarks, ", ")
		if !f.Info.Collected {
			l.keep = "not yet collected: assay attach " + f.Short()
		}
	}
	err = l.measure()
	return []leftover{l}, err
}

// runFolders are <work>/<origin>/<namespace>/<owner>/<run> of a standing control plane, as far as they may go.
func runFolders(f state.Folder, judged judge) ([]leftover, error) {
	paths, err := filepath.Glob(filepath.Join(f.Work(), f.Info.Origin, "*", "*", "*"))
	if err != nil {
		return nil, fmt.Errorf("run folders: %w", err)
	}
	var out []leftover
	for _, p := range paths {
		l := leftover{of: f, path: p, what: "an ended run of assay up " + f.Info.Context}
		if !fileExists(filepath.Join(p, rundir.ResultFile)) {
			words, keep, ended := judged(recordOf(p))
			if !ended {
				continue
			}
			l.what, l.keep = l.what+words, keep
		}
		if err := l.measure(); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
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

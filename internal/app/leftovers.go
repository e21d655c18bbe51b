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

	"assay.bench/controllers/site"
	"assay.bench/internal/app/state"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge/local"
)

// leftover is one folder that may be removed.
type leftover struct {
	of         state.Folder
	path, what string
	// beside is what goes with it, before it.
	beside []string
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
	if l.beside = outside(f); len(l.beside) > 0 {
		l.what += ", with " + strings.Join(l.beside, " and ")
	}
	l.beside = append(l.beside, marks(f)...)
	err = l.measure()
	return []leftover{l}, err
}

// outside are the folders of a control plane below the work folders of its own that Sites have. What is not ours alone
// stays: it would be somebody else's word what lies there.
func outside(f state.Folder) []string {
	var out []string
	for _, work := range f.Info.WorkDirs {
		if path := filepath.Join(work, f.Info.Origin); local.CheckFolder(path) == nil {
			out = append(out, path)
		}
	}
	return out
}

// marks tell others in those work folders whose the control plane is.
func marks(f state.Folder) []string {
	var out []string
	for _, work := range f.Info.WorkDirs {
		mark := site.OriginFile(work, f.Info.Origin)
		if local.CheckFolder(filepath.Dir(mark)) == nil && fileExists(mark) {
			out = append(out, mark)
		}
	}
	return out
}

// matching are the paths below a folder that match, whatever characters its own path has.
func matching(folder, pattern string) []string {
	names, err := fs.Glob(os.DirFS(folder), pattern)
	if err != nil {
		return nil
	}
	for i := range names {
		names[i] = filepath.Join(folder, names[i])
	}
	return names
}

// runFolders are <work>/<origin>/<namespace>/<owner>/<run> of a standing control plane, as far as they may go.
func runFolders(f state.Folder, judged judge) ([]leftover, error) {
	var paths []string
	for _, folder := range append([]string{filepath.Join(f.Work(), f.Info.Origin)}, outside(f)...) {
		paths = append(paths, matching(folder, "*/*/*")...)
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
	for _, path := range append([]string{l.path}, l.beside...) {
		if err := l.add(path); err != nil {
			return err
		}
	}
	return nil
}

func (l *leftover) add(path string) error {
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
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
		return fmt.Errorf("look at %s: %w", path, err)
	}
	return nil
}

// remove removes what belongs to it first: what an error leaves is found again.
func (l *leftover) remove() error {
	for _, path := range l.beside {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return os.RemoveAll(l.path)
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
	if f, err = state.Open(f.Path); err != nil { // its Sites may have named work folders since it was read
		return err
	}
	l := leftover{path: f.Path, beside: append(outside(f), marks(f)...)}
	return l.remove()
}

package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// output is the folder that a run's results go to. It is ours alone from the start, so two runs never share one.
type output struct {
	path string
	// made are the folders that were made for it, the outermost first.
	made []string
}

// outputMark tells a run's folder apart while the run is under way.
const outputMark = ".assay-run"

// newOutput makes the folder. One that exists must be empty.
func newOutput(path string) (output, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return output{}, usage(fmt.Errorf("--output: %w", err))
	}
	out := output{path: absolute, made: missingFolders(absolute)}
	if err := out.claim(); err != nil {
		out.removeMade()
		return output{}, usage(err)
	}
	return out, nil
}

// missingFolders are a path and its parents as far as they do not exist, the outermost first.
func missingFolders(path string) []string {
	var out []string
	for ; !fileExists(path) && path != filepath.Dir(path); path = filepath.Dir(path) {
		out = append([]string{path}, out...)
	}
	return out
}

// claim makes the folder and marks it as this run's.
func (o output) claim() error {
	if err := os.MkdirAll(o.path, 0o755); err != nil {
		return fmt.Errorf("--output: %w: name a folder that you may write to", err)
	}
	entries, err := os.ReadDir(o.path)
	if err != nil {
		return fmt.Errorf("--output: %w: name another folder", err)
	}
	taken := fmt.Errorf("--output: another assay run writes to %s: name another folder, or take that run up again with assay attach", o.path)
	for _, e := range entries {
		if e.Name() == outputMark {
			return taken
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("--output: %s is not empty: name another folder", o.path)
	}
	f, err := os.OpenFile(filepath.Join(o.path, outputMark), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return taken
	}
	if err != nil {
		return fmt.Errorf("--output: %w: name a folder that you may write to", err)
	}
	return f.Close()
}

// discard removes a folder that nothing was written to, and what was made for it.
func (o output) discard() {
	_ = os.Remove(filepath.Join(o.path, outputMark)) // it may be gone already
	o.removeMade()
}

// removeMade removes the folders that were made for the output and are empty.
func (o output) removeMade() {
	for _, folder := range slices.Backward(o.made) {
		_ = os.Remove(folder) // fails where something is in it, which is right
	}
}

// done takes the mark away.
func (o output) done() error {
	err := os.Remove(filepath.Join(o.path, outputMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an attach writes where the run's own attempt was discarded
	}
	return err
}

// save copies a run's folder, where this host can see it, and writes result.json and summary.txt. sub is the folder of
// one benchmark among several, or "". What it could not write whole, it takes back.
func (o output) save(sub, directory string, result []byte) (string, error) {
	target := filepath.Join(o.path, sub)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return target, fmt.Errorf("results: %w", err)
	}
	err := write(target, directory, result)
	if err == nil {
		return target, nil
	}
	for _, name := range []string{runCopy, summaryFile, rundir.ResultFile} {
		_ = os.RemoveAll(filepath.Join(target, name)) // what failed before counts
	}
	if sub != "" {
		_ = os.Remove(target)
	}
	return target, fmt.Errorf("results: %w", innermost(err))
}

// Names in an output folder beside result.json.
const (
	runCopy     = "run"
	summaryFile = "summary.txt"
)

func write(target, directory string, result []byte) error {
	if _, err := os.Stat(directory); directory != "" && err == nil {
		if err := os.CopyFS(filepath.Join(target, runCopy), shown{os.DirFS(directory).(fs.ReadLinkFS)}); err != nil {
			return err
		}
	}
	if result == nil {
		return nil
	}
	r, err := results.Parse(result)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := results.Summary(&text, r); err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(target, summaryFile), text.Bytes()); err != nil {
		return err
	}
	return writeWhole(filepath.Join(target, rundir.ResultFile), result) // last: who finds it, finds everything
}

// shown is a run's folder, job/attempt/..., without the credentials that an attempt keeps until its job begins.
type shown struct{ fs.ReadLinkFS }

// ReadDir lists a folder.
func (s shown) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.ReadLinkFS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return strings.Count(name, "/") == 1 && e.Name() == rundir.SecretsDir
	}), err
}

// writeWhole writes a file by rename, so that nobody ever sees a part of it.
func writeWhole(path string, content []byte) error {
	err := os.WriteFile(path+".new", content, 0o644)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		_ = os.Remove(path + ".new") // what failed before counts
	}
	return err
}

// innermost is the error of the one file that could not be written, without those of what was under way around it.
func innermost(err error) error {
	var at *fs.PathError
	for errors.As(err, &at) {
		var inner *fs.PathError
		if !errors.As(at.Err, &inner) {
			return at
		}
		err = inner
	}
	return err
}

package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"assay.bench/internal/results"
)

// output is the folder that a run's results go to. It is ours alone from the start, so two runs never share one.
type output struct {
	path string
}

// outputMark tells a run's folder apart while the run is under way.
const outputMark = ".assay-run"

// newOutput makes the folder. One that exists must be empty.
func newOutput(path string) (output, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return output{}, usage(fmt.Errorf("--output: %w", err))
	}
	if err := os.MkdirAll(absolute, 0o755); err != nil {
		return output{}, usage(fmt.Errorf("--output: %w: name a folder that you may write to", err))
	}
	entries, err := os.ReadDir(absolute)
	if err != nil {
		return output{}, usage(fmt.Errorf("--output: %w", err))
	}
	for _, e := range entries {
		if e.Name() == outputMark {
			return output{}, usage(fmt.Errorf("--output: another assay run writes to %s: name another folder", absolute))
		}
	}
	if len(entries) > 0 {
		return output{}, usage(fmt.Errorf("--output: %s is not empty: name another folder", absolute))
	}
	f, err := os.OpenFile(filepath.Join(absolute, outputMark), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return output{}, usage(fmt.Errorf("--output: another assay run writes to %s: name another folder", absolute))
	}
	if err != nil {
		return output{}, usage(fmt.Errorf("--output: %w: name a folder that you may write to", err))
	}
	return output{path: absolute}, f.Close()
}

// discard removes a folder that nothing was written to.
func (o output) discard() {
	_ = os.Remove(filepath.Join(o.path, outputMark))
	_ = os.Remove(o.path) // fails where something else is in it, which is right
}

// done takes the mark away.
func (o output) done() error { return os.Remove(filepath.Join(o.path, outputMark)) }

// save copies a run's folder, where this host can see it, and writes result.json and summary.txt. sub is the folder of
// one benchmark among several, or "".
func (o output) save(sub, directory string, result []byte) (string, error) {
	target := filepath.Join(o.path, sub)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return target, fmt.Errorf("results: %w", err)
	}
	if _, err := os.Stat(directory); directory != "" && err == nil {
		if err := os.CopyFS(filepath.Join(target, "run"), os.DirFS(directory)); err != nil {
			return target, fmt.Errorf("copy the run's folder %s: %w", directory, err)
		}
	}
	if result == nil {
		return target, nil
	}
	r, err := results.Parse(result)
	if err != nil {
		return target, err
	}
	var text bytes.Buffer
	if err := results.Summary(&text, r); err != nil {
		return target, fmt.Errorf("summary: %w", err)
	}
	if err := os.WriteFile(filepath.Join(target, "summary.txt"), text.Bytes(), 0o644); err != nil {
		return target, fmt.Errorf("results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(target, "result.json"), result, 0o644); err != nil {
		return target, fmt.Errorf("results: %w", err)
	}
	return target, nil
}

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"assay.bench/slurmbridge"
)

// Files is this host's file system. It implements slurmbridge.Files.
type Files struct{}

// Read returns the files that exist.
func (Files) Read(ctx context.Context, paths ...string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(paths))
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
		}
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[p] = b
	}
	return found, nil
}

// Write makes or replaces each file whole, mode 0600, in folders of mode 0700.
func (Files) Write(ctx context.Context, files map[string][]byte) error {
	for p, b := range files {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
		}
		if !filepath.IsAbs(p) {
			return fmt.Errorf("write %q: it is not an absolute path", p)
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			return err
		}
		if err := writeWhole(p, b); err != nil {
			return err
		}
	}
	return nil
}

// Open reads a file from an offset.
func (Files) Open(_ context.Context, path string, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// writeWhole writes beside the file and renames. CreateTemp makes mode 0600. An error names the file that was meant: the
// other name is never the same twice.
func writeWhole(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return about(path, err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what failed before counts
		return about(path, err)
	}
	return nil
}

// about puts the path that was meant into an error.
func about(path string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: at.Op, Path: path, Err: at.Err}
	}
	return err
}

// Probe checks that jobs can run here, and the work folder.
func (h *Host) Probe(ctx context.Context, workDir string) error {
	for _, tool := range []string{"bash", "date", "grep", "ln", "mv", "readlink", "rm", "setsid"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("jobs as local processes need the program %s: %w", tool, err)
		}
	}
	return h.Files.Probe(ctx, workDir)
}

// Probe checks that the work folder is ours: it exists or is made, we can write to it, and others cannot; or it is
// sticky, and then it may be root's.
func (Files) Probe(_ context.Context, workDir string) error {
	if !filepath.IsAbs(workDir) {
		return fmt.Errorf("%w: %q is not an absolute path", slurmbridge.ErrWorkDir, workDir)
	}
	if err := os.MkdirAll(workDir, 0o700); err != nil {
		return fmt.Errorf("%w: %w: name a folder in workDir that you may write to", slurmbridge.ErrWorkDir, err)
	}
	if err := checkWorkDir(workDir); err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrWorkDir, err)
	}
	f, err := os.CreateTemp(workDir, ".probe-*")
	if err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrWorkDir, about(workDir, err))
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrWorkDir, err)
	}
	return nil
}

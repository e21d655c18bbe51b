package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"assay.bench/internal/rundir"
)

// rescue carries what a killed client left on the node's disk.
func rescue(w *World, j *job, name string, rank int) error {
	local := localSpool(w, j, name, rank)
	if st, err := os.Lstat(local); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	} else if !private(st) {
		return fmt.Errorf("%s is not this user's alone, so nothing is taken from it", local)
	}
	return errors.Join(carryAll(local, rundir.Rank(j.dir, name, rank)), os.RemoveAll(local))
}

// private says that only this user can have put something into a folder.
func private(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && st.IsDir() && int(sys.Uid) == os.Getuid() && st.Mode().Perm() == 0o700
}

// carryAll brings a rank's folder in the run directory up to date from the one on the node's disk.
func carryAll(local, dir string) error {
	samples := filepath.Join(dir, rundir.SamplesDir)
	return errors.Join(carry(filepath.Join(local, spoolFile), filepath.Join(samples, spoolFile)),
		carry(filepath.Join(local, requestsFile), filepath.Join(samples, requestsFile)),
		carryResults(local, dir))
}

// carry appends to one file what another, of which it is the beginning, has more.
func carry(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil || st.Size() == 0 {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size, err := out.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = in.Seek(size, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(out, in)
	}
	return errors.Join(err, out.Close())
}

// carryResults copies the results so far, and what was stored, of repeats that are not closed: one that is has its own.
func carryResults(local, dir string) error {
	kept, err := filepath.Glob(filepath.Join(local, "r*", "*.json"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range kept {
		to := filepath.Join(dir, filepath.Base(filepath.Dir(path)))
		if _, err := os.Stat(filepath.Join(to, rundir.ExitFile)); err == nil {
			continue
		}
		b, err := os.ReadFile(path)
		if err == nil {
			err = writeRepeat(to, filepath.Base(path), b)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// writeRepeat writes a file into the folder of a repeat, and makes that.
func writeRepeat(dir, name string, b []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return rundir.ReplaceDurable(filepath.Join(dir, name), b)
}

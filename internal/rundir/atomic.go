package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrDiskFull says that a file could not be written because the disk, a quota or the file size limit is at its end.
var ErrDiskFull = errors.New("no space left")

// Replace makes or replaces a file whole, mode 0600: a reader sees the old content or the new, never a part. After a
// crash of the machine either may be there: it is for what is written again soon. The folder must exist. An error that
// wraps ErrDiskFull says what to do; no part of the new content stays.
func Replace(path string, data []byte) error { return replace(path, data, false) }

// ReplaceDurable is Replace for what is written once: when it returns, the content survives a crash of the machine.
func ReplaceDurable(path string, data []byte) error { return replace(path, data, true) }

func replace(path string, data []byte, durable bool) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return writeError(path, err)
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one that counts
		return writeError(path, err)
	}
	if durable {
		return syncDir(dir)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) { // some network file systems cannot sync a folder
		err = nil
	}
	return errors.Join(err, d.Close())
}

// writeError says what a failed write means and what to do.
func writeError(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case DiskFull(err):
		return fmt.Errorf("write %s: %w (%w): free some space or raise the quota of %s", path, ErrDiskFull, err, dir)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("write %s: %w: the folder %s must be writable for the user of the job", path, err, dir)
	}
	return fmt.Errorf("write %s: %w", path, err)
}

// DiskFull says whether an error means that there is no more room: the disk, the quota, or the largest size of a file
// that the process may write.
func DiskFull(err error) bool {
	return errors.Is(err, ErrDiskFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, syscall.EFBIG)
}

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"assay.bench/internal/controlplane/statedir"
)

// Running says whether a process has the control plane: the one that the lock names holds it. It only looks, since to
// try the lock would be to take it, and be in the way of who wants it. So it may be wrong for an instant, and of a
// process in another container: what opens or removes a folder takes the lock.
func (f Folder) Running() bool {
	path := filepath.Join(f.Plane(), lockFile)
	lock, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	var holder struct {
		PID int `json:"pid"`
	}
	return json.Unmarshal(b, &holder) == nil && holder.PID > 0 && locks(holder.PID, lock)
}

// locks says whether a process has a flock(2) on a file: proc(5) shows it with each open file.
func locks(pid int, file fs.FileInfo) bool {
	process := filepath.Join("/proc", strconv.Itoa(pid))
	entries, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return false // it ended, or the pid is somebody else's by now
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		open, err := os.Stat(filepath.Join(process, "fd", e.Name()))
		if err != nil || !os.SameFile(open, file) {
			return false
		}
		info, err := os.ReadFile(filepath.Join(process, "fdinfo", e.Name()))
		return err == nil && bytes.Contains(info, []byte("FLOCK"))
	})
}

// Hold takes the lock of the control plane, so that nobody opens it until the lock is closed. It returns
// *statedir.InUseError when a process has it, and fs.ErrNotExist when the folder is gone.
func (f Folder) Hold(now time.Time) (io.Closer, error) {
	if err := os.Mkdir(f.Plane(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := statedir.Private(f.Plane()); err != nil {
		return nil, err
	}
	lock, err := statedir.Lock(f.Plane(), now)
	if err != nil {
		return nil, err
	}
	return lock, nil
}

// lockFile is the control plane's own lock, below plane/.
const lockFile = "lock"

// Terminate asks the process that holds the control plane to end, and waits until it did.
func (f Folder) Terminate(within time.Duration) error {
	b, err := os.ReadFile(filepath.Join(f.Path, "ready"))
	if err != nil {
		return fmt.Errorf("the control plane is starting or ending: try again: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("state folder %s: its ready file holds no process id", f.Path)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !f.Running() {
			return nil
		}
	}
	return fmt.Errorf("process %d did not end within %s: see %s", pid, within, f.Log())
}

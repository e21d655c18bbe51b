package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"assay.bench/internal/controlplane/statedir"
)

// Running says whether a process has the control plane. It only looks; what opens or removes a folder takes the lock.
func (f Folder) Running() bool { return statedir.Held(f.Plane()) }

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

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
func (f Folder) Running() bool {
	_, held := statedir.Holder(f.Plane())
	return held
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

// readyFile appears once the controllers of a standing control plane run; it holds the process id. It may outlive its
// process.
const readyFile = "ready"

// Ready says whether the control plane's controllers run.
func (f Folder) Ready() bool {
	_, err := os.Stat(filepath.Join(f.Path, readyFile))
	return err == nil
}

// SetReady notes that the controllers run, in this process.
func (f Folder) SetReady(pid int) error {
	if err := statedir.WriteFile(filepath.Join(f.Path, readyFile), fmt.Appendf(nil, "%d\n", pid)); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}

// ClearReady takes the note away. Only who has the control plane, or starts it while nobody does, may do that.
func (f Folder) ClearReady() error {
	if err := os.Remove(filepath.Join(f.Path, readyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}

// Terminate asks the process that holds the control plane to end, and waits until it did. No other process is touched:
// the pid of one that was killed may be anybody's by now.
func (f Folder) Terminate(within time.Duration) error {
	pid, held := statedir.Holder(f.Plane())
	b, err := os.ReadFile(filepath.Join(f.Path, readyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state folder: %w", err)
	}
	if ready := strings.TrimSpace(string(b)); !held || ready != strconv.Itoa(pid) {
		return errors.New("the control plane is starting or ending: try again")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !f.Running() && statedir.Ending(pid) { // it lets go of the control plane a moment before it ends
			return nil
		}
	}
	return fmt.Errorf("process %d did not end within %s: see %s", pid, within, f.Log())
}

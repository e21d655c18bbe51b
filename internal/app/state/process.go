package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Running says whether a process holds the control plane: its lock is taken.
func (f Folder) Running() bool {
	file, err := os.OpenFile(filepath.Join(f.Plane(), lockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	// The lock is given back by the close.
	return errors.Is(unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
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

// Package statedir keeps the folder that outlives a control plane: who holds it, whose it is, and the identity that
// makes a kubeconfig stay valid over restarts.
package statedir

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

	"golang.org/x/sys/unix"
)

// Names in the state folder. Each file is for its owner only.
const (
	lockFile     = "lock"
	identityFile = "identity.json"
)

// InUseError says that another process holds the state folder. Nothing of that process was touched.
type InUseError struct {
	// StateDir is the folder that was asked for.
	StateDir string
	// Host and PID name the process that holds it; they are zero when it has not written them yet.
	Host string
	PID  int
	// Since is when that process took the folder.
	Since time.Time
}

func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d on host %s, since %s", e.PID, e.Host, e.Since.Format(time.RFC3339))
	}
	return fmt.Sprintf("state folder %s is held by %s; end that process first, or use another folder", e.StateDir, holder)
}

// Prepare makes the folder with mode 0700, or checks that an existing one is ours and closed to others.
func Prepare(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("state folder %q: use an absolute path", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state folder: %w; use a folder on local disk that you may write to", err)
	}
	return Private(dir)
}

// Private checks that a folder belongs to this user and that nobody else may look into it.
func Private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("state folder %s: it is a %s; use a real folder", dir, info.Mode().Type())
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return fmt.Errorf("state folder %s: it belongs to user %d; use a folder of your own", dir, owner)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("state folder %s: others may use it (mode %04o); it holds keys: chmod 700 it, or use another",
			dir, info.Mode().Perm())
	}
	return nil
}

// holder is the content of the lock file.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// endsWithin is how long the last threads of a killed process may hold a lock while the process itself counts as dead.
const endsWithin = 5 * time.Second

// Lock takes the state folder for this process, or returns *InUseError: at once, unless the process that has it is on its
// way out. The kernel lets go of it when the file is closed or the process ends, however it ends; so the file must stay
// reachable, or the garbage collector closes it.
func Lock(dir string, now time.Time) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := flock(f, dir); err != nil {
		f.Close()
		return nil, err
	}
	if err := writeHolder(f, now); err != nil {
		f.Close()
		return nil, fmt.Errorf("state folder %s: %w", dir, err)
	}
	return f, nil
}

func flock(f *os.File, dir string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(endsWithin); ; <-tick.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("state folder %s: its file system has no locks (%w); use a folder on local disk", dir, err)
		}
		if who := readHolder(f, dir); !Ending(who.PID) || time.Now().After(end) {
			return who
		}
	}
}

// Ending says that a process is gone, dead although it may still have threads, or on its way there: the kernel takes its
// memory, and the command line with it, before its files.
func Ending(pid int) bool {
	process := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(process, "status"))
	if err != nil {
		return pid > 0
	}
	_, state, _ := strings.Cut(string(status), "\nState:\t")
	command, err := os.ReadFile(filepath.Join(process, "cmdline"))
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") || err != nil || len(command) == 0
}

// Holder is the process that has the state folder: the one that the lock names and that holds it. held is false where
// there is none, or only one on its way out. It only looks, since to try the lock would be to take it, and be in the way of
// who wants it. So it may be wrong for an instant, and of a process in another container.
func Holder(dir string) (pid int, held bool) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	lock, err := f.Stat()
	who := readHolder(f, dir)
	if err != nil || who.PID <= 0 || !locks(who.PID, lock) || Ending(who.PID) {
		return 0, false
	}
	return who.PID, true
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

func writeHolder(f *os.File, now time.Time) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	text, err := json.Marshal(holder{PID: os.Getpid(), Host: host, Since: now.UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	return err
}

func readHolder(f *os.File, dir string) *InUseError {
	var h holder
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err == nil && json.Unmarshal(text, &h) != nil {
		h = holder{}
	}
	return &InUseError{StateDir: dir, Host: h.Host, PID: h.PID, Since: h.Since}
}

// WriteFile replaces a file of the state folder as a whole: after a crash it is the old one or the new one. Its mode
// is 0600.
func WriteFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

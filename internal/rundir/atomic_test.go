package rundir

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.json")
	for _, content := range []string{"first", "second, longer", "3"} {
		for name, write := range map[string]func(string, []byte) error{"Replace": Replace, "ReplaceDurable": ReplaceDurable} {
			if err := write(path, []byte(content)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != content {
				t.Errorf("%s: got %q, %v; want %q", name, got, err, content)
			}
		}
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	onlyFile(t, path)
}

// A full disk is played by the largest file size that the process may write: the kernel cuts the write and then refuses
// it, as a disk that fills does.
func TestReplaceOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	if err := ReplaceDurable(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	err := limited(t, 4096, func() error { return ReplaceDurable(path, bytes.Repeat([]byte("x"), 10_000)) })
	if !errors.Is(err, ErrDiskFull) || !DiskFull(err) {
		t.Errorf("got %v, want ErrDiskFull", err)
	}
	if err != nil && !strings.Contains(err.Error(), "free some space") {
		t.Errorf("the message does not say what to do: %v", err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "old" {
		t.Errorf("the old content is gone: %q, %v", got, err)
	}
	onlyFile(t, path)
}

func TestReplaceWithoutAFolder(t *testing.T) {
	err := Replace(filepath.Join(t.TempDir(), "missing", "status.json"), []byte("x"))
	if !errors.Is(err, os.ErrNotExist) || DiskFull(err) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

func TestWriteErrorSaysWhatToDo(t *testing.T) {
	cases := map[string]struct {
		err  error
		full bool
		want string
	}{
		"ENOSPC": {syscall.ENOSPC, true, "free some space or raise the quota of /run"},
		"EDQUOT": {syscall.EDQUOT, true, "free some space or raise the quota of /run"},
		"EACCES": {syscall.EACCES, false, "the folder /run must be writable"},
		"EROFS":  {syscall.EROFS, false, "the folder /run must be writable"},
	}
	for name, c := range cases {
		err := writeError("/run/exit.json", c.err)
		if !strings.Contains(err.Error(), c.want) || DiskFull(err) != c.full {
			t.Errorf("%s: %v, full %v; want %q, %v", name, err, DiskFull(err), c.want, c.full)
		}
	}
}

// limited runs f with a largest file size. The limit is of the process, so no test of this package runs in parallel.
func limited(t *testing.T, size uint64, f func() error) error {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	// Go ignores SIGXFSZ, so the write fails with EFBIG.
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	return f()
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want only %s", entries, err, filepath.Base(path))
	}
}

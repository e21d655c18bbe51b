package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// below lists what is in a folder, without the folder itself.
func below(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, _ fs.DirEntry, err error) error {
		if path != "." {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOutputIsOneRunsAlone(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "results", "today")
	var all sync.WaitGroup
	var mu sync.Mutex
	var owners []output
	for range 8 {
		all.Go(func() {
			out, err := newOutput(path)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				owners = append(owners, out)
			} else if code := codeOf(err); code != exitUsage || !strings.Contains(err.Error(), "another assay run writes to "+path) {
				t.Errorf("exit code %d, %v", code, err)
			}
		})
	}
	all.Wait()
	if len(owners) != 1 {
		t.Fatalf("%d runs have the folder, want 1", len(owners))
	}
	owners[0].discard()
	if left := below(t, home); len(owners[0].made) > 0 && len(left) > 1 {
		t.Errorf("left: %v", left)
	}
}

func codeOf(err error) int {
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	return exitInfrastructure
}

func TestOutputTakesBackWhatItMade(t *testing.T) {
	home := t.TempDir()
	out, err := newOutput(filepath.Join(home, "a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "a/b", "a/b/c", "a/b/c/.assay-run"}, below(t, home)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(home, "a", "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out.discard()
	if diff := cmp.Diff([]string{"a", "a/mine"}, below(t, home)); diff != "" {
		t.Errorf("somebody else's file stays, and what it is in (-want +got):\n%s", diff)
	}
	given := filepath.Join(home, "given")
	if err := os.Mkdir(given, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err = newOutput(given); err != nil {
		t.Fatal(err)
	}
	out.discard()
	if !fileExists(given) {
		t.Error("a folder that was there before is gone")
	}
}

func TestOutputRefuses(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(file, "x", "y"): "not a directory: name a folder that you may write to",
		file:                          "name a folder that you may write to",
		home:                          "is not empty: name another folder",
	} {
		if _, err := newOutput(path); codeOf(err) != exitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: exit code %d, %v, want %q", path, codeOf(err), err, want)
		}
	}
	if diff := cmp.Diff([]string{"file"}, below(t, home)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What cannot be written whole is taken back, and the error names the one file.
func TestSaveLeavesNoHalf(t *testing.T) {
	home := t.TempDir()
	run := filepath.Join(home, "run")
	if err := os.MkdirAll(filepath.Join(run, "job", "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, "job", "1", "plan.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The credentials of an attempt that never began are no result; what a server calls so is.
	for _, folder := range []string{filepath.Join("job", "1", "secrets"), filepath.Join("job", "1", "server", "0", "secrets")} {
		if err := os.MkdirAll(filepath.Join(run, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(run, folder, "token"), []byte("s3cret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("1", filepath.Join(run, "job", "current")); err != nil {
		t.Fatal(err)
	}
	out, err := newOutput(filepath.Join(home, "out"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = out.save("ns.one", run, []byte("no JSON"))
	if err == nil || !strings.Contains(err.Error(), "result.json: ") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{".assay-run"}, below(t, out.path)); diff != "" {
		t.Errorf("a half is left (-want +got):\n%s", diff)
	}
	if _, err := out.save("", run, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an attach may find the mark gone
		if err := out.done(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{
		"run", "run/job", "run/job/1", "run/job/1/plan.json", "run/job/1/server", "run/job/1/server/0", "run/job/1/server/0/secrets",
		"run/job/1/server/0/secrets/token", "run/job/current",
	}, below(t, out.path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInnermostError(t *testing.T) {
	file := &fs.PathError{Op: "write", Path: "/out/x", Err: syscall.ENOSPC}
	for reason, err := range map[string]error{
		"of a copy":     &fs.PathError{Op: "Copy", Path: "/out/x", Err: file},
		"of a write":    file,
		"of a deep one": &fs.PathError{Op: "Copy", Path: "/", Err: &fs.PathError{Op: "Copy", Path: "/", Err: file}},
	} {
		if got := innermost(err); got.Error() != "write /out/x: no space left on device" {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if other := errors.New("no path"); !errors.Is(innermost(other), other) {
		t.Error("another error is changed")
	}
}

package ssh

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

// The mode that stat prints is the one that Go reads.
func TestModeOf(t *testing.T) {
	dir := t.TempDir()
	paths := map[string]fs.FileMode{"folder": fs.ModeDir | 0o700, "sticky": fs.ModeDir | fs.ModeSticky | 0o777, "file": 0o640, "link": fs.ModeSymlink | 0o777}
	err := errors.Join(os.Mkdir(filepath.Join(dir, "folder"), 0o700), os.Mkdir(filepath.Join(dir, "sticky"), 0o700),
		os.Chmod(filepath.Join(dir, "sticky"), 0o777|fs.ModeSticky), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600),
		os.Chmod(filepath.Join(dir, "file"), 0o640), os.Symlink("file", filepath.Join(dir, "link")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range paths {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		raw := info.Sys().(*syscall.Stat_t).Mode
		if got := modeOf(raw); got != want || got != info.Mode() {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if mode := modeOf(0o010600); mode.IsRegular() || mode.IsDir() {
		t.Errorf("a pipe is taken for %v", mode)
	}
}

func TestReason(t *testing.T) {
	for words, want := range map[string]string{
		"mkdir: cannot create directory '/x': Permission denied\n": "permission denied",
		"/bin/sh: 1: cannot create /x: Directory nonexistent":      "directory nonexistent",
		"":    "it failed without a word",
		"öde": "öde",
	} {
		if got := reason(words).Error(); got != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
}

func FuzzFacts(f *testing.F) {
	f.Add("user 1000\x00link 1000 41c0\x00folder 0 43ff\x00mkdir \x00write \x00")
	f.Add("user 1000\x00folder stat: cannot statx '/x': Permission denied\x00")
	f.Add("user \x00")
	f.Add("user 0\x00folder 0 41c0")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFacts([]byte(text))
		if err != nil {
			return
		}
		if !strings.HasSuffix(text, "\x00") {
			t.Errorf("a cut text passes: %q", text)
		}
		if _, err := got.user(); err != nil {
			t.Error(err)
		}
		if p, err := got.place("folder", "/x"); err == nil && p.Path != "/x" {
			t.Errorf("%+v", p)
		}
		_ = got.checkWorkDir("/x") // whatever it says, it says it
	})
}

func TestPlaceOfAFact(t *testing.T) {
	f := facts{"good": "1000 41c0", "bad": "stat: cannot statx '/x': Permission denied"}
	p, err := f.place("good", "/x")
	if diff := cmp.Diff(slurmbridge.Place{Path: "/x", Owner: 1000, Mode: fs.ModeDir | 0o700}, p); err != nil || diff != "" {
		t.Errorf("%v -want +got\n%s", err, diff)
	}
	if _, err := f.place("bad", "/x"); err == nil || err.Error() != "stat /x: permission denied" {
		t.Errorf("%v", err)
	}
}

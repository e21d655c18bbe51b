package node

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"assay.bench/internal/rundir"
)

// What was kept of a repeat goes to the run directory as long as the repeat is open, and never after it.
func TestKeptResults(t *testing.T) {
	temp := t.TempDir()
	j := &job{dir: t.TempDir(), plan: &rundir.Plan{Key: "k"}}
	w := &World{TempDir: temp}
	dir := rundir.Rank(j.dir, "load", 0)
	if err := os.MkdirAll(filepath.Join(dir, rundir.SamplesDir), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := openSpool(w, j, "load", 0)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	shared := func(repeat int, want string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(rundir.Repeat(dir, repeat), rundir.ResultFile))
		if string(b) != want || (err != nil) != (want == "") {
			t.Errorf("repeat %d: the run directory holds %q, %v; want %q", repeat, b, err, want)
		}
	}
	must(s.keep(1, rundir.ResultFile, []byte("1a")))
	shared(1, "")
	must(s.share())
	shared(1, "1a")
	must(s.keep(1, rundir.ResultFile, []byte("1b")))
	must(s.keep(1, rundir.ObjectsFile, []byte("objects")))
	must(s.share())
	shared(1, "1b")
	if b, err := os.ReadFile(filepath.Join(rundir.Repeat(dir, 1), rundir.ObjectsFile)); string(b) != "objects" {
		t.Errorf("the run directory holds %q of what was stored, %v", b, err)
	}

	must(writeRepeat(rundir.Repeat(dir, 1), rundir.ResultFile, []byte("whole")))
	must(writeExit(rundir.Repeat(dir, 1), &ending{reason: rundir.ExitReasonEnded}, time.Now()))
	must(s.keep(2, rundir.ResultFile, []byte("2a")))
	must(s.share())
	shared(1, "whole")
	shared(2, "2a")
	must(s.drop(2))
	must(writeRepeat(rundir.Repeat(dir, 2), rundir.ResultFile, []byte("whole too"))) // it was killed before it could close the repeat
	must(s.keep(3, rundir.ResultFile, []byte("3a")))
	must(rescue(w, j, "load", 0))
	shared(1, "whole")
	shared(2, "whole too")
	shared(3, "3a")
	if entries, err := os.ReadDir(temp); err != nil || len(entries) > 0 {
		t.Errorf("the node's disk holds %v, %v", entries, err)
	}
	must(rescue(w, j, "load", 0)) // there is nothing any more
}

// Another user may have made a folder of that name before: what is in it is nobody's measurement.
func TestRescueTakesNothingFromATrap(t *testing.T) {
	for name, lay := range map[string]func(path string) error{
		"others may write there": func(path string) error {
			return errors.Join(os.MkdirAll(filepath.Join(path, "r1"), 0o700), writeRepeat(filepath.Join(path, "r1"), rundir.ResultFile, []byte("forged")), os.Chmod(path, 0o777))
		},
		"a link to elsewhere": func(path string) error {
			elsewhere := t.TempDir()
			return errors.Join(writeRepeat(filepath.Join(elsewhere, "r1"), rundir.ResultFile, []byte("forged")), os.Symlink(elsewhere, path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := &job{dir: t.TempDir(), plan: &rundir.Plan{Key: "k"}}
			w := &World{TempDir: t.TempDir()}
			if err := lay(localSpool(w, j, "load", 0)); err != nil {
				t.Fatal(err)
			}
			if err := rescue(w, j, "load", 0); err == nil {
				t.Error("the folder was taken for the client's own")
			}
			if b, err := os.ReadFile(filepath.Join(rundir.Repeat(rundir.Rank(j.dir, "load", 0), 1), rundir.ResultFile)); err == nil {
				t.Errorf("the run directory holds %q", b)
			}
		})
	}
}

//go:build !embednode

package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// beside puts a program assay-node beside assay.
func beside(t *testing.T, text string) *OS {
	t.Helper()
	o := &OS{Executable: filepath.Join(t.TempDir(), "assay")}
	if err := os.WriteFile(besideNode(o), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return o
}

// An assay-node that does not know our plans is met at the start, not by the job.
func TestCheckNode(t *testing.T) {
	says := func(words string) *OS { return beside(t, "#!/bin/sh\necho "+slurmbridge.Quote(words)+"\n") }
	for reason, tt := range map[string]struct {
		o    *OS
		want string
	}{
		"the same version": {says(fmt.Sprintf("assay-node v1 (plan version %d)", rundir.Version)), ""},
		"an old one":       {says("assay-node v0 (plan version 0)"), fmt.Sprintf(`it says "assay-node v0 (plan version 0)\n", and plans of version %d are written here: build both with make`, rundir.Version)},
		"something else":   {says("hello"), `it says "hello\n"`},
		"one that fails":   {beside(t, "#!/bin/sh\nexit 1\n"), "version: exit status 1: build assay and assay-node with make"},
		"none":             {&OS{Executable: filepath.Join(t.TempDir(), "assay")}, "there is none beside it"},
	} {
		err := checkNode(t.Context(), tt.o)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", reason, err, tt.want)
		}
	}
}

func TestStageNode(t *testing.T) {
	o := beside(t, "#!/bin/sh\necho staged\n")
	work := t.TempDir()
	path, err := stageNode(o, work)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 || !strings.HasPrefix(path, filepath.Join(work, "bin")+"/") {
		t.Errorf("%s, %v, %v", path, info, err)
	}
	// What is not the whole program, or not ours alone, is made again; the rest is not touched.
	for reason, tt := range map[string]struct {
		text string
		mode os.FileMode
		same bool
	}{
		"whole":                  {"#!/bin/sh\necho staged\n", 0o700, true},
		"cut short":              {"#!", 0o700, false},
		"as long, but another":   {"#!/bin/sh\nrm -rf $HOME\n", 0o700, false},
		"zeros after a crash":    {strings.Repeat("\x00", len("#!/bin/sh\necho staged\n")), 0o700, false},
		"others may write to it": {"#!/bin/sh\necho staged\n", 0o722, false},
	} {
		if err := errors.Join(os.WriteFile(path, []byte(tt.text), 0o700), os.Chmod(path, tt.mode)); err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := stageNode(o, work); err != nil || again != path {
			t.Errorf("%s: %s, %v", reason, again, err)
		}
		after, err := os.Stat(path)
		if err != nil || os.SameFile(before, after) != tt.same || after.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v, want the same file: %t", reason, after, err, tt.same)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "#!/bin/sh\necho staged\n" {
			t.Errorf("%s: %q, %v", reason, b, err)
		}
	}
	if left := below(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("beside the program: %v", left)
	}
	file := filepath.Join(work, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := stageNode(o, file); !errors.Is(err, slurmbridge.ErrWorkDir) {
		t.Errorf("into a file: %v, want one that stalls the Site", err)
	}
}

// In a folder that others may write to, what a job runs and what it writes would be theirs.
func TestALocalSiteOwnsItsFolders(t *testing.T) {
	const origin = "0123abcd"
	o := beside(t, "#!/bin/sh\necho staged\n")
	noted := ""
	opener := localOpener(o, managerOptions{origin: origin, jobsDir: filepath.Join(t.TempDir(), "jobs"), noteWork: func(dir string) error {
		noted = dir
		if len(below(t, dir)) > 1 {
			t.Errorf("%s is noted after something was put there", dir)
		}
		return nil
	}})
	for _, folder := range []string{"", "bin", ".origins", origin} {
		s := &v1alpha1.Site{Spec: v1alpha1.SiteSpec{WorkDir: filepath.Join(t.TempDir(), "work")}}
		if folder != "" {
			path := filepath.Join(s.Spec.WorkDir, folder)
			if err := errors.Join(os.MkdirAll(path, 0o700), os.Chmod(path, 0o777|os.ModeSticky)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := opener.Open(t.Context(), s, nil)
		if noted != s.Spec.WorkDir {
			t.Errorf("noted is %q, want %s", noted, s.Spec.WorkDir)
		}
		if folder == "" && err != nil {
			t.Errorf("where there is nothing yet: %v", err)
		}
		if folder != "" && (!errors.Is(err, slurmbridge.ErrWorkDir) || !strings.Contains(err.Error(), "/"+folder+" (mode 0777): chmod go-w it")) {
			t.Errorf("%s is everybody's: %v", folder, err)
		}
	}
}

package local

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// seen is a folder of some user, as a look at it tells.
type seen struct {
	fs.FileInfo
	user uint32
	mode fs.FileMode
}

func (s seen) Mode() fs.FileMode { return s.mode | fs.ModeDir }
func (s seen) Sys() any          { return &syscall.Stat_t{Uid: s.user} }

// Who may replace what lies in the work folder has programs run as us.
func TestWhoseWorkDir(t *testing.T) {
	const root, me, mallory = 0, 1000, 1001
	for reason, tt := range map[string]struct {
		folder seen
		want   string
	}{
		"my own":                               {seen{user: me, mode: 0o700}, ""},
		"others may read it":                   {seen{user: me, mode: 0o755}, ""},
		"others may write to it":               {seen{user: me, mode: 0o777}, "and it is not sticky: chmod go-w it"},
		"others may only add to it":            {seen{user: me, mode: 0o777 | fs.ModeSticky}, ""},
		"/tmp":                                 {seen{user: root, mode: 0o777 | fs.ModeSticky}, ""},
		"the owner of a sticky folder renames": {seen{user: mallory, mode: 0o777 | fs.ModeSticky}, "belongs to user 1001, who could put programs there"},
		"another's, that an ACL opens to me":   {seen{user: mallory, mode: 0o755}, "name a folder of your own in workDir"},
		"root's, that is not for all":          {seen{user: root, mode: 0o755}, "belongs to user 0"},
	} {
		err := ownWorkDir("/w", tt.folder, me)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", reason, err, tt.want)
		}
	}
	if err := own("/w/bin", seen{user: root, mode: 0o755}, me); err == nil || !strings.Contains(err.Error(), "belongs to user 0") {
		t.Errorf("below the work folder another's: %v", err)
	}
}

func TestOwnFolder(t *testing.T) {
	dir := t.TempDir()
	fresh, open, file, link := filepath.Join(dir, "fresh"), filepath.Join(dir, "open"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o770); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		fresh: "", dir: "", open: "others may write to " + open + " (mode 0770): chmod go-w it", file: "is not a folder: remove it", link: "is not a folder",
		filepath.Join(file, "below"): "not a directory",
	} {
		err := OwnFolder(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v, want a folder for us alone", info, err)
	}
}

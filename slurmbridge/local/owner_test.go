package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

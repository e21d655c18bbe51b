package state

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestRoot(t *testing.T) {
	near := func(string) bool { return false }
	far := func(path string) bool { return strings.HasPrefix(path, "/home") }
	for reason, tt := range map[string]struct {
		xdg, home string
		onNetwork func(string) bool
		want      string
		wantErr   string
	}{
		"the home folder":                              {"", "/home/u", near, "/home/u/.local/state/assay", ""},
		"XDG_STATE_HOME goes first":                    {"/local/u", "/home/u", near, "/local/u/assay", ""},
		"a home on a network is no place for etcd":     {"", "/home/u", far, "/var/tmp/assay-7", ""},
		"XDG_STATE_HOME may be local where home isn't": {"/local/u", "/home/u", far, "/local/u/assay", ""},
		"a relative folder would be another each time": {"state", "/home/u", near, "", "XDG_STATE_HOME=state is not an absolute path"},
		"nobody's home":                                {"", "", near, "", "HOME is not set: set it, or XDG_STATE_HOME"},
	} {
		got, err := root(func(string) string { return tt.xdg }, tt.home, 7, tt.onNetwork)
		if got != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && err.Error() != tt.wantErr {
			t.Errorf("%s: got %q, %v", reason, got, err)
		}
	}
}

func TestOnNetwork(t *testing.T) {
	for name, tt := range map[string]struct {
		magic int64
		want  bool
	}{
		"nfs": {0x6969, true}, "lustre": {0x0bd00bd0, true}, "gpfs": {0x47504653, true}, "beegfs": {0x19830326, true}, "cifs": {0xff534d42, true},
		"ext4": {0xef53, false}, "xfs": {0x58465342, false}, "tmpfs": {0x01021994, false}, "overlay": {0x794c7630, false},
	} {
		if got := isNetwork(tt.magic); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
	if onNetwork("/proc/self/no/such/folder") {
		t.Error("the nearest folder that exists is in /proc, which is no network")
	}
}

// create makes a control plane that began some seconds after the first.
func create(t *testing.T, root string, second int, info Info) Folder {
	t.Helper()
	info.Created = time.Date(2026, 11, 23, 12, 0, second, 0, time.UTC)
	f, err := Create(root, info)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFoldersAreFoundAgain(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not", "yet")
	if list, err := List(root); len(list) != 0 || err != nil {
		t.Fatalf("without a root: %v, %v", list, err)
	}
	second := create(t, root, 2, Info{Kind: KindUp, Context: "lab", Host: "h", PID: 7})
	first := create(t, root, 1, Info{Kind: KindRun, Files: []string{"/r.yaml"}, Output: "/out", Benchmarks: []string{"default/b"}})
	list, err := List(root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Folder{first, second}, list); diff != "" {
		t.Errorf("the oldest comes first, whole (-want +got):\n%s", diff)
	}
	if mode := stat(t, first.Path).Mode().Perm(); mode != 0o700 {
		t.Errorf("mode %o, want 0700: the control plane's keys are in it", mode)
	}
	if got, err := Find(root, first.Short()[:6]); err != nil || got.Path != first.Path {
		t.Errorf("found %v, %v", got, err)
	}
	for digits, want := range map[string]string{
		"":                  `no control plane begins with ""`,
		"zz":                `no control plane begins with "zz": assay attach lists them`,
		first.Short() + "x": "no control plane begins with",
	} {
		if _, err := Find(root, digits); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", digits, err, want)
		}
	}
	if f, found, err := Standing(root, "lab"); !found || err != nil || f.Path != second.Path {
		t.Errorf("context lab: %v, %t, %v", f, found, err)
	}
	if _, found, err := Standing(root, "default"); found || err != nil {
		t.Errorf("context default: %t, %v", found, err)
	}
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	if list, _ := List(root); len(list) != 1 {
		t.Errorf("%d are left, want 1", len(list))
	}
}

func TestFindWantsEnoughDigits(t *testing.T) {
	root := t.TempDir()
	for _, origin := range []string{"aabbccdd00", "aabbccee00"} {
		f := Folder{Path: filepath.Join(root, origin[:8]), Info: Info{Origin: origin}}
		if err := os.Mkdir(f.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := f.Save(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Find(root, "aabb")
	if want := `2 control planes begin with "aabb": give more digits; assay attach lists them`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if f, err := Find(root, "aabbcce"); err != nil || f.Short() != "aabbccee" {
		t.Errorf("found %v, %v", f, err)
	}
}

// A folder that cannot be read hides no other, and is not taken for what it is not.
func TestBrokenFolders(t *testing.T) {
	root := t.TempDir()
	good := create(t, root, 1, Info{Kind: KindRun})
	for name, text := range map[string]string{
		"11111111": "",
		"22222222": `{"origin": "22222222`,
		"33333333": `{"origin": 3}`,
		"44444444": `{"origin": "55555555aa"}`,
	} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name, infoFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(filepath.Join(root, name)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one that names the folder", text, err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "a file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := List(root)
	if err != nil || len(list) != 1 || list[0].Path != good.Path {
		t.Errorf("%v, %v, want the good one", list, err)
	}
}

// Of many assay up at once one makes the control plane.
func TestEnsureStanding(t *testing.T) {
	root := filepath.Join(t.TempDir(), "state")
	var all sync.WaitGroup
	var mu sync.Mutex
	paths, makers := map[string]bool{}, 0
	for range 8 {
		all.Go(func() {
			f, made, err := EnsureStanding(root, Info{Kind: KindUp, Context: "default"})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			paths[f.Path] = true
			if made {
				makers++
			}
		})
	}
	all.Wait()
	if len(paths) != 1 || makers != 1 {
		t.Errorf("%d made %v, want 1 that made one", makers, paths)
	}
	if _, made, err := EnsureStanding(root, Info{Kind: KindUp, Context: "lab"}); !made || err != nil {
		t.Errorf("another context: %t, %v", made, err)
	}
}

// Running asks the kernel: a lock says more than a file that a dead process left.
func TestRunning(t *testing.T) {
	f := create(t, t.TempDir(), 1, Info{Kind: KindRun})
	if f.Running() {
		t.Error("a control plane that never started runs")
	}
	if err := os.Mkdir(f.Plane(), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(f.Plane(), lockFile))
	if err != nil {
		t.Fatal(err)
	}
	if f.Running() {
		t.Error("the file alone says nothing")
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	first, second := f.Running(), f.Running()
	if !first || !second {
		t.Error("the lock is held, and a look does not take it away")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if f.Running() {
		t.Error("the lock was let go")
	}
	err = f.Terminate(time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("without a process to end: %v", err)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// FuzzOpen: whatever stands in assay.json, a folder is never taken for another.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"origin":"0123abcd"}`, `{"origin":"0123abcdef","pid":-1}`, `{"origin":["0123abcd"]}`, `{"ORIGIN":"0123abcd"}`} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "0123abcd")
	if err := os.Mkdir(path, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(path, infoFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Open(path); err == nil && got.Short() != "0123abcd" {
			t.Errorf("opened as %q", got.Info.Origin)
		}
	})
}

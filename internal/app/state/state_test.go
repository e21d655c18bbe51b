package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/controlplane/statedir"
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

// ours is a root that nobody else may use.
func ours(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "assay")
	if err := Prepare(root); err != nil {
		t.Fatal(err)
	}
	return root
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
	root := ours(t)
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
	root := ours(t)
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

// What others may have put into a root would run as this user.
func TestOthersMayNotUseTheRoot(t *testing.T) {
	root := ours(t)
	f := create(t, root, 1, Info{Kind: KindUp, Context: "default"})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.Path, filepath.Join(open, f.Short())); err != nil {
		t.Fatal(err)
	}
	for root, want := range map[string]string{open: "others may use it", link: "use a real folder"} {
		_, listed := List(root)
		_, found := Find(root, f.Short())
		_, _, standing := Standing(root, "default")
		_, _, ensured := EnsureStanding(root, Info{Kind: KindUp, Context: "default"})
		_, created := Create(root, Info{Kind: KindRun})
		_, opened := Open(filepath.Join(root, f.Short()))
		for what, err := range map[string]error{
			"List": listed, "Find": found, "Standing": standing, "EnsureStanding": ensured, "Create": created, "Open": opened,
		} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "set XDG_STATE_HOME to a folder of your own") {
				t.Errorf("%s of a root: error %v, want %q and what to do", what, err, want)
			}
		}
	}
}

// Running says what the lock says, and a look takes it from nobody.
func TestRunning(t *testing.T) {
	f := create(t, ours(t), 1, Info{Kind: KindRun})
	if f.Running() {
		t.Error("a control plane that never started runs")
	}
	lock, err := f.Hold(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if first, second := f.Running(), f.Running(); !first || !second {
		t.Error("the lock is held, and a look does not take it away")
	}
	if other, err := f.Hold(time.Now()); err == nil {
		t.Errorf("two hold it: %v", errors.Join(lock.Close(), other.Close()))
	} else if _, ok := errors.AsType[*statedir.InUseError](err); !ok {
		t.Errorf("error %v, want who holds it", err)
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
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Hold(time.Now()); !errors.Is(err, fs.ErrNotExist) || stated(f.Path) {
		t.Errorf("to hold what is gone: %v, want that it is gone and stays so", err)
	}
}

// What a control plane that was killed left names a process that may be anybody's by now.
func TestNoStrangerIsTerminated(t *testing.T) {
	stranger := exec.CommandContext(t.Context(), "sleep", "600")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Wait() }) // the context ended it
	f := create(t, ours(t), 1, Info{Kind: KindUp, Context: "default"})
	if err := f.SetReady(stranger.Process.Pid); err != nil {
		t.Fatal(err)
	}
	const want = "the control plane is starting or ending: try again"
	if err := f.Terminate(time.Millisecond); err == nil || err.Error() != want {
		t.Errorf("where nobody holds it: %v, want %q", err, want)
	}
	lock, err := f.Hold(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := f.Terminate(time.Millisecond); err == nil || err.Error() != want {
		t.Errorf("where another process holds it: %v, want %q", err, want)
	}
	if err := f.ClearReady(); err != nil || f.Ready() {
		t.Errorf("taken away: %t, %v", f.Ready(), err)
	}
	if err := f.Terminate(time.Millisecond); err == nil || err.Error() != want {
		t.Errorf("while it starts: %v, want %q", err, want)
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(stranger.Process.Pid, &status, syscall.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("the stranger was ended: %v, %v", status, err)
	}
}

// A control plane lets go of its folder before it ends, and is waited for until then.
func TestTerminateWaitsForTheEnd(t *testing.T) {
	f := create(t, ours(t), 1, Info{Kind: KindUp, Context: "default"})
	held, err := f.Hold(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	lock := held.(*os.File)
	script := `trap "exec 3>&-; sleep 0.3; exit 0" TERM; echo ready; while :; do sleep 0.02; done`
	process := exec.CommandContext(t.Context(), "sh", "-c", script)
	process.ExtraFiles = []*os.File{lock} // with its lock, as 3
	said, err := process.StdoutPipe()
	if err == nil {
		err = process.Start()
	}
	if err == nil {
		_, err = said.Read(make([]byte, 5))
	}
	if err == nil {
		err = lock.Truncate(0)
	}
	if err == nil {
		_, err = lock.WriteAt(fmt.Appendf(nil, `{"pid":%d}`, process.Process.Pid), 0)
	}
	if err = errors.Join(err, f.SetReady(process.Process.Pid), lock.Close()); err != nil {
		t.Fatal(err)
	}
	if err := f.Terminate(10 * time.Second); err != nil || !statedir.Ending(process.Process.Pid) {
		t.Fatalf("%v; ended: %t", err, statedir.Ending(process.Process.Pid))
	}
	if err := process.Wait(); err != nil {
		t.Error(err)
	}
}

// Who changes assay.json keeps what others wrote there since.
func TestChangesAreKept(t *testing.T) {
	f := create(t, ours(t), 1, Info{Kind: KindRun})
	var all sync.WaitGroup
	for _, dir := range []string{"/b", "/a/", "/b", f.Work()} {
		all.Go(func() {
			if err := f.AddWork(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f, err := f.Change(func(i *Info) { i.Collected = true })
	if err != nil {
		t.Fatal(err)
	}
	stored, err := Open(f.Path)
	if err != nil || !stored.Info.Collected {
		t.Fatalf("%+v, %v", stored.Info, err)
	}
	for _, got := range []Folder{f, stored} {
		slices.Sort(got.Info.WorkDirs)
		if diff := cmp.Diff([]string{f.Work(), "/a", "/b"}, got.Works()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// Of those who only look, none sees another, and none is in the way of who takes the lock.
func TestLooksAreInNobodysWay(t *testing.T) {
	f := create(t, ours(t), 1, Info{Kind: KindRun})
	lock, err := f.Hold(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	const looks = 300
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range looks {
				if f.Running() {
					t.Error("a look at what nobody holds says that it runs")
					return
				}
			}
		})
	}
	all.Wait()
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f.Running()
				}
			}
		})
	}
	for range looks {
		lock, err := f.Hold(time.Now())
		if err != nil {
			t.Errorf("a look is in the way: %v", err)
			break
		}
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	all.Wait()
}

func stated(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
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
	path := filepath.Join(f.TempDir(), "assay", "0123abcd")
	if err := os.MkdirAll(path, 0o700); err != nil {
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

package ssh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/slurmbridge/ssh/sshtest"
)

// staged is a host with a staged assay-node.
func staged(t *testing.T, s *sshtest.Server) (h *ssh.Host, node string) {
	t.Helper()
	h = openServer(t, s)
	node, err := h.Stage(t.Context(), t.TempDir(), program(t))
	must(t, err)
	return h, node
}

func TestFiles(t *testing.T) {
	s := sshtest.New(t, nil)
	h, node := staged(t, s)
	conformance.Files(t, h.Files(node), t.TempDir())
	if s.Connections() != 1 {
		t.Errorf("%d connections, want 1", s.Connections())
	}
}

// Hundreds of files are one command.
func TestOneRoundTrip(t *testing.T) {
	s := sshtest.New(t, nil)
	h, node := staged(t, s)
	files, in, dir := h.Files(node), map[string][]byte{}, t.TempDir()
	var paths []string
	for i := range 200 {
		p := filepath.Join(dir, fmt.Sprint(i), "status.json")
		in[p], paths = bytes.Repeat([]byte{byte(i)}, 2000), append(paths, p)
	}
	must(t, files.Write(t.Context(), in))
	before := s.Commands()
	got, err := files.Read(t.Context(), paths...)
	must(t, err)
	if len(got) != len(in) || s.Commands() != before+1 {
		t.Errorf("%d files by %d commands, want %d by 1", len(got), s.Commands()-before, len(in))
	}
	must(t, files.Write(t.Context(), nil))
	if _, err := files.Read(t.Context()); err != nil || s.Commands() != before+1 {
		t.Errorf("nothing to do took %d commands, %v", s.Commands()-before-1, err)
	}
}

// Half an answer is no answer, wherever it was cut, and neither is one with something else in it.
func TestSpoiledAnswers(t *testing.T) {
	s := sshtest.New(t, nil)
	h, node := staged(t, s)
	file := filepath.Join(t.TempDir(), "status.json")
	must(t, h.Files(node).Write(t.Context(), map[string][]byte{file: []byte(`{"repeat":1}`)}))
	for reason, text := range map[string]string{
		"nothing":        "cat >/dev/null",
		"the preface":    node + " files | head -c 14",
		"half":           node + " files | head -c 20",
		"all but a byte": node + " files | head -c -1",
		"noise before":   "echo Welcome; exec " + node + " files",
		"noise after":    node + " files; echo bye",
		"a failure":      "cat >/dev/null; echo >&2 quota exceeded; exit 1",
		"killed":         "kill -KILL $$",
	} {
		files := h.Files(script(t, "assay-node", text+"\n"))
		got, err := files.Read(t.Context(), file)
		if len(got) > 0 || err == nil {
			t.Errorf("%s: Read gives %v, %v", reason, got, err)
		}
		wantUnreachable(t, err)
		if err := files.Write(t.Context(), map[string][]byte{file + "2": nil}); err == nil {
			t.Errorf("%s: Write says that it was done", reason)
		} else {
			wantUnreachable(t, err)
		}
		r, err := files.Open(t.Context(), file, 0)
		if err == nil {
			var b []byte
			if b, err = io.ReadAll(r); err == nil && reason != "noise after" {
				t.Errorf("%s: a stream ends well after %q", reason, b)
			}
			must(t, r.Close())
		}
		if err != nil {
			wantUnreachable(t, err)
		}
	}
	_, err := h.Files("/no/such/assay-node").Read(t.Context(), file)
	wantUnreachable(t, err, "/no/such/assay-node files ended with code 127", "No such file or directory")
	_, err = h.Files("/no/such/assay-node").Open(t.Context(), file, 0)
	wantUnreachable(t, err, "the reading of "+file, "No such file or directory")
}

// What the file system there says is said here, and is no sign of a site that does not answer.
func TestErrorsOfFiles(t *testing.T) {
	h, node := staged(t, sshtest.New(t, nil))
	files, dir := h.Files(node), t.TempDir()
	_, read := files.Read(t.Context(), dir)
	_, relative := files.Read(t.Context(), "status.json")
	_, open := files.Open(t.Context(), filepath.Join(dir, "log"), 0)
	_, folder := files.Open(t.Context(), dir, 0)
	for _, tt := range []struct {
		err  error
		is   error
		want string
	}{
		{read, nil, "read " + dir + ": is a directory"},
		{relative, nil, `read "status.json": it is not an absolute path`},
		{open, fs.ErrNotExist, "open " + dir + "/log: no such file or directory"},
		{folder, nil, "open " + dir + ": is a directory"},
		{files.Write(t.Context(), map[string][]byte{dir: nil}), nil, "write " + dir + ": file exists"},
	} {
		if tt.err == nil || tt.err.Error() != tt.want || tt.is != nil && !errors.Is(tt.err, tt.is) || errors.Is(tt.err, slurmbridge.ErrUnreachable) {
			t.Errorf("%v, want %q", tt.err, tt.want)
		}
	}
}

// Open files take few of the sessions, and give them back.
func TestStreams(t *testing.T) {
	s := sshtest.New(t, nil)
	h, node := staged(t, s)
	log := filepath.Join(t.TempDir(), "log")
	content := bytes.Repeat([]byte("line\n"), 4_000_000) // more than lies in buffers on the way
	must(t, os.WriteFile(log, content, 0o600))
	files := h.Files(node)
	var open []io.ReadCloser
	for range 4 {
		r, err := files.Open(t.Context(), log, 0)
		must(t, err)
		open = append(open, r)
	}
	_, err := files.Open(within(t, 100*time.Millisecond), log, 0)
	wantUnreachable(t, err, "waited for other files to be closed")
	must(t, try(t.Context(), h))
	if b, err := io.ReadAll(open[0]); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes, %v; want %d", len(b), err, len(content))
	}
	for _, r := range open {
		must(t, errors.Join(r.Close(), r.Close()))
	}
	eventually(t, "all have ended there", func() bool { return s.OpenSessions() == 0 })

	ctx, cancel := context.WithCancel(t.Context())
	r, err := files.Open(ctx, log, 5)
	must(t, err)
	defer r.Close()
	cancel()
	_, err = io.ReadAll(r)
	wantUnreachable(t, err, "context canceled")
	lost, err := files.Open(t.Context(), log, 0)
	must(t, err)
	defer lost.Close()
	s.Drop()
	if b, err := io.ReadAll(lost); err == nil {
		t.Errorf("%d bytes of %d pass for the whole", len(b), len(content))
	} else {
		wantUnreachable(t, err, "cut off")
	}
}

func TestProbe(t *testing.T) {
	h := openServer(t, sshtest.New(t, nil))
	dir := t.TempDir()
	folder := func(name string, mode fs.FileMode) string {
		p := filepath.Join(dir, name)
		must(t, os.Mkdir(p, 0o700))
		must(t, os.Chmod(p, mode))
		return p
	}
	file := filepath.Join(dir, "a file")
	must(t, os.WriteFile(file, nil, 0o600))
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(folder("target", 0o700), link))
	bad := map[string]string{
		"relative/folder": `"relative/folder" is not an absolute path`, folder("group", 0o770): "others may write", folder("world", 0o777): "chmod go-w",
		file: "mkdir " + file + ": not a directory: name a folder", file + "/below": "not a directory: name a folder in workDir that you may write to",
		"/proc/no/such": "no such file or directory",
	}
	if os.Geteuid() == 0 {
		another := folder("another", 0o777|fs.ModeSticky)
		must(t, os.Chown(another, 65534, 65534))
		turned := filepath.Join(dir, "turned")
		must(t, os.Symlink(folder("mine", 0o700), turned))
		must(t, os.Lchown(turned, 65534, 65534))
		bad[another], bad[turned] = "belongs to user 65534, who could put programs there", "belongs to user 65534"
	} else {
		bad["/usr"] = "belongs to user 0"
	}
	for path, words := range bad {
		if err := h.Probe(t.Context(), path); !errors.Is(err, slurmbridge.ErrWorkDir) || errors.Is(err, slurmbridge.ErrUnreachable) || !strings.Contains(err.Error(), words) {
			t.Errorf("Probe(%q): %v, want ErrWorkDir with %q", path, err, words)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "new", "it's $HOME"), link, folder("sticky", 0o777|fs.ModeSticky)} {
		if err := h.Probe(t.Context(), path); err != nil {
			t.Errorf("Probe(%q): %v", path, err)
		}
		if left, err := os.ReadDir(path); err != nil || path != dir && len(left) > 0 {
			t.Errorf("Probe left %v in %s, %v", left, path, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "new")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a new folder above it: %v, %v", info, err)
	}
}

func TestOwnFolders(t *testing.T) {
	h := openServer(t, sshtest.New(t, nil))
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	must(t, os.Mkdir(open, 0o700))
	must(t, os.Chmod(open, 0o770))
	must(t, os.Symlink(dir, filepath.Join(dir, "link")))
	must(t, h.OwnFolders(t.Context(), filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")))
	for path, want := range map[string]string{
		open: "others may write to " + open + " (mode 0770)", filepath.Join(dir, "link"): "is not a folder: remove it",
		filepath.Join(dir, "no", "such"): "mkdir " + dir + "/no/such: no such file or directory",
	} {
		if err := h.OwnFolders(t.Context(), filepath.Join(dir, "c"), path); !errors.Is(err, slurmbridge.ErrWorkDir) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

package ssh_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/ssh/sshtest"
)

func TestStage(t *testing.T) {
	node := program(t)
	sum := sha256.Sum256(node)
	dir := t.TempDir()
	want := filepath.Join(dir, "bin", hex.EncodeToString(sum[:]), "assay-node")
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	stage := func(uploads int) {
		t.Helper()
		path, err := h.Stage(t.Context(), dir, node)
		must(t, err)
		there, err := os.ReadFile(path)
		if path != want || err != nil || !bytes.Equal(there, node) {
			t.Errorf("%s holds %d bytes, %v; want %s with %d", path, len(there), err, want, len(node))
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o700 {
			t.Errorf("%v, %v, want mode 0700", info, err)
		}
		if n := s.Uploads(); n != uploads {
			t.Errorf("%d uploads, want %d", n, uploads)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
			t.Errorf("left there: %v, %v", left, err)
		}
	}
	stage(1)
	before := s.Commands()
	stage(1)
	if n := s.Commands() - before; n != 1 {
		t.Errorf("%d commands for what is there already, want 1", n)
	}
	must(t, os.WriteFile(want, make([]byte, len(node)), 0o700)) // after a crash of the machine
	stage(2)
	must(t, os.Chmod(want, 0o770)) // others may have changed it
	stage(3)
	must(t, os.Chmod(want, 0o600))
	stage(4)
}

func TestStageWithoutSFTP(t *testing.T) {
	s := sshtest.New(t, func(s *sshtest.Server) { s.NoSFTP = true })
	h, node := staged(t, s)
	if b, err := os.ReadFile(node); err != nil || !bytes.Equal(b, program(t)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if out := sh(t, h, node+" version"); !strings.HasPrefix(out, "assay-node") {
		t.Errorf("it says %q", out)
	}
}

// Whoever stages at the same time does no harm.
func TestStageTogether(t *testing.T) {
	s := sshtest.New(t, nil)
	dir, node := t.TempDir(), []byte("#!/bin/sh\n"+strings.Repeat("#\n", 1<<20))
	var staging sync.WaitGroup
	for range 3 {
		h := openServer(t, s)
		for range 3 {
			staging.Go(func() {
				path, err := h.Stage(t.Context(), dir, node)
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, node) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		}
	}
	staging.Wait()
	if left, err := filepath.Glob(filepath.Join(dir, "bin", "*", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStageThatFails(t *testing.T) {
	script := []byte("#!/bin/sh\n")
	small := strings.Repeat("#\n", 1<<20)
	for reason, tt := range map[string]struct {
		node   []byte
		server func(*sshtest.Server)
		before func(dir string)
		want   string
	}{
		"others may write there":    {script, nil, func(dir string) { must(t, os.Mkdir(dir+"/bin", 0o700)); must(t, os.Chmod(dir+"/bin", 0o770)) }, "assay-node cannot be put there: others may write to "},
		"a file is in the way":      {script, nil, func(dir string) { must(t, os.WriteFile(dir+"/bin", nil, 0o600)) }, "/bin is not a folder: remove it"},
		"there is no work folder":   {script, nil, func(dir string) { must(t, os.Remove(dir)) }, "/bin: no such file or directory"},
		"it is for another machine": {[]byte("#!/no/such/interpreter\n"), nil, nil, "(exit code 127): it does not run on the login node: name a folder in workDir from which programs may run"},
		"the disk is full": {append(script, small...), func(s *sshtest.Server) {
			s.NoSFTP, s.Shell = true, limited(t)
		}, nil, "assay-node cannot be put there: write "},
	} {
		t.Run(reason, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "work")
			must(t, os.Mkdir(dir, 0o700))
			if tt.before != nil {
				tt.before(dir)
			}
			h := openServer(t, sshtest.New(t, tt.server))
			_, err := h.Stage(t.Context(), dir, tt.node)
			if !errors.Is(err, slurmbridge.ErrWorkDir) || errors.Is(err, slurmbridge.ErrUnreachable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want ErrWorkDir with %q", err, tt.want)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "bin", "*", ".*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// limited is a login shell whose files cannot grow: it plays a disk that is full.
func limited(t *testing.T) string {
	return script(t, "sh", `trap '' XFSZ; ulimit -f 8; exec /bin/sh "$@"`)
}

func TestArch(t *testing.T) {
	got, err := openServer(t, sshtest.New(t, nil)).Arch(t.Context())
	if err != nil || got != runtime.GOARCH {
		t.Errorf("%s, %v, want %s", got, err, runtime.GOARCH)
	}
}

package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/slurmbridge/ssh/sshtest"
)

// built builds assay-node once.
var built = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "assay-node-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "assay-node")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "assay.bench/cmd/assay-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if words, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, words)
	}
	return os.ReadFile(path)
})

// program is an assay-node.
func program(t *testing.T) []byte {
	t.Helper()
	b, err := built()
	must(t, err)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// target is a server as an option.
func target(s *sshtest.Server) ssh.Target {
	return ssh.Target{Host: s.Host, Port: s.Port, User: s.User, KnownHosts: s.KnownHosts(), Keys: []ssh.Key{{PEM: s.Key}}}
}

// open opens a host with these options, which the test closes.
func open(t *testing.T, o ssh.Options) *ssh.Host {
	t.Helper()
	h, err := ssh.Open(o)
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()) })
	return h
}

func openServer(t *testing.T, s *sshtest.Server) *ssh.Host {
	t.Helper()
	return open(t, ssh.Options{Target: target(s)})
}

// sh runs a line of shell and returns what it printed.
func sh(t *testing.T, h *ssh.Host, text string) string {
	t.Helper()
	out, err := h.Run(t.Context(), slurmbridge.Command{Argv: []string{"/bin/sh", "-c", text}})
	must(t, err)
	return string(out.Stdout)
}

// try runs something small.
func try(ctx context.Context, h *ssh.Host) error {
	_, err := h.Run(ctx, slurmbridge.Command{Argv: []string{"true"}})
	return err
}

// wantUnreachable checks an error and its words.
func wantUnreachable(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("%v, want one that wraps ErrUnreachable", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want one with the words %q", err, w)
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		<-tick.C
	}
}

// within gives a context that ends.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// script writes a program of shell.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700))
	return path
}

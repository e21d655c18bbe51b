package local_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/local"
)

const origin = "0123abcd"

func open(t *testing.T, o local.Options) *local.Host {
	t.Helper()
	o.KillWait = 500 * time.Millisecond
	h, err := local.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endAll(t, h) })
	return h
}

// endAll leaves no process behind.
func endAll(t *testing.T, h *local.Host) {
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		jobs, err := h.List(context.Background()) // the test's own context is over
		alive := 0
		for _, j := range jobs {
			if !j.Over() {
				alive++
				_ = h.Cancel(context.Background(), j.ID) // tried again until it is over
			}
		}
		if err == nil && alive == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs do not end: %v", alive, err)
		}
		<-tick.C
	}
}

// program writes a stand-in for assay-node.
func program(t *testing.T, p conformance.Program) string {
	t.Helper()
	text := "#!/bin/bash\n"
	if p.IgnoreTerm {
		text += "trap '' TERM\n"
	}
	if p.Stray {
		text += "setsid bash -c 'trap \"\" TERM; sleep 600; true' &\n"
	}
	// Not sleep itself, so that a TERM ends the program at once.
	text += fmt.Sprintf("read -t %.3f <> <(:)\nexit %d\n", p.Takes.Seconds(), p.Code)
	file := filepath.Join(t.TempDir(), "assay-node")
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTransport(t *testing.T) {
	left := map[string]string{
		"past jobs":        "this machine keeps no accounts",
		"dial":             "its ports are dialled by whoever wants to",
		"lost reply":       "no answer comes over a network",
		"noise":            "nothing is printed beside an answer",
		"truncated answer": "an answer is a file that is whole or not there",
		"purged records":   "an ended job is forgotten by its age alone",
		"outage":           "this machine is always there",
		"clock off":        "there is one clock",
		"node lost":        "a machine that is lost takes the test along",
		"requeue":          "nothing is started again",
		"prolog failed":    "there is no prolog",
	}
	conformance.Run(t, left, func(t *testing.T) conformance.Harness {
		dir := t.TempDir()
		state := filepath.Join(dir, "state")
		h := open(t, local.Options{StateDir: state, Origin: origin})
		return conformance.Harness{
			Jobs: h, Files: h, Origin: origin, WorkDir: dir, Program: program, ShortLimit: 2 * time.Second,
			Reopen: func(t *testing.T) slurmbridge.Jobs { return open(t, local.Options{StateDir: state, Origin: origin}) },
			Other: func(t *testing.T, origin string) slurmbridge.Jobs {
				return open(t, local.Options{StateDir: state, Origin: origin})
			},
			BadWorkDirs: badWorkDirs,
		}
	})
}

func badWorkDirs(t *testing.T) map[string]string {
	dir := t.TempDir()
	folder := func(name string, mode fs.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		another(t, folder):     "belongs to user",
		folder("group", 0o770): "others may write",
		folder("world", 0o777): "chmod go-w",
		file:                   "not a directory",
		file + "/below":        "not a directory",
	}
}

// another is a folder of another user: root can give one away, and anybody else finds one of root's.
func another(t *testing.T, folder func(name string, mode fs.FileMode) string) string {
	if os.Geteuid() != 0 {
		return "/usr"
	}
	p := folder("another", 0o777|fs.ModeSticky)
	if err := os.Chown(p, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	return p
}

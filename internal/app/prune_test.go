package app

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/local"
)

// at is a person in a home folder of their own, who answers questions with a line.
func at(home, line string) (o *OS, said *bytes.Buffer) {
	said = &bytes.Buffer{}
	return &OS{
		Env: func(string) string { return "" }, Home: home, UID: os.Getuid(), Now: time.Now,
		Stdin: strings.NewReader(line), Stdout: said, Stderr: said,
	}, said
}

// job starts a real process as a local job of a control plane and returns how it is ended.
func job(t *testing.T, f state.Folder) (end func()) {
	t.Helper()
	host, err := local.Open(local.Options{StateDir: f.Jobs(), Origin: f.Info.Origin})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.Work(), f.Info.Origin, "ns", "bm", "g1", "bm-g1", "1")
	node := filepath.Join(f.Path, "node")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(node, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := slurmbridge.NewKey(f.Info.Origin, "00000000-0000-0000-0000-000000000001", 1)
	ctx := context.Background()
	if err := host.Submit(ctx, key, slurmbridge.Script{Directory: dir, Node: node, Parts: []slurmbridge.Part{{}}}); err != nil {
		t.Fatal(err)
	}
	await := func(what string, met func(slurmbridge.Job) bool) slurmbridge.Job {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
			jobs, err := host.Find(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			if len(jobs) == 1 && met(jobs[0]) {
				return jobs[0]
			}
		}
		t.Fatalf("the job is not %s", what)
		return slurmbridge.Job{}
	}
	id := await("there", func(slurmbridge.Job) bool { return true }).ID
	if err := host.Release(ctx, id); err != nil {
		t.Fatal(err)
	}
	await("running", func(j slurmbridge.Job) bool { return j.Phase == slurmbridge.Running })
	end = sync.OnceFunc(func() {
		// As a controller does: ask again until the job is seen to be over.
		await("over", func(j slurmbridge.Job) bool {
			if !j.Over() {
				if err := host.Cancel(ctx, id); err != nil {
					t.Error(err)
				}
			}
			return j.Over()
		})
	})
	t.Cleanup(end)
	return end
}

func TestPruneNeverTouchesALiveJob(t *testing.T) {
	home := t.TempDir()
	root := filepath.Join(home, ".local", "state", "assay")
	f, err := state.Create(root, state.Info{Kind: state.KindRun, Created: time.Now(), Benchmarks: []string{"ns/bm"}})
	if err != nil {
		t.Fatal(err)
	}
	end := job(t, f)
	before := below(t, root)
	o, said := at(home, "")
	if err := prune(t.Context(), o, pruneOptions{yes: true}); err != nil {
		t.Fatal(err)
	}
	if got := below(t, root); len(got) < len(before) || !strings.Contains(said.String(), "nothing to remove") {
		t.Fatalf("a live job may still write, and was pruned: %v\n%s", got, said)
	}
	end()
	for _, step := range []struct {
		reason string
		opts   pruneOptions
		answer string
		words  string
		gone   bool
	}{
		{"an empty answer is no", pruneOptions{}, "\n", "nothing was removed", false},
		{"the end of the input is no", pruneOptions{}, "", "nothing was removed", false},
		{"only showing removes nothing", pruneOptions{dryRun: true}, "y\n", "state of a dead assay run of ns/bm", false},
		{"what is younger stays", pruneOptions{yes: true, olderThan: time.Hour}, "", "nothing to remove", false},
		{"yes is yes", pruneOptions{}, "y\n", "Remove these 1 folders", true},
	} {
		o, said := at(home, step.answer)
		if err := prune(t.Context(), o, step.opts); err != nil {
			t.Fatal(err)
		}
		if gone := !fileExists(f.Path); gone != step.gone || !strings.Contains(said.String(), step.words) {
			t.Errorf("%s: gone is %t, and it says\n%s", step.reason, gone, said)
		}
	}
}

package local

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.bench/slurmbridge"
)

const (
	childVariable = "ASSAY_TEST_CHILD"
	crashJobs     = 8
)

// TestMain is also the program that gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashKey is another one for each folder: processes are found by it.
func crashKey(dir string, i int) slurmbridge.Key {
	h := fnv.New32a()
	fmt.Fprint(h, dir)
	return slurmbridge.NewKey(testOrigin, fmt.Sprintf("%08x%08x", h.Sum32(), i+1), 1)
}

// child does what a controller does: find, submit what nobody knows, release.
func child(dir string) error {
	ctx := context.Background()
	h, err := Open(Options{StateDir: filepath.Join(dir, "state"), Origin: testOrigin})
	if err != nil {
		return err
	}
	for i := range crashJobs {
		key := crashKey(dir, i)
		jobs, err := h.Find(ctx, key)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			s := slurmbridge.Script{
				Directory: filepath.Join(dir, fmt.Sprint(i), "1"), Node: filepath.Join(dir, "node"), Parts: []slurmbridge.Part{{}},
			}
			if err := h.Submit(ctx, key, s); err != nil {
				return err
			}
			if jobs, err = h.Find(ctx, key); err != nil {
				return err
			}
		}
		if err := h.Release(ctx, jobs[0].ID); err != nil {
			return err
		}
	}
	return nil
}

// TestKilledAtAnyMoment kills the process that submits and releases, again and again, at random moments: every job
// exists once and runs once.
func TestKilledAtAnyMoment(t *testing.T) { seeded(t, killedAtAnyMoment) }

func killedAtAnyMoment(t *testing.T, rng *rand.Rand) {
	b := newBench(t, Options{})
	b.must(os.WriteFile(filepath.Join(b.dir, "node"), []byte("#!/bin/bash\necho ran >>ran\n"), 0o700))
	for i := range crashJobs {
		b.must(os.MkdirAll(filepath.Join(b.dir, fmt.Sprint(i), "1"), 0o700))
	}
	kills := 0
	for done := false; !done; {
		ctx, kill := context.WithTimeout(t.Context(), time.Duration(rng.IntN(12+4*kills))*time.Millisecond)
		if kills >= 15 {
			ctx, kill = context.WithCancel(t.Context())
		}
		cmd := exec.CommandContext(ctx, "/proc/self/exe")
		cmd.Env = append(os.Environ(), childVariable+"="+b.dir)
		out, err := cmd.CombinedOutput()
		kill()
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != -1) && ctx.Err() == nil {
			t.Fatalf("child: %v %s", err, out)
		}
		kills++
		done = err == nil
	}
	b.open()
	for i := range crashJobs {
		jobs, err := b.Find(t.Context(), crashKey(b.dir, i))
		b.must(err)
		if len(jobs) != 1 {
			t.Fatalf("after %d kills: %d jobs under one key: %+v", kills, len(jobs), jobs)
		}
		if j := b.end(jobs[0].ID); j.Phase != slurmbridge.Succeeded {
			t.Errorf("%+v, want Succeeded", j)
		}
		ran, err := os.ReadFile(filepath.Join(b.dir, fmt.Sprint(i), "1", "ran"))
		if err != nil || strings.Count(string(ran), "ran") != 1 {
			t.Errorf("job %d ran %q (%v), want once", i, ran, err)
		}
	}
	t.Logf("%d processes, all but the last killed", kills)
}

package conformance

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/rundir"
)

// OnThisHost fills in what a harness needs whose jobs are real processes of this host and whose files are this host's:
// Link and Requeue. With jobs of slurmbridge/local it tests a real assay-node through the real job.sh.
func OnThisHost(h Harness) Harness {
	h.Link = func(path string) (string, bool) {
		target, err := os.Readlink(path)
		return target, err == nil
	}
	h.Requeue = requeueProcesses
	return h
}

// requeueProcesses kills every process of a job at once, by the mark in their environment, and runs its script again.
func requeueProcesses(t *testing.T, id, attempt string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(attempt, rundir.PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := rundir.ParsePlan(b)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for killAll(t, "ASSAY_JOB="+plan.Key) > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("the processes of the job cannot be killed")
		}
	}
	cmd := exec.Command("bash", filepath.Join(attempt, rundir.ScriptFile))
	cmd.Env = append(cmd.Environ(), "SLURM_JOB_ID="+id)
	err = cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// killAll kills what carries a variable in its environment, and counts it. A zombie has no environment.
func killAll(t *testing.T, assignment string) int {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range environs {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+assignment+"\x00")) {
			continue // gone, or not ours
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone meanwhile is fine
			found++
		}
	}
	return found
}

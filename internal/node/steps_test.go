package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
)

func TestStepOptions(t *testing.T) {
	const always = "--export=ALL --input=all --mpi=none --kill-on-bad-exit=0 --wait=0 --mem=0 --exact"
	for name, c := range map[string]struct {
		component component
		het       bool
		want      string
	}{
		"a service with GPUs": {component{name: "vllm", ranks: 1, resources: rundir.Resources{Nodes: 1, CPUsPerTask: 16, GPUsPerNode: 2}}, false,
			"--job-name=vllm " + always + " --nodes=1 --ntasks=1 --relative=0 --distribution=block --cpus-per-task=16 --gres=gpu:2"},
		"a service with other devices": {component{name: "vllm", ranks: 1, resources: rundir.Resources{GPUsPerNode: 2, Gres: "nvme:1"}}, false,
			"--job-name=vllm " + always + " --nodes=1 --ntasks=1 --relative=0 --distribution=block --gres=gpu:2,nvme:1"},
		"clients behind it": {component{name: "load", ranks: 4, resources: rundir.Resources{Nodes: 2, FirstNode: 1}}, false,
			"--job-name=load " + always + " --nodes=2 --ntasks=4 --relative=1 --distribution=block --gres=none"},
		"clients of a heterogeneous job": {component{name: "load", ranks: 2, resources: rundir.Resources{HetGroup: 1}}, true,
			"--job-name=load " + always + " --nodes=1 --ntasks=2 --relative=0 --distribution=block --het-group=1 --gres=none"},
		"a service of a heterogeneous job": {component{name: "a", ranks: 1}, true,
			"--job-name=a " + always + " --nodes=1 --ntasks=1 --relative=0 --distribution=block --het-group=0 --gres=none"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, strings.Join(stepOptions(c.component, c.het), " ")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// One step starts all ranks; what it is told goes over its standard input, and its end is that of every rank.
func TestStepsStartWithSrun(t *testing.T) {
	dir := t.TempDir()
	srun := filepath.Join(dir, "srun")
	text := "#!/bin/sh\nprintf '%s\\n' \"$@\" >" + dir + "/argv\nenv >" + dir + "/env\ncat >" + dir + "/stdin\nexit 3\n"
	if err := os.WriteFile(srun, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	w := &World{Environ: []string{"PATH=" + dir + ":/usr/bin:/bin", "SLURM_HET_SIZE=2", "SLURM_JOB_ID=17", "SLURM_GPUS_PER_NODE=2", "SLURM_NTASKS=4", "SLURM_EXPORT_ENV=NIL"}, Executable: "/work/bin/assay-node", Stderr: t.Output()}
	j := &job{dir: "/work/1", plan: &rundir.Plan{Launcher: rundir.LaunchSrun}}
	l, err := newLauncher(w, j, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	told := secrets{Credential: &rundir.Credential{Token: "secret"}}
	children, err := l.start(component{verb: "load", name: "c", ranks: 3, secrets: told})
	if err != nil || len(children) != 1 {
		t.Fatalf("%d children, %v; want one for all ranks", len(children), err)
	}
	<-children[0].done
	if c := children[0]; c.code != 3 || c.rank != 0 || c.ranks != 3 || c.String() != "c/0-2" {
		t.Errorf("%s: %+v", c, c)
	}
	argv, err := os.ReadFile(filepath.Join(dir, "argv"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "--gres=none\n/work/bin/assay-node\nload\n--dir\n/work/1\n--component\nc\n--rank-of-step\n--lost-after\n1m0s\n"; !strings.HasSuffix(string(argv), want) || strings.Contains(string(argv), "secret") {
		t.Errorf("argv %q, want it to end with %q and to hold no secret", argv, want)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil || !strings.Contains(string(env), "SLURM_JOB_ID=17\n") || strings.Contains(string(env), "GPUS") || strings.Contains(string(env), "NTASKS") || strings.Contains(string(env), "EXPORT") {
		t.Errorf("srun got the environment %q, %v; want the job's id and nothing that it would take for an option", env, err)
	}
	got := secrets{}
	if b, err := os.ReadFile(filepath.Join(dir, "stdin")); err != nil || json.Unmarshal(b, &got) != nil || got.Credential.Token != "secret" {
		t.Errorf("standard input: %+v, %v", got, err)
	}
	if _, err := newLauncher(&World{Environ: []string{"PATH=/nowhere"}}, j, time.Minute); err == nil || !strings.Contains(err.Error(), "srun") {
		t.Errorf("without srun: %v", err)
	}
}

func TestRankOfStep(t *testing.T) {
	for value, want := range map[string]int{"0": 0, "17": 17, "": -1, "-1": -1, "x": -1} {
		w := &World{Environ: []string{"SLURM_PROCID=" + value}}
		if n, err := rankOfStep(w); (err != nil) != (want < 0) || err == nil && n != want {
			t.Errorf("SLURM_PROCID=%q: %d, %v", value, n, err)
		}
	}
	w := &World{Environ: []string{markComponent + "=old/0"}}
	mark(w, &job{plan: &rundir.Plan{Key: "k"}}, "load", 4)
	if w.getenv(markJob) != "k" || w.getenv(markComponent) != "load/4" {
		t.Errorf("marks %q", w.Environ)
	}
}

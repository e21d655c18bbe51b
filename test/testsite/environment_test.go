//go:build e2e

package testsite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/local"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// A job's environment is printed, on both versions of Slurm: nothing of the submitter's is in it, nor of the job that the
// submitter may run in, nor a variable that would change the submit.
func TestJobEnvironment(t *testing.T) {
	t.Parallel()
	for _, name := range []string{site.Slurm2411, site.Slurm2205} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !isInside() {
				runInside(t, site.Up(t, name), "WORK", "ACCOUNT", "REST_URL", "SLURM")
				return
			}
			for variable, value := range map[string]string{
				canary: "sings", "SLURM_JOB_ID": "1", "SLURM_CANARY": "sings", "SBATCH_PARTITION": "none", "SBATCH_EXPORT": "ALL",
				"SQUEUE_FORMAT": "%i", "MINIO_ROOT_PASSWORD": "sings", "LD_LIBRARY_PATH": "/none",
			} {
				os.Setenv(variable, value) //nolint:usetesting // the parts of this test are parallel, and the program has no other test
			}
			runner := cli.Local{Env: os.Getenv}
			t.Run("sbatch", func(t *testing.T) {
				origin := random(t)
				slurm, err := cli.Open(t.Context(), cli.Options{Runner: runner, Origin: origin})
				if err != nil {
					t.Fatal(err)
				}
				checkEnvironment(t, slurm, origin)
			})
			if of(t, "REST_URL") != "" {
				t.Run("slurmrestd", func(t *testing.T) {
					origin := random(t)
					checkEnvironment(t, openREST(t, of(t, "REST_URL"), runner, origin, &faultyHTTP{}), origin)
				})
			}
		})
	}
}

// checkEnvironment runs a job that prints its environment.
func checkEnvironment(t *testing.T, jobs slurmbridge.Jobs, origin string) {
	t.Helper()
	dir := filepath.Join(of(t, "WORK"), "environment", origin, "1")
	script := slurmbridge.Script{
		Comment: "prints its environment", Directory: dir, Node: filepath.Join(dir, "assay-node"),
		Parts: []slurmbridge.Part{{Partition: "gpu", Account: of(t, "ACCOUNT"), QOS: "default", Nodes: 1, CPUsPerTask: 1, GPUsPerNode: 1, MemoryMiB: 64}},
	}
	out := filepath.Join(dir, "environment")
	program := "#!/bin/bash\nenv -0 >" + out + ".new && mv " + out + ".new " + out + "\n"
	if err := (local.Files{}).Write(t.Context(), map[string][]byte{script.Node: []byte(program)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(script.Node, 0o700); err != nil {
		t.Fatal(err)
	}
	key := slurmbridge.NewKey(origin, random(t), 1)
	if err := jobs.Submit(t.Context(), key, script); err != nil {
		t.Fatal(err)
	}
	found, err := jobs.Find(t.Context(), key)
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := jobs.Release(t.Context(), found[0].ID); err != nil {
		t.Fatal(err)
	}
	var text []byte
	user.Until(t, "the environment is there", func() bool { text, err = os.ReadFile(out); return err == nil })
	environment := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	slices.Sort(environment)
	t.Logf("the environment of job %s:\n%s", found[0].ID, strings.Join(environment, "\n"))
	compareEnvironment(t, environment, found[0].ID)
}

// compareEnvironment: the variables that a job has beside Slurm's, whoever submits it: those that bash makes, those of a login on the
// node, and where this Slurm has to hand on what sbatch got (before 23.02) the few that sbatch was given.
func compareEnvironment(t *testing.T, environment []string, id string) {
	t.Helper()
	allowed := []string{
		"HOME", "USER", "LOGNAME", "PATH", "PWD", "OLDPWD", "SHLVL", "SHELL", "_", "TMPDIR", "LANG", "ENVIRONMENT", "HOSTNAME",
		"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK",
		// What Slurm tells the launchers of MPI.
		"HYDRA_BOOTSTRAP", "HYDRA_LAUNCHER_EXTRA_ARGS", "I_MPI_HYDRA_BOOTSTRAP", "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS",
		"OMPI_MCA_plm_slurm_args", "PRTE_MCA_plm_slurm_args",
	}
	if strings.HasPrefix(of(t, "SLURM"), "22.") {
		allowed = append(allowed, "LC_ALL", "TZ")
	}
	got := map[string]string{}
	for _, e := range environment {
		name, value, _ := strings.Cut(e, "=")
		got[name] = value
		if !slices.Contains(allowed, name) && !strings.HasPrefix(name, "SLURM_") && !strings.HasPrefix(name, "SLURMD_") {
			t.Errorf("%s is no variable of a job's", e)
		}
		if value == "sings" || value == "/none" {
			t.Errorf("%s came from whoever submitted the job", e)
		}
	}
	want := map[string]string{"SLURM_JOB_ID": id, "SLURM_JOB_PARTITION": "gpu", "HOME": "/home/users/hpc"}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	if got["CUDA_VISIBLE_DEVICES"] == "" || got["SBATCH_PARTITION"] != "" {
		t.Errorf("CUDA_VISIBLE_DEVICES is %q, SBATCH_PARTITION %q", got["CUDA_VISIBLE_DEVICES"], got["SBATCH_PARTITION"])
	}
}

package local_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	nodeside "assay.bench/internal/rundir/conformance"
	"assay.bench/slurmbridge/local"
)

func TestNodeSide(t *testing.T) {
	node := "/tmp/assay-node-poll"
	nodeside.Run(t, func(t *testing.T) nodeside.Harness {
		dir := t.TempDir()
		h := open(t, local.Options{StateDir: filepath.Join(dir, "state"), Origin: origin})
		return nodeside.Harness{
			Jobs: h, Files: h, Origin: origin, WorkDir: filepath.Join(dir, "work"), Node: node,
			Prepare: func(p *rundir.Plan) {
				for i := range p.Services {
					p.Services[i].Argv = []string{"assay-node", "llmsim", "--host", "$(HOST)", "--port", "$(PORT)", "--model", "m", "--ttft-mean", "5ms", "--itl-mean", "1ms"}
					p.Services[i].Probes = []rundir.Probe{{Type: rundir.ProbeHTTP, Path: "/health", Status: 200}}
				}
			},
			Break: func(p *rundir.Plan, name string) { p.Services[0].Argv = []string{"false"} },
			Link:  func(p string) (string, bool) { l, err := os.Readlink(p); return l, err == nil },
			Requeue: func(t *testing.T, id, attempt string) int {
				owner, err := os.Readlink(filepath.Join(dir, "state", "jobs", id, "runner"))
				t.Log(owner, err)
				_ = h.Cancel(t.Context(), id)
				for {
					js, _ := h.List(t.Context())
					if js[0].Over() {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				os.Remove(filepath.Join(attempt, "exit.json"))
				cmd := exec.Command("bash", filepath.Join(attempt, rundir.ScriptFile))
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SLURM_JOB_ID=" + id}
				err = cmd.Run()
				if e, ok := errors.AsType[*exec.ExitError](err); ok {
					return e.ExitCode()
				}
				return 0
			},
		}
	})
}

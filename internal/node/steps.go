package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// terminateTimeout is how long Slurm may take to tell all steps to end.
const terminateTimeout = time.Minute

// steps starts every component as one step of the Slurm job, with srun. The batch step itself takes no part of the
// components' resources: what it does between their begin and their end is to wait.
type steps struct {
	world *World
	job   *job
	srun  string
	args  []string // what every rank is told
	// term is told once that all steps are to get TERM.
	term sync.Once
}

func newSteps(w *World, j *job, more ...string) (*steps, error) {
	srun, err := pathLookup(w.getenv("PATH"))("srun")
	if err != nil {
		return nil, fmt.Errorf("%s: the batch step of a Slurm job needs it", missing("srun", err))
	}
	return &steps{world: w, job: j, srun: srun, args: more}, nil
}

// start starts all ranks as the tasks of one step.
func (s *steps) start(c component) ([]*child, error) {
	stdin, err := json.Marshal(c.secrets)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(s.srun, append(stepOptions(c, s.isHet()), s.rankCommand(c)...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = s.world.Stderr, s.world.Stderr
	cmd.Env = slices.DeleteFunc(slices.Clone(s.world.Environ), isOption)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	ch := watch(c, 0, c.ranks, cmd)
	ch.send = s.signal(ch.send)
	return []*child{ch}, nil
}

// signal passes on a signal to a step. srun hands on USR1, but ends its step at once when it gets TERM; so it is Slurm that
// sends TERM, to every step of the job. Nobody waits for it: Slurm may be away.
func (s *steps) signal(toSrun func(syscall.Signal)) func(syscall.Signal) {
	return func(sig syscall.Signal) {
		if sig == syscall.SIGUSR1 {
			toSrun(sig)
			return
		}
		s.term.Do(func() { go s.terminate() })
	}
}

// terminate has Slurm tell all steps of the job to end.
func (s *steps) terminate() {
	ctx, cancel := context.WithTimeout(context.Background(), terminateTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "scancel", "--signal=TERM", s.world.getenv("SLURM_JOB_ID"))
	cmd.Env, cmd.Stdout, cmd.Stderr = s.world.Environ, s.world.Stderr, s.world.Stderr
	if path, err := pathLookup(s.world.getenv("PATH"))("scancel"); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(s.world.Stderr, "assay-node job: the components could not be told to end: %v\n", err)
	}
}

// isOption says that srun would take a variable of the batch step for an option of its own: what the whole job has asked
// for is not what a step asks for, and some versions refuse both at once.
func isOption(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	switch name {
	case "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NNODES", "SLURM_JOB_NUM_NODES", "SLURM_EXPORT_ENV", "SLURM_DISTRIBUTION", "SLURM_EXCLUSIVE", "SLURM_GRES",
		"SLURM_THREADS_PER_CORE", "SLURM_HINT", "SLURM_GPUS", "SLURM_GPU_BIND", "SLURM_GPU_FREQ":
		return true
	}
	for _, per := range []string{"SLURM_NTASKS_PER_", "SLURM_CPUS_PER_", "SLURM_GPUS_PER_", "SLURM_MEM_PER_", "SLURM_TRES_PER_"} {
		if strings.HasPrefix(name, per) {
			return true
		}
	}
	return false
}

// isHet says that the job is a heterogeneous one.
func (s *steps) isHet() bool { return s.world.getenv("SLURM_HET_SIZE") != "" }

func (s *steps) rankCommand(c component) []string {
	return append([]string{s.world.Executable, c.verb, "--dir", s.job.dir, "--component", c.name, "--rank-of-step"}, s.args...)
}

// stepOptions are those of srun: the component's own nodes, tasks and devices, and all of the memory there. A rank that
// fails ends no other: each closes its own files. The environment is that of the batch step: without a word srun would take
// SLURM_EXPORT_ENV, which says what sbatch was told.
func stepOptions(c component, het bool) []string {
	r := c.resources
	nodes := max(1, r.Nodes)
	out := []string{
		"--job-name=" + c.name, "--export=ALL", "--input=all", "--mpi=none", "--kill-on-bad-exit=0", "--wait=0", "--mem=0", "--exact",
		"--nodes=" + strconv.Itoa(nodes), "--ntasks=" + strconv.Itoa(c.ranks), "--relative=" + strconv.Itoa(r.FirstNode),
		"--distribution=block",
	}
	if het {
		out = append(out, "--het-group="+strconv.Itoa(r.HetGroup))
	}
	if r.CPUsPerTask > 0 {
		out = append(out, "--cpus-per-task="+strconv.Itoa(r.CPUsPerTask))
	}
	var gres []string
	if r.GPUsPerNode > 0 {
		gres = append(gres, "gpu:"+strconv.Itoa(r.GPUsPerNode))
	}
	if r.Gres != "" {
		gres = append(gres, r.Gres)
	}
	return append(out, "--gres="+cmp.Or(strings.Join(gres, ","), "none"))
}

// rankOfStep is the number that Slurm gave a task of a step.
func rankOfStep(w *World) (int, error) {
	n, err := strconv.Atoi(w.getenv("SLURM_PROCID"))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("SLURM_PROCID is %q: srun starts this program, or name its --rank", w.getenv("SLURM_PROCID"))
	}
	return n, nil
}

// mark sets the variables by which the processes of a rank are found, for what it starts itself: one step has one
// environment for all ranks.
func mark(w *World, j *job, component string, rank int) {
	w.Environ = append(append([]string{}, w.Environ...), markJob+"="+j.plan.Key, markComponent+"="+component+"/"+strconv.Itoa(rank))
}

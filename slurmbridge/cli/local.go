package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"assay.bench/slurmbridge"
)

// Local runs programs on this host, which has to be one from which the batch system can be used.
type Local struct {
	// Env reads a variable of this process's environment, of which only what a login sets is passed on.
	Env func(name string) string
}

// passed are the variables that a program gets of the environment.
func passed() []string {
	return []string{"HOME", "USER", "LOGNAME", "SHELL", "PATH", "SLURM_CONF"}
}

// stubborn is how long a program may take to end after its context did.
const stubborn = 5 * time.Second

// mostOutput is the longest answer: a list of ten thousand jobs is a tenth of it.
const mostOutput = 64 << 20

// Run runs a command to its end.
func (l Local) Run(ctx context.Context, c slurmbridge.Command) (slurmbridge.Output, error) {
	var out, errs bounded
	env := c.Env
	for _, name := range passed() {
		if value := l.Env(name); value != "" {
			env = append(slices.Clip(env), name+"="+value)
		}
	}
	program, err := find(c.Argv[0], env)
	if err != nil {
		return slurmbridge.Output{}, fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
	}
	cmd := exec.CommandContext(ctx, program, c.Argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, bytes.NewReader(c.Stdin), &out, &errs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stubborn
	err = cmd.Run()
	if ctx.Err() != nil {
		return slurmbridge.Output{}, fmt.Errorf("%w: %s: %w", slurmbridge.ErrUnreachable, c.Argv[0], context.Cause(ctx))
	}
	if out.over || errs.over {
		return slurmbridge.Output{}, fmt.Errorf("%w: %s printed more than %d MiB", slurmbridge.ErrUnreachable, c.Argv[0], mostOutput>>20)
	}
	result := slurmbridge.Output{Stdout: out.kept.Bytes(), Stderr: errs.kept.Bytes()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		result.Code = exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			result.Code = 128 + int(ws.Signal())
		}
		return result, nil
	}
	if err != nil {
		return slurmbridge.Output{}, fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
	}
	return result, nil
}

// find looks a program up in the PATH that it will get.
func find(name string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return name, nil
	}
	for _, e := range env {
		dirs, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(dirs, ":") {
			if !strings.HasPrefix(dir, "/") {
				continue // a relative folder would depend on where assay runs
			}
			if path, err := exec.LookPath(dir + "/" + name); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not in the PATH of this host: is it a login node of the site?", name)
}

// bounded keeps so much of an output, and no more.
type bounded struct {
	kept bytes.Buffer
	over bool
}

// Write takes everything, so that the program goes on.
func (b *bounded) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > mostOutput {
		b.over = true
		return len(p), nil
	}
	return b.kept.Write(p)
}

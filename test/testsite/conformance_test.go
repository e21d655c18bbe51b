//go:build e2e

package testsite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/test/site"
)

// Slurm's own programs on a login node pass the suite of all transports, on every version and without accounting.
func TestCLIConforms(t *testing.T) {
	if !isInside() {
		slot(t)
	}
	for _, name := range []string{site.Slurm2411, site.Slurm2411Plain, site.Slurm2205} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !isInside() {
				runInside(t, site.Up(t, name), "WORK", "ACCOUNT")
				return
			}
			conformance.Run(t, func(t *testing.T) conformance.Harness {
				runner := &faulty{Runner: cli.Local{Env: os.Getenv}}
				return harness(t, place{of(t, "WORK"), of(t, "ACCOUNT")}, runner, local.Files{}, local.Files{})
			})
		})
	}
}

// The same programs, and the files, over SSH from a machine that is no part of the site.
func TestSSHConforms(t *testing.T) {
	slot(t)
	program := nodeProgram(t)
	for _, name := range []string{site.Slurm2411, site.Slurm2411Plain, site.Slurm2205} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := site.Up(t, name)
			host := login(t, s)
			folder := filepath.Join(s.Get("WORK"), "ssh")
			if err := host.Probe(t.Context(), folder); err != nil {
				t.Fatal(err)
			}
			node, err := host.Stage(t.Context(), folder, program)
			if err != nil {
				t.Fatal(err)
			}
			where := place{s.Get("WORK"), s.Get("ACCOUNT")}
			conformance.Run(t, func(t *testing.T) conformance.Harness {
				return harness(t, where, &faulty{Runner: host}, host.Files(node), host)
			})
		})
	}
}

// login is the site's login node over SSH.
func login(t *testing.T, s *site.Site) *ssh.Host {
	t.Helper()
	key, keyErr := os.ReadFile(s.Get("SSH_KEY"))
	known, err := os.ReadFile(s.Get("SSH_KNOWN_HOSTS"))
	port, portErr := strconv.Atoi(s.Get("SSH_PORT"))
	if err := errors.Join(keyErr, err, portErr); err != nil {
		t.Fatal(err)
	}
	host, err := ssh.Open(ssh.Options{Target: ssh.Target{
		Host: s.Get("SSH_HOST"), Port: port, User: s.Get("SSH_USER"), KnownHosts: known, Keys: []ssh.Key{{PEM: key}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host
}

// nodeProgram is the assay-node that goes with this checkout.
func nodeProgram(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "assay-node")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "assay.bench/cmd/assay-node")
	cmd.Stderr = t.Output()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// place is where a harness works, and whom its jobs are charged to.
type place struct{ work, account string }

// harness is a site without a job: each case has an origin and a folder of its own.
func harness(t *testing.T, where place, runner *faulty, files slurmbridge.Files, prober slurmbridge.Prober) conformance.Harness {
	t.Helper()
	open := func(t *testing.T, origin string) slurmbridge.Jobs {
		t.Helper()
		slurm, err := cli.Open(t.Context(), cli.Options{Runner: runner, Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { endAll(t, slurm) })
		return struct {
			*cli.Slurm
			cli.Prober
		}{slurm, cli.Prober{Slurm: slurm, Files: prober}}
	}
	return siteHarness(t, where, open, runner, files, conformance.Faults{
		LoseReply: runner.loseReply, Noise: runner.setNoise, Truncate: runner.truncate, Outage: runner.setOutage,
	})
}

// siteHarness is what all transports share. The runner does what none of them is asked to do.
func siteHarness(t *testing.T, where place, open func(t *testing.T, origin string) slurmbridge.Jobs, runner slurmbridge.Runner,
	files slurmbridge.Files, faults conformance.Faults) conformance.Harness {
	t.Helper()
	faults.Requeue = func(id string) { requeue(t, runner, id) }
	origin := random(t)
	work := filepath.Join(where.work, "conformance", origin)
	return conformance.Harness{
		Jobs: open(t, origin), Files: files, Origin: origin, WorkDir: work, Parallel: true,
		Part:    slurmbridge.Part{Partition: "cpu", Account: where.account, QOS: "default", CPUsPerTask: 1, MemoryMiB: 64},
		Program: func(t *testing.T, p conformance.Program) string { return program(t, runner, files, work, p) },
		Reopen:  func(t *testing.T) slurmbridge.Jobs { return open(t, origin) },
		Other:   open,
		// slurmctld looks at limits every 30 s, and a limit is at least a minute.
		ShortLimit: time.Minute, Patience: 3 * time.Minute, Many: 20,
		Faults: faults,
	}
}

func random(t *testing.T) string {
	t.Helper()
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// endAll leaves no job behind.
func endAll(t *testing.T, slurm slurmbridge.Jobs) {
	ctx := context.Background() // the test's own is over
	jobs, err := slurm.List(ctx)
	for _, j := range jobs {
		if !j.Over() {
			err = errors.Join(err, slurm.Cancel(ctx, j.ID))
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// program writes a stand-in for assay-node.
func program(t *testing.T, runner slurmbridge.Runner, files slurmbridge.Files, work string, p conformance.Program) string {
	t.Helper()
	text := "#!/bin/bash\n"
	if p.IgnoreTerm {
		text += "trap '' TERM\n"
	}
	if p.Stray {
		text += "setsid bash -c 'trap \"\" TERM; sleep 600; true' &\n"
	}
	text += fmt.Sprintf("read -t %.3f <> <(:)\nexit %d\n", p.Takes.Seconds(), p.Code)
	path := filepath.Join(work, "bin", random(t), "assay-node")
	if err := files.Write(t.Context(), map[string][]byte{path: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	if out, err := runner.Run(t.Context(), slurmbridge.Command{Argv: []string{"chmod", "0700", path}}); err != nil || out.Code != 0 {
		t.Fatalf("chmod: %v, %s", err, out.Stderr)
	}
	return path
}

// requeue has Slurm start a job again, which Submit asks it not to do by itself.
func requeue(t *testing.T, runner slurmbridge.Runner, id string) {
	t.Helper()
	for _, argv := range [][]string{{"scontrol", "update", "JobId=" + id, "Requeue=1"}, {"scontrol", "requeue", id}} {
		out, err := runner.Run(t.Context(), slurmbridge.Command{Argv: argv})
		if err != nil || out.Code != 0 {
			t.Fatalf("%q: %v, exit code %d: %s", argv, err, out.Code, out.Stderr)
		}
	}
}

// faulty is a runner between us and the site that can err.
type faulty struct {
	slurmbridge.Runner

	mu             sync.Mutex
	noise, outage  bool
	lose, truncats int
}

func (f *faulty) loseReply()        { f.set(func() { f.lose++ }) }
func (f *faulty) truncate()         { f.set(func() { f.truncats++ }) }
func (f *faulty) setNoise(on bool)  { f.set(func() { f.noise = on }) }
func (f *faulty) setOutage(on bool) { f.set(func() { f.outage = on }) }

func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Run runs a command and spoils its answer.
func (f *faulty) Run(ctx context.Context, c slurmbridge.Command) (slurmbridge.Output, error) {
	f.mu.Lock()
	outage, noise := f.outage, f.noise
	f.mu.Unlock()
	if outage {
		return slurmbridge.Output{}, fmt.Errorf("%w: an outage", slurmbridge.ErrUnreachable)
	}
	out, err := f.Runner.Run(ctx, c)
	f.mu.Lock()
	defer f.mu.Unlock()
	if noise {
		out.Stderr = append([]byte("sbatch: lua: welcome, 1 job: 17|error\nslurm_load_jobs: note\n"), out.Stderr...)
	}
	switch {
	case f.lose > 0 && c.Argv[0] == "sbatch":
		f.lose--
		return slurmbridge.Output{}, fmt.Errorf("%w: the answer is lost", slurmbridge.ErrUnreachable)
	case f.truncats > 0 && c.Argv[0] == "squeue":
		f.truncats--
		out.Stdout = out.Stdout[:len(out.Stdout)*2/3]
	}
	return out, err
}

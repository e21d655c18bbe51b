//go:build e2e

package testsite

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// Slurm's own programs on a login node pass the suite of all transports, on every version and without accounting.
func TestCLIConforms(t *testing.T) {
	t.Parallel()
	each := map[string]func(*testing.T){}
	for _, name := range []string{site.Slurm2411, site.Slurm2411Plain, site.Slurm2205} {
		each[name] = func(t *testing.T) {
			if !isInside() {
				runInside(t, site.Up(t, name), "WORK", "ACCOUNT", "ACCOUNTING")
				return
			}
			left := without("dial", "whoever is there needs no tunnel")
			for _, name := range []string{"node lost", "prolog failed"} {
				left[name] = "it takes root, who is outside: TestSSHConforms does it to the same programs"
			}
			conformance.RunShared(t, left, func(t *testing.T) conformance.Harness {
				runner := &faulty{Runner: cli.Local{Env: os.Getenv}}
				where := place{work: of(t, "WORK"), account: of(t, "ACCOUNT"), accounting: of(t, "ACCOUNTING") != ""}
				return harness(t, where, runner, local.Files{}, local.Files{})
			})
		}
	}
	user.AtOnce(t, each)
}

// The same programs, and the files, over SSH from a machine that is no part of the site.
func TestSSHConforms(t *testing.T) {
	t.Parallel()
	program, each := nodeProgram(t), map[string]func(*testing.T){}
	for name, way := range map[string]func(*testing.T, *site.Site) *ssh.Host{
		site.Slurm2411: login, site.Slurm2411Plain: throughJumpHost, site.Slurm2205: login,
	} {
		each[name] = func(t *testing.T) {
			s := site.Up(t, name)
			host := way(t, s)
			node := staged(t, s, host, program)
			t.Run("master", func(t *testing.T) { conformance.Dialer(t, master(t, s.For(t))) })
			t.Run("forwarding", func(t *testing.T) { noForwarding(t, s.For(t)) })
			conformance.RunShared(t, without(), func(t *testing.T) conformance.Harness {
				h := harness(t, placeOf(t, s), &faulty{Runner: host}, host.Files(node), host)
				h.Dialer = host
				return h
			})
		}
	}
	user.AtOnce(t, each)
}

// without are the cases that no site can run, and some more with their reasons.
func without(more ...string) map[string]string {
	left := map[string]string{"clock off": "the clock is the machine's, and no name space has one of its own"}
	for pair := range slices.Chunk(more, 2) {
		left[pair[0]] = pair[1]
	}
	return left
}

// staged brings assay-node to a site, as a Site does, and returns its path.
func staged(t *testing.T, s *site.Site, host *ssh.Host, program []byte) string {
	t.Helper()
	folder := filepath.Join(s.Get("WORK"), "ssh")
	if err := host.Probe(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	node, err := host.Stage(t.Context(), folder, program)
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// nodeProgram is the assay-node under test.
func nodeProgram(t *testing.T) []byte {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(built(t), "assay-node"))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// place is where a harness works, and whom its jobs are charged to.
type place struct {
	work, account string
	accounting    bool
	// site is there for what takes root; nil inside of it.
	site *site.Site
}

// placeOf is for a harness outside of a site.
func placeOf(t *testing.T, s *site.Site) place {
	return place{s.Get("WORK"), s.Get("ACCOUNT"), s.Get("ACCOUNTING") != "", s.For(t)}
}

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
	faults.Requeue = func(id string) {
		mayRequeue(t, runner, id)
		command(t, runner, "scontrol", "requeue", id)
	}
	faults.Purge = func(id string) { purge(t, runner, id) }
	if s := where.site; s != nil {
		faults.LoseNode = func(id string) { s.Daemon("kill", "slurmd@"+command(t, runner, "squeue", "-h", "-o", "%N", "-j", id)) }
		faults.FailProlog = func(id string) {
			mayRequeue(t, runner, id)
			if err := os.WriteFile(filepath.Join(s.Get("STATE"), "fail-prolog-"+id), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	origin := random(t)
	work := filepath.Join(where.work, "conformance", origin)
	return conformance.Harness{
		Jobs: open(t, origin), Files: files, Origin: origin, WorkDir: work,
		Part:    slurmbridge.Part{Partition: "cpu", Account: where.account, QOS: "default", CPUsPerTask: 1, MemoryMiB: 64},
		Program: func(t *testing.T, p conformance.Program) string { return program(t, runner, files, work, p) },
		Reopen:  func(t *testing.T) slurmbridge.Jobs { return open(t, origin) },
		Other:   open,
		Nodes:   []string{"mel2001", "mel2002", "mel2003", "mel2004"}, NoAccounting: !where.accounting,
		BadWorkDirs: func(t *testing.T) map[string]string { return badWorkDirs(t, runner, work) },
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
	command(t, runner, "chmod", "0700", path)
	return path
}

// command runs a command that has to end well, and returns what it printed.
func command(t *testing.T, runner slurmbridge.Runner, argv ...string) string {
	t.Helper()
	out, err := runner.Run(t.Context(), slurmbridge.Command{Argv: argv})
	if err != nil || out.Code != 0 {
		t.Fatalf("%q: %v, exit code %d: %s", argv, err, out.Code, out.Stderr)
	}
	return strings.TrimSpace(string(out.Stdout))
}

// mayRequeue lets Slurm start a job again, which Submit asks it not to do by itself.
func mayRequeue(t *testing.T, runner slurmbridge.Runner, id string) {
	t.Helper()
	command(t, runner, "scontrol", "update", "JobId="+id, "Requeue=1")
}

// purge waits until Slurm forgets a job, for nobody can tell it to.
func purge(t *testing.T, runner slurmbridge.Runner, id string) {
	t.Helper()
	user.Until(t, "Slurm forgets the job "+id, func() bool {
		out, err := runner.Run(t.Context(), slurmbridge.Command{Argv: []string{"squeue", "-h", "-t", "all", "-j", id}})
		return err == nil && strings.TrimSpace(string(out.Stdout)) == ""
	})
}

// badWorkDirs makes folders that no job's programs may lie in.
func badWorkDirs(t *testing.T, runner slurmbridge.Runner, work string) map[string]string {
	t.Helper()
	dir := filepath.Join(work, "bad")
	command(t, runner, "bash", "-c", `mkdir -p "$1" && cd "$1" && mkdir -m 0770 group && mkdir -m 0777 world && : >file`, "-", dir)
	return map[string]string{
		"/usr":              "belongs to user",
		"/usr/below":        "ermission denied",
		dir + "/group":      "others may write",
		dir + "/world":      "chmod go-w",
		dir + "/file":       "not a directory",
		dir + "/file/below": "not a directory",
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
		// squeue has no mark of an end, and its lines are of one length: a cut between two of them would not be one.
		out.Stdout = bytes.TrimSuffix(out.Stdout[:len(out.Stdout)*2/3], []byte("\n"))
	}
	return out, err
}

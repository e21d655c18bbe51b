// Package cli is the batch system Slurm by its own programs: squeue, sbatch, scontrol, scancel and sacct, run by a
// Runner on a login node.
//
// Its programs obey the environment, so they get one of our own; and they print delimited text, which is the same in all
// versions, and small.
package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/wire"
)

// Options of Open. Runner and Origin are required.
type Options struct {
	// Runner runs Slurm's programs.
	Runner slurmbridge.Runner
	// Origin of the control plane, as for slurmbridge.NewKey.
	Origin string
}

// Slurm is a Slurm cluster. It implements slurmbridge.Jobs, Accountant and Preflighter.
type Slurm struct {
	runner slurmbridge.Runner
	origin string
	facts  Facts

	mu sync.Mutex
	// ids are the keys of the jobs that were seen here: only those are released and cancelled.
	ids map[string]slurmbridge.Key
}

// Open asks the cluster what it is.
func Open(ctx context.Context, o Options) (*Slurm, error) {
	origin := slurmbridge.Origin8(o.Origin)
	if len(origin) != 8 {
		return nil, fmt.Errorf("origin %q: it needs 8 hexadecimal digits", o.Origin)
	}
	c := &Slurm{runner: o.Runner, origin: origin, ids: map[string]slurmbridge.Key{}}
	var err error
	c.facts, err = c.ask(ctx)
	return c, err
}

// run runs one of Slurm's programs, each of which is a request.
func (c *Slurm) run(ctx context.Context, stdin []byte, argv ...string) (slurmbridge.Output, error) {
	if err := slurmbridge.Turn(ctx); err != nil {
		return slurmbridge.Output{}, err
	}
	return c.runner.Run(ctx, slurmbridge.Command{
		Argv: argv, Stdin: stdin, Env: []string{wire.EnvLocale, wire.EnvZone, wire.EnvTimes},
	})
}

// query runs a program that changes nothing. One that fails has said nothing.
func (c *Slurm) query(ctx context.Context, argv ...string) ([]byte, error) {
	out, err := c.run(ctx, nil, argv...)
	if err != nil {
		return nil, err
	}
	if out.Code != 0 {
		return nil, fmt.Errorf("%w: %s: %s", slurmbridge.ErrUnreachable, argv[0], said(out))
	}
	return out.Stdout, nil
}

// said is the last line of what a program that failed printed.
func said(out slurmbridge.Output) string {
	for _, text := range [][]byte{out.Stderr, out.Stdout} {
		if lines := bytes.Split(bytes.TrimSpace(text), []byte("\n")); len(lines[len(lines)-1]) > 0 {
			return string(lines[len(lines)-1])
		}
	}
	return fmt.Sprintf("exit code %d", out.Code)
}

// List returns the jobs of this origin, oldest first.
func (c *Slurm) List(ctx context.Context) ([]slurmbridge.Job, error) {
	return c.squeue(ctx, func(k slurmbridge.Key) bool { return k.Origin() == c.origin })
}

// All returns this user's jobs under the keys of every origin, oldest first.
func (c *Slurm) All(ctx context.Context) ([]slurmbridge.Job, error) {
	return c.squeue(ctx, slurmbridge.Key.Valid)
}

// Find returns the jobs under the keys, oldest first.
func (c *Slurm) Find(ctx context.Context, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return c.squeue(ctx, func(k slurmbridge.Key) bool { return slices.Contains(keys, k) }, "--name="+join(keys))
}

// squeue asks slurmctld for our user's jobs in every state. Those of this cluster only: a federation would list a job once
// for each of its clusters, and costs a request more to find out that there is none.
func (c *Slurm) squeue(ctx context.Context, want func(slurmbridge.Key) bool, more ...string) ([]slurmbridge.Job, error) {
	argv := append([]string{"squeue", "--me", "--local", "--noheader", "--states=all", wire.SqueueFormat()}, more...)
	out, err := c.query(ctx, argv...)
	if err != nil {
		return nil, err
	}
	jobs, err := wire.ParseSqueue(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
	}
	return c.known(jobs, want), nil
}

// known leaves the wanted jobs, oldest first, and notes their ids.
func (c *Slurm) known(jobs []slurmbridge.Job, want func(slurmbridge.Key) bool) []slurmbridge.Job {
	jobs = slices.DeleteFunc(jobs, func(j slurmbridge.Job) bool { return !want(j.Key) })
	slices.SortFunc(jobs, wire.Oldest)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range jobs {
		if j.Key.Origin() == c.origin {
			c.ids[j.ID] = j.Key
		}
	}
	return jobs
}

func join(keys []slurmbridge.Key) string {
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = string(k)
	}
	return strings.Join(words, ",")
}

// Past returns the jobs under the keys from sacct.
func (c *Slurm) Past(ctx context.Context, since time.Time, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	if !c.facts.Accounting {
		return nil, slurmbridge.ErrNoAccounting
	}
	if len(keys) == 0 {
		return nil, nil
	}
	argv := append([]string{"sacct", "--name=" + join(keys)}, wire.SacctArgs(since)...)
	out, err := c.query(ctx, argv...)
	if err != nil {
		return nil, err
	}
	jobs, err := wire.ParseSacct(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
	}
	return c.known(jobs, func(k slurmbridge.Key) bool { return slices.Contains(keys, k) }), nil
}

// Submit hands in a job, held.
func (c *Slurm) Submit(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	out, err := c.sbatch(ctx, key, s, "--parsable", "--hold")
	if err != nil {
		return err
	}
	if out.Code != 0 {
		return refusal(out).Err("sbatch")
	}
	// The id counts only when it comes through Find, but an answer without one is no answer.
	if !wire.IsJobID(out.Stdout) {
		return fmt.Errorf("sbatch printed no id of a job: %s", said(out))
	}
	return nil
}

// Preflight asks sbatch whether the job could ever run. It tests the nodes that are up, and does not say when others would
// do: so its word is final only where all nodes of the partitions are up.
func (c *Slurm) Preflight(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	out, err := c.sbatch(ctx, key, s, "--test-only")
	if err != nil || out.Code == 0 {
		return err
	}
	r := refusal(out)
	if r.Answer == wire.Nodes && !c.nodesUp(ctx, s) {
		return fmt.Errorf("%w: %s", slurmbridge.ErrNodesAway, r.Words)
	}
	return r.Err("sbatch")
}

// nodesUp says whether it is known that all nodes of the partitions that a job asks for are up.
func (c *Slurm) nodesUp(ctx context.Context, s slurmbridge.Script) bool {
	argv := []string{"sinfo", "--local", "--noheader", "--format=%T"}
	var partitions []string
	for _, p := range s.Parts {
		partitions = append(partitions, p.Partition)
	}
	which := "--partition=" + strings.Join(partitions, ",") // named ones are shown though they may be hidden
	if slices.Contains(partitions, "") {
		which = "--all" // the site's own choice is not known here; sinfo takes one of the two options
	}
	argv = append(argv, which)
	out, err := c.query(ctx, argv...)
	return err == nil && wire.NodesUp(out)
}

// sbatch runs sbatch with the script on its standard input.
func (c *Slurm) sbatch(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script, options ...string) (slurmbridge.Output, error) {
	text, err := s.Render(key)
	if err != nil {
		return slurmbridge.Output{}, fmt.Errorf("%w: %w", slurmbridge.ErrRefused, err)
	}
	if key.Origin() != c.origin {
		return slurmbridge.Output{}, fmt.Errorf("%w: key %s is not of origin %s", slurmbridge.ErrRefused, key, c.origin)
	}
	argv := append([]string{"sbatch", "--export=" + c.facts.export()}, options...)
	return c.run(ctx, text, argv...)
}

// refusal is what sbatch said.
func refusal(out slurmbridge.Output) wire.Refusal {
	r := wire.ReadRefusal(out.Stderr)
	if r.Words == "" {
		r.Words = said(out)
	}
	return r
}

// Release lifts the hold of a job of this origin.
func (c *Slurm) Release(ctx context.Context, id string) error {
	if key, err := c.keyOf(ctx, id); err != nil || key == "" {
		return err
	}
	out, err := c.run(ctx, nil, "scontrol", "release", id)
	if err != nil || out.Code == 0 || wire.IsOver(out.Stderr) || wire.IsOver(out.Stdout) {
		return err
	}
	return fmt.Errorf("release of job %s: %s", id, said(out))
}

// Cancel ends a job of this origin: its programs get TERM, and after the site's KillWait what is left gets KILL.
func (c *Slurm) Cancel(ctx context.Context, id string) error {
	key, err := c.keyOf(ctx, id)
	if err != nil || key == "" {
		return err
	}
	// The name guards against an id that was given out again.
	out, err := c.run(ctx, nil, "scancel", "--name="+string(key), id)
	if err != nil || out.Code == 0 || wire.IsOver(out.Stderr) {
		return err
	}
	return fmt.Errorf("cancel of job %s: %s", id, said(out))
}

// keyOf is the key of a job of this origin; "" for a job that is not, or that nobody knows.
func (c *Slurm) keyOf(ctx context.Context, id string) (slurmbridge.Key, error) {
	c.mu.Lock()
	key, ok := c.ids[id]
	c.mu.Unlock()
	if ok {
		return key, nil
	}
	if _, err := c.List(ctx); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[id], nil
}

// Prober looks whether slurmctld answers and the work folder can be used, without a list of jobs.
type Prober struct {
	Slurm *Slurm
	// Files probes the work folder.
	Files slurmbridge.Prober
}

// Probe looks through both doors.
func (p Prober) Probe(ctx context.Context, workDir string) error {
	if _, err := p.Slurm.query(ctx, "scontrol", "ping"); err != nil {
		return err
	}
	return p.Files.Probe(ctx, workDir)
}

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"assay.bench/internal/rundir"
)

// batch is the batch step of a job: it starts every component and is there until the last has ended.
type batch struct {
	world     *World
	job       *job
	lostAfter time.Duration
	launcher  launcher
	events    *rundir.EventLog

	children []*child
	stopOnce sync.Once
	stopping chan struct{}
}

// runJob is `assay-node job`. It returns the exit code of the job.
func runJob(w *World, dir string, lostAfter time.Duration) int {
	vault, vaultErr := emptyVault(dir)
	j, err := openJob(dir)
	if err == nil {
		err = vaultErr
	}
	if err != nil {
		fmt.Fprintf(w.Stderr, "assay-node job: %v\n", err)
		return asEnding(err).code
	}
	b := &batch{world: w, job: j, lostAfter: lostAfter, stopping: make(chan struct{})}
	if err := b.open(); err != nil {
		fmt.Fprintf(w.Stderr, "assay-node job: %v\n", err)
		return rundir.ExitFailed
	}
	return b.run(vault)
}

// emptyVault reads and removes secrets/. It does so before anything else can fail, so that no secret stays. A name that
// begins with a dot is what a process of assay was writing when it was killed; the one that submitted wrote a whole file.
func emptyVault(dir string) (map[string]rundir.Credential, error) {
	path := filepath.Join(dir, rundir.SecretsDir)
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	vault := map[string]rundir.Credential{}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(path, e.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var c rundir.Credential
		if json.Unmarshal(b, &c) != nil { // the error could quote what is secret
			errs = append(errs, fmt.Errorf("%s/%s is no credential in JSON", rundir.SecretsDir, e.Name()))
			continue
		}
		vault[e.Name()] = c
	}
	if err := os.RemoveAll(path); err != nil {
		errs = append(errs, fmt.Errorf("the secrets cannot be removed: %w", err))
	}
	return vault, errors.Join(errs...)
}

func (b *batch) open() error {
	if err := becomeReaper(); err != nil {
		return fmt.Errorf("become a reaper of orphans: %w", err)
	}
	var err error
	if b.launcher, err = newLauncher(b.world, b.job, b.lostAfter); err != nil {
		return err
	}
	b.events, err = rundir.OpenEvents(filepath.Join(b.job.dir, rundir.EventsFile), "", 0, b.world.PID, b.world.clock)
	return err
}

// components lists what the plan starts. A component gets its own credential and no other.
func (b *batch) components(vault map[string]rundir.Credential) ([]component, error) {
	var out []component
	own := func(name string) (secrets, error) {
		if name == "" {
			return secrets{}, nil
		}
		c, ok := vault[name]
		if !ok {
			return secrets{}, fmt.Errorf("%s/%s is missing", rundir.SecretsDir, name)
		}
		return secrets{Credential: &c}, nil
	}
	for _, s := range b.job.plan.Services {
		name := ""
		if s.Authenticated || s.Credential != (rundir.CredentialEnv{}) {
			name = s.Name
		}
		sec, err := own(name)
		if err != nil {
			return nil, err
		}
		out = append(out, component{"serve", s.Name, s.Ranks, sec, s.StopWithin(), s.Resources})
	}
	for _, c := range b.job.plan.Clients {
		sec, err := own(c.Target.Credential)
		if err != nil {
			return nil, err
		}
		out = append(out, component{"load", c.Name, c.Ranks, sec, c.StopWithin(), c.Resources})
	}
	return out, nil
}

// run starts everything, waits for everything and returns the worst exit code.
func (b *batch) run(vault map[string]rundir.Credential) int {
	defer b.events.Close()
	b.log("JobStarted", "key", b.job.plan.Key, "plan", b.job.planHash, "pid", b.world.PID)
	if end := b.pullImages(); end != nil {
		return b.refuse(end)
	}
	worst := rundir.ExitOK
	all, err := b.components(vault)
	if err != nil {
		b.sayf("%v", err)
		return rundir.ExitFailed
	}
	for _, c := range all {
		started, err := b.launcher.start(c)
		b.children = append(b.children, started...)
		if err != nil {
			b.sayf("%v", err)
			worst = rundir.ExitFailed
			b.stopAll(syscall.SIGTERM)
			break
		}
	}
	over := make(chan struct{})
	var signals, waiting sync.WaitGroup
	signals.Go(func() { b.forward(over) })
	codes := make([]int, len(b.children))
	for i, c := range b.children {
		waiting.Go(func() { codes[i] = b.wait(c) })
	}
	waiting.Wait()
	close(over)
	signals.Wait()
	b.sweep()
	for _, code := range codes {
		worst = max(worst, code)
	}
	if left := restOfJob(b.world.PID, b.job.plan.Key).kill(); left > 0 {
		b.sayf("%d processes of the job could not be ended", left)
		worst = max(worst, rundir.ExitFailed)
	}
	b.log("JobEnded", "code", worst)
	return worst
}

// forward passes signals on until over is closed.
func (b *batch) forward(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case sig := <-b.world.Signals:
			b.log("Signal", "signal", sig.String())
			if sig == syscall.SIGUSR1 {
				for _, c := range b.children {
					c.signal(sig)
				}
				continue
			}
			b.stopAll(sig)
		}
	}
}

// stopAll asks every component to end. Each has a deadline of its own, from now.
func (b *batch) stopAll(sig os.Signal) {
	b.stopOnce.Do(func() { close(b.stopping) })
	for _, c := range b.children {
		c.signal(sig)
	}
}

// wait waits for one child, ends it when it has passed the deadline of a stop, and removes what it left behind.
func (b *batch) wait(c *child) int {
	select {
	case <-c.done:
	case <-b.stopping:
		deadline := time.NewTimer(c.component.stopWithin)
		defer deadline.Stop()
		select {
		case <-c.done:
		case <-deadline.C:
			b.sayf("%s did not end within %s and is killed", c, c.component.stopWithin)
			c.kill()
			<-c.done
		}
	}
	code := c.code
	for rank := c.rank; rank < c.rank+c.ranks; rank++ {
		left := restOfRank(b.world.PID, false, b.job.plan.Key, c.component.name, rank).kill()
		b.log("ComponentEnded", "name", fmt.Sprintf("%s/%d", c.component.name, rank), "code", c.code, "how", c.how, "left", left)
		if err := rescue(b.world, b.job, c.component.name, rank); err != nil {
			b.sayf("%s/%d: its last samples are lost: %v", c.component.name, rank, err)
		}
		code = max(code, b.closeRank(c, rank))
	}
	return code
}

// closeRank writes how a rank ended that could not write it itself, so that nobody waits for it. It returns the exit code
// of its own failure.
func (b *batch) closeRank(c *child, rank int) int {
	dir := rundir.Rank(b.job.dir, c.component.name, rank)
	p := peer{name: c.component.name, rank: rank, dir: dir}
	p.look(time.Now())
	if p.over() {
		return rundir.ExitOK
	}
	reason := rundir.ExitReasonError
	if c.component.verb == "serve" {
		reason = rundir.ExitReasonServiceDied
	}
	how := c.how
	if how == "" {
		how = fmt.Sprintf("exit code %d", c.code)
	}
	end := stepEnding(b.job.dir, reason, fmt.Sprintf("assay-node %s ended without a word: %s", c.component.verb, how), c.component.resources)
	end.truncated = true
	st := rundir.Status{Version: rundir.Version, Repeat: b.job.plan.Repeats.First, Host: b.world.Hostname, PID: c.pid}
	if p.status != nil {
		st = *p.status
	}
	st.Heartbeat++
	st.Phase, st.Reason, st.Message = rundir.PhaseFailed, end.reason, end.message
	st.Ready, st.ServerPID, st.Live, st.Time = false, 0, nil, b.world.Now().UTC()
	if rank == 0 {
		c.lost = st.Repeat
	}
	var errs []error
	if p.closed(st.Repeat) == nil {
		errs = append(errs, writeExit(rundir.Repeat(dir, st.Repeat), end, b.world.Now()))
	}
	errs = append(errs, writeExit(dir, end, b.world.Now()), writeJSON(filepath.Join(dir, rundir.StatusFile), st))
	if err := errors.Join(errs...); err != nil {
		b.sayf("%s/%d: %s: %v", c.component.name, rank, end.message, err)
		b.stopAll(syscall.SIGTERM) // the others would wait for a word of it
		return asEnding(err).code
	}
	b.sayf("%s/%d: %s", c.component.name, rank, end.message)
	return rundir.ExitOK
}

func (b *batch) log(event string, fields ...any) {
	if err := b.events.Log(event, fields...); err != nil {
		b.sayf("%v", err)
	}
}

func (b *batch) sayf(format string, args ...any) {
	fmt.Fprintf(b.world.Stderr, "assay-node job: "+format+"\n", args...)
}

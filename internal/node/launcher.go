package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"assay.bench/internal/rundir"
)

// component is what the batch step starts: all ranks of a service or a client.
type component struct {
	// verb is serve or load.
	verb  string
	name  string
	ranks int
	// secrets is the standard input of each rank.
	secrets secrets
	// stopWithin is how long the component may take to end after TERM.
	stopWithin time.Duration
	resources  rundir.Resources
}

// launcher starts components.
type launcher interface {
	// start starts all ranks of a component. Those that it returns beside an error run.
	start(c component) ([]*child, error)
}

// child is a process that the batch step started: one rank, or all ranks of a component that one step runs.
type child struct {
	component component
	// rank is the first of ranks.
	rank, ranks int
	pid         int
	// send sends it a signal other than KILL.
	send func(syscall.Signal)
	// done is closed when the process has ended; code and how are then set.
	done chan struct{}
	code int
	how  string
	// lost is the repeat in which rank 0 ended without a word; 0 for none.
	lost int
}

// newLauncher returns the launcher that a plan names.
func newLauncher(w *World, j *job, lostAfter time.Duration) (launcher, error) {
	told := []string{"--lost-after", lostAfter.String()}
	switch j.plan.Launcher {
	case rundir.LaunchProcess:
		return &processes{w, j, told}, nil
	case rundir.LaunchSrun:
		return newSteps(w, j, told...)
	}
	return nil, fmt.Errorf("this assay-node has no launcher %q: use the assay and the assay-node of one release", j.plan.Launcher)
}

// processes starts every rank as a child process in a process group of its own.
type processes struct {
	world *World
	job   *job
	args  []string // what every rank is told
}

func (p *processes) start(c component) ([]*child, error) {
	var out []*child
	for rank := range c.ranks {
		ch, err := p.one(c, rank)
		if err != nil {
			return out, fmt.Errorf("start %s/%d: %w", c.name, rank, err)
		}
		out = append(out, ch)
	}
	return out, nil
}

func (p *processes) one(c component, rank int) (*child, error) {
	stdin, err := json.Marshal(c.secrets)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.world.Executable, append([]string{c.verb, "--dir", p.job.dir, "--component", c.name,
		"--rank", strconv.Itoa(rank)}, p.args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = p.world.Stderr, p.world.Stderr
	cmd.Env = append(append([]string{}, p.world.Environ...),
		markJob+"="+p.job.plan.Key, markComponent+"="+c.name+"/"+strconv.Itoa(rank))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return watch(c, rank, 1, cmd), nil
}

// watch waits in the background for a process that has been started for some ranks of a component.
func watch(c component, rank, ranks int, cmd *exec.Cmd) *child {
	ch := &child{component: c, rank: rank, ranks: ranks, pid: cmd.Process.Pid, done: make(chan struct{})}
	ch.send = func(sig syscall.Signal) { _ = syscall.Kill(ch.pid, sig) } // it may have ended just now
	go func() {
		ch.code, ch.how = exitOf(cmd.Wait())
		close(ch.done)
	}()
	return ch
}

// exitOf returns the exit code of a process and, when a signal or something else ended it, what.
func exitOf(err error) (code int, how string) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return rundir.ExitOK, ""
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), ""
	}
	return rundir.ExitFailed, err.Error()
}

// signal sends a signal to the process alone: it passes it on as it sees fit.
func (c *child) signal(sig os.Signal) {
	if s, ok := sig.(syscall.Signal); ok && !c.over() {
		c.send(s)
	}
}

func (c *child) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// kill ends the process and its group.
func (c *child) kill() {
	if !c.over() {
		_ = syscall.Kill(-c.pid, syscall.SIGKILL) // it may have ended just now
	}
}

func (c *child) String() string {
	if c.ranks == 1 {
		return c.component.name + "/" + strconv.Itoa(c.rank)
	}
	return fmt.Sprintf("%s/%d-%d", c.component.name, c.rank, c.rank+c.ranks-1)
}

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"assay.bench/internal/rundir"
)

// server is one run of a service's program.
type server struct {
	cmd   *exec.Cmd
	ports map[string]int
	// logPath and logFrom say where its words begin.
	logPath string
	logFrom int64
	// done is closed when the process has ended; err is then how.
	done chan struct{}
	err  error
}

// launch is what a server is made of.
type launch struct {
	world *World
	job   *job
	svc   *rundir.Service
	rank  int
	dir   string
	bind  string
	cred  *rundir.Credential
}

// builtin are the names that a command line may use beside its own environment.
func (l *launch) builtin(ports map[string]int) map[string]string {
	m := map[string]string{"HOST": l.bind, "DIR": l.dir, "ID": l.id()}
	for i, p := range l.svc.Ports {
		number := strconv.Itoa(ports[p.Name])
		if i == 0 {
			m["PORT"], m["ADDRESS"] = number, net.JoinHostPort(l.bind, number)
		}
		m["PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))] = number
	}
	return m
}

// id is a name that no other rank has, of this run or of another.
func (l *launch) id() string {
	return fmt.Sprintf("%s-%s-%d", strings.ReplaceAll(l.job.plan.Key, ".", "-"), l.svc.Name, l.rank)
}

// secretEnv is the credential as the server's program wants it.
func (l *launch) secretEnv() []string {
	if l.cred == nil {
		return nil
	}
	var out []string
	for _, e := range [][2]string{
		{l.svc.Credential.Token, l.cred.Token},
		{l.svc.Credential.Username, l.cred.Username},
		{l.svc.Credential.Password, l.cred.Password},
	} {
		if e[0] != "" {
			out = append(out, e[0]+"="+e[1])
		}
	}
	return out
}

// command makes a process of the service: bare, or in its image.
func (l *launch) command(ctx context.Context, argv []string, ports map[string]int) (*exec.Cmd, error) {
	args, environ := commandLine(argv, l.svc.Env, l.builtin(ports))
	find := pathLookup(l.world.getenv("PATH"))
	environ = append(environ, l.secretEnv()...)
	var err error
	if l.svc.Image == nil {
		args, err = bareArgv(args, l.world.Executable, find)
	} else {
		args, err = containerArgv(l.svc.Image, l.dir, l.folders(), l.svc.Image.GPUs || l.svc.Resources.GPUsPerNode > 0, args, find)
		if mask := l.world.getenv("CUDA_VISIBLE_DEVICES"); mask != "" {
			environ = append(environ, "CUDA_VISIBLE_DEVICES="+mask)
		}
		environ = containerEnv(environ)
	}
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = l.dir
	cmd.Env = append(append([]string{}, l.world.Environ...), environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, nil
}

// start takes ports and starts the server.
func (l *launch) start(ctx context.Context) (*server, error) {
	ports, err := pickPorts(ctx, l.svc.Ports, l.bind)
	if err != nil {
		return nil, err
	}
	cmd, err := l.command(context.Background(), l.svc.Argv, ports)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(l.dir, rundir.LogFile)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	st, err := log.Stat()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, endf(rundir.ExitReasonProgramMissing, "%s", missing(cmd.Path, err))
	}
	s := &server{cmd: cmd, ports: ports, logPath: path, logFrom: st.Size(), done: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// tail is the server's last words.
func (s *server) tail() string { return logTail(s.logPath, s.logFrom) }

// ended says whether the process has ended.
func (s *server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// how says how the process ended.
func (s *server) how() string {
	var exit *exec.ExitError
	switch {
	case s.err == nil:
		return "ended with exit code 0"
	case errors.As(s.err, &exit) && exit.ExitCode() >= 0:
		return fmt.Sprintf("ended with exit code %d", exit.ExitCode())
	}
	return "ended: " + s.err.Error()
}

// stop ends the process group: TERM, and KILL when the time is over. The error says that KILL was needed.
func (s *server) stop(within time.Duration) error {
	_ = syscall.Kill(-s.pid(), syscall.SIGTERM) // it may have ended already
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
	}
	_ = syscall.Kill(-s.pid(), syscall.SIGKILL)
	<-s.done
	return fmt.Errorf("the server did not end within %s of TERM and was killed", within)
}

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	// oomBefore is what oomKills said before its start.
	oomBefore int64
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
	// members are the ranks of the server, in their order, with the ports of the present try.
	members []rundir.Member
}

// place is the rank's among those of its server.
func (l *launch) place() int { return l.rank % max(1, l.svc.Group) }

// worker is what the rank runs, if that is not what the leader does.
func (l *launch) worker(place int) *rundir.Worker {
	if place == 0 {
		return nil
	}
	return l.svc.Worker
}

// argv is the command of the rank.
func (l *launch) argv() []string {
	if w := l.worker(l.place()); w != nil {
		return w.Argv
	}
	return l.svc.Argv
}

// ports are those that a rank of the server takes.
func (l *launch) ports(place int) []rundir.Port {
	if w := l.worker(place); w != nil {
		return w.Ports
	}
	return l.svc.Ports
}

// builtin are the names that a command line may use beside its own environment.
func (l *launch) builtin(ports map[string]int) map[string]string {
	m := l.namesOf(l.place(), rundir.Member{Host: l.bind, Ports: ports})
	m["RANKS"], m["INTERFACE"] = strconv.Itoa(max(1, l.svc.Group)), interfaceOf(l.bind)
	if len(l.members) > 0 {
		leader := l.members[0]
		m["LEADER"] = leader.Host
		for name, number := range leader.Ports {
			m["LEADER_"+portVariable(name)] = strconv.Itoa(number)
		}
	}
	return m
}

// each are the names of every rank of the server.
func (l *launch) each() []map[string]string {
	out := make([]map[string]string, len(l.members))
	for place, m := range l.members {
		out[place] = l.namesOf(place, m)
	}
	return out
}

// namesOf are the names of one rank of the server.
func (l *launch) namesOf(place int, member rundir.Member) map[string]string {
	rank := l.rank - l.place() + place
	m := map[string]string{
		"HOST": member.Host, "DIR": rundir.Rank(l.job.dir, l.svc.Name, rank), "ID": l.id(rank), "RANK": strconv.Itoa(place),
	}
	for i, p := range l.ports(place) {
		number := strconv.Itoa(member.Ports[p.Name])
		if i == 0 {
			m["PORT"], m["ADDRESS"] = number, net.JoinHostPort(member.Host, number)
		}
		m[portVariable(p.Name)] = number
	}
	return m
}

func portVariable(name string) string {
	return "PORT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// id is a name that no other rank has, of this run or of another.
func (l *launch) id(rank int) string {
	return fmt.Sprintf("%s-%s-%d", strings.ReplaceAll(l.job.plan.Key, ".", "-"), l.svc.Name, rank)
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
	args, environ := commandLine(argv, l.svc.Env, l.builtin(ports), l.each())
	find := pathLookup(l.world.getenv("PATH"))
	environ = append(environ, l.secretEnv()...)
	var err error
	if l.svc.Image == nil {
		args, err = bareArgv(args, l.world.Executable, find)
	} else {
		args, err = containerArgv(l.svc.Image, l.dir, l.folders(), l.wantsGPUs(), args, find)
		if mask := gpuMaskOf(l.world.Environ); mask.set { // --cleanenv drops it; the service's own comes after it and counts
			environ = slices.Insert(environ, 0, gpuMaskName+"="+mask.value)
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

// wantsGPUs says that the server is to see GPUs.
func (l *launch) wantsGPUs() bool {
	return l.svc.Resources.GPUsPerNode > 0 || l.svc.Image != nil && l.svc.Image.GPUs
}

// start starts the server on ports that are held for it.
func (l *launch) start(held *heldPorts) (*server, error) {
	ports := held.numbers
	cmd, err := l.command(context.Background(), l.argv(), ports)
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
	s := &server{cmd: cmd, ports: ports, logPath: path, logFrom: st.Size(), oomBefore: oomKills(), done: make(chan struct{})}
	held.release()
	if err := cmd.Start(); err != nil {
		return nil, endf(rundir.ExitReasonProgramMissing, "%s", missing(cmd.Path, err))
	}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// tail is the server's last words.
func (s *server) tail() string { return logTail(s.logPath, s.logFrom) }

// words is what the server has said lately, more than its last words.
func (s *server) words() string { return logWords(s.logPath, s.logFrom, wordsBytes) }

// logWatch notices a log that stands still.
type logWatch struct {
	path    string
	timeout time.Duration
	size    int64
	grew    time.Time
}

// watchLog watches the server's log from now on. A timeout of 0 lets it stand still for ever.
func (s *server) watchLog(timeout time.Duration) *logWatch {
	return &logWatch{path: s.logPath, timeout: timeout, size: -1, grew: time.Now()}
}

// stalled looks at the log, and says whether it has had one size for all of the timeout.
func (w *logWatch) stalled(now time.Time) bool {
	if w.timeout == 0 {
		return false
	}
	if info, err := os.Stat(w.path); err == nil && info.Size() != w.size {
		w.size, w.grew = info.Size(), now
	}
	return now.Sub(w.grew) >= w.timeout
}

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

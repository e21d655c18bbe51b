package ssh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"assay.bench/slurmbridge"
)

// MasterOptions are those of OpenMaster.
type MasterOptions struct {
	// Destination is what the user gave to ssh, such as u100000@login.lxp.lu: for messages.
	Destination string
	// ControlPath is the absolute path of the master's socket.
	ControlPath string
	// Program is OpenSSH's client; "" takes the ssh in PATH.
	Program string
	// Sessions is the most that we open at once; 0 takes 8, for OpenSSH allows 10.
	Sessions int
}

// OpenMaster returns the host behind a connection that the user has opened with ssh -M, for sites that ask for a second
// factor. No other connection is ever made: without a master every call fails and says how to open one.
func OpenMaster(o MasterOptions) (*Host, error) {
	if !filepath.IsAbs(o.ControlPath) {
		return nil, fmt.Errorf("control path %q: give the absolute path of the socket that ssh -M -S made", o.ControlPath)
	}
	if o.Destination == "" {
		return nil, errors.New("name the host that the master is connected to, as you gave it to ssh")
	}
	program, err := exec.LookPath(cmp.Or(o.Program, "ssh"))
	if err != nil {
		return nil, fmt.Errorf("%w: install OpenSSH's client", err)
	}
	o.Program = program
	return newHost(&master{o}, max(1, cmp.Or(o.Sessions, defaultSessions)), defaultPatience), nil
}

// master starts sessions through OpenSSH's client. It implements carrier.
type master struct{ o MasterOptions }

func (m *master) name() string { return m.o.Destination }

// Close leaves the connection to the user, whose it is.
func (*master) Close() error { return nil }

// arguments are those of every call. No file of configuration is read, and were the master gone between two calls, no
// connection would be made beside it: the proxy fails at once.
func (m *master) arguments(more ...string) []string {
	out := []string{
		"-F", "/dev/null", "-S", strings.ReplaceAll(m.o.ControlPath, "%", "%%"), "-o", "ControlMaster=no", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "ProxyCommand=false", "-T", "-x", "-a",
	}
	return append(out, more...)
}

// check says, in words for the user, that no master listens.
func (m *master) check(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, m.o.Program, m.arguments("-O", "check", "--", m.o.Destination)...)
	cmd.Env = environ()
	words, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	socket, to := slurmbridge.Quote(m.o.ControlPath), m.o.Destination
	if ctx.Err() != nil {
		return unreachable("the master at %s does not answer: end it with ssh -S %s -O exit %s, and open it again", m.o.ControlPath, socket, to)
	}
	return unreachable("no master is running at %s (%s): open one with ssh -M -S %s -N %s and leave it open", m.o.ControlPath, tail(words), socket, to)
}

// environ keeps the user's own settings away from ssh.
func environ() []string { return []string{"LC_ALL=C", "PATH=/usr/bin:/bin"} }

// start runs one ssh.
func (m *master) start(_ context.Context, what string, subsystem bool) (*session, error) {
	args := []string{"--", m.o.Destination, what}
	if subsystem {
		args = append([]string{"-s"}, args...)
	}
	return m.run(args)
}

// run runs one ssh with these arguments beside those of every call.
func (m *master) run(args []string) (*session, error) {
	cmd := exec.Command(m.o.Program, m.arguments(args...)...)
	cmd.Env = environ()
	var ours, theirs [3]*os.File
	var errs [3]error
	ours[0], theirs[0], errs[0] = swap(os.Pipe())
	theirs[1], ours[1], errs[1] = swap(os.Pipe())
	theirs[2], ours[2], errs[2] = swap(os.Pipe())
	closeAll := func(files [3]*os.File) {
		for _, f := range files {
			_ = f.Close() // a nil one too says so, harmlessly
		}
	}
	defer func() { closeAll(theirs) }()
	err := errors.Join(errs[:]...)
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
		err = cmd.Start()
	}
	if err != nil {
		closeAll(ours)
		return nil, err
	}
	s := newSession(ours[0], ours[1], ours[2])
	go func() {
		defer close(s.done)
		s.why = m.explain(cmd.Wait())
	}()
	s.giveUp = func(bool) { // an ssh ends by itself with its command, and passes no signal on
		_ = ours[0].Close()
		s.linger()
		_ = cmd.Process.Kill()
		<-s.done
		closeAll(ours)
	}
	return s, nil
}

// swap puts the end for writing first.
func swap(r, w *os.File, err error) (*os.File, *os.File, error) { return w, r, err }

// explain says how an ssh ended.
func (m *master) explain(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), defaultPatience)
	defer cancel()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 255 {
		if gone := m.check(ctx); gone != nil {
			return gone
		}
		return fmt.Errorf("the master refused a session, or the host ended it: %w", err)
	}
	if err != nil {
		return fmt.Errorf("the shell there ended: %w", err)
	}
	return errors.New("the host ended the session")
}

// Package ssh reaches a site through a login node: one connection carries commands, files and programs.
//
// A Host is the login node. It has two ways there, which behave alike: Open makes a connection of its own, with keys that
// are pinned and credentials that it is given; OpenMaster uses one that the user has opened with OpenSSH, for sites that ask
// for a second factor. Neither has a switch that turns the check of host keys off.
//
// Every command goes through the user's login shell, whichever that is, to /bin/sh, which marks where the command's own
// output begins and ends: what profiles print is told apart, and an answer that is cut off is none.
package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"assay.bench/slurmbridge"
)

const (
	// maxOutput is how much a command may print on one stream, in bytes.
	maxOutput = 64 << 20
	// defaultSessions is how many sessions we hold at once: OpenSSH allows 10 on a connection.
	defaultSessions = 8
	// defaultPatience is how long a host may take to let us in, and its profile to say what a login sets.
	defaultPatience = 10 * time.Second
)

// Host is a login node of a site. It implements slurmbridge.Runner, Prober and Dialer. Its methods may be called
// concurrently; every error of theirs wraps slurmbridge.ErrUnreachable, but for those that say otherwise.
type Host struct {
	carrier carrier
	// slots holds a token for each session; streams for each that lasts until its reader closes it.
	slots, streams chan struct{}
	// killing holds one for the session that ends a command which was given up. It is beside the slots, which may all be
	// held by such commands, and one at a time: sshd takes ten.
	killing chan struct{}
	// patience is how long the host may take for what precedes all commands.
	patience time.Duration

	mu sync.Mutex
	// login is what the commands' environment is taken from; asking is closed when the question that is under way ends.
	login  *login
	asking chan struct{}
	asked  error
}

// carrier opens sessions on a host.
type carrier interface {
	// start starts a command line under the login shell, or with subsystem the one of that name.
	start(ctx context.Context, what string, subsystem bool) (*session, error)
	// forward has the host connect to an address. An error that is no fault is one of the way to the host.
	forward(ctx context.Context, address string) (net.Conn, error)
	// name is the host in messages.
	name() string
	Close() error
}

func newHost(c carrier, sessions int, patience time.Duration) *Host {
	return &Host{carrier: c, slots: make(chan struct{}, sessions), streams: make(chan struct{}, max(1, sessions/2)), killing: make(chan struct{}, 1), patience: patience}
}

// Close ends a connection of ours, and with it all calls that are under way. A master's stays, and is the user's to end.
func (h *Host) Close() error { return h.carrier.Close() }

// Run runs a command to its end. It implements slurmbridge.Runner. A program that is not in the PATH of a
// login is an error; a path at which there is none ends with code 127, as in a shell. A command whose context ends is told
// to end with TERM.
func (h *Host) Run(ctx context.Context, c slurmbridge.Command) (slurmbridge.Output, error) {
	command, err := h.command(ctx, c)
	if err != nil {
		return slurmbridge.Output{}, err
	}
	return h.run(ctx, c.Argv[0], command, bytes.NewReader(c.Stdin))
}

// command is the shell command that runs a program in a clean environment.
func (h *Host) command(ctx context.Context, c slurmbridge.Command) (string, error) {
	if err := checkCommand(c); err != nil {
		return "", h.unreachable(err)
	}
	l, err := h.loginOf(ctx)
	if err != nil {
		return "", err
	}
	return words(append(l.environ(), c.Env...), c.Argv), nil
}

// run runs a shell command, which goes by a name in messages.
func (h *Host) run(ctx context.Context, name, command string, stdin io.Reader) (slurmbridge.Output, error) {
	s, m, err := h.start(ctx, name, command)
	if err != nil {
		return slurmbridge.Output{}, err
	}
	return h.finish(ctx, s, m, name, stdin)
}

// finish runs a command that was started to its end.
func (h *Host) finish(ctx context.Context, s *session, m mark, name string, stdin io.Reader) (slurmbridge.Output, error) {
	defer s.close()
	go feed(s, stdin)
	read := make(chan *reply, 1)
	go func() { read <- m.readBoth(s) }()
	select {
	case r := <-read:
		if r.err != nil {
			h.end(ctx, s)
		}
		if bytes.Equal(r.out.body, m.missing()) {
			return slurmbridge.Output{}, h.unreachable(fmt.Errorf("%s is not in the PATH of a login there: is it a login node of the site, and does the profile set PATH?", name))
		}
		if r.out.whole && r.words.whole {
			return slurmbridge.Output{Stdout: r.out.body, Stderr: r.words.body, Code: r.out.code}, nil
		}
		return slurmbridge.Output{}, h.unreachable(fmt.Errorf("%s: %w", name, r.cut(ctx, s)))
	case <-ctx.Done(): // a connection that is stuck ends no reader
		h.end(ctx, s)
		return slurmbridge.Output{}, h.unreachable(fmt.Errorf("%s did not end in time: %w", name, context.Cause(ctx)))
	}
}

// end gives a command up and ends it there. sshd counts its session as long as it runs, and neither an old sshd nor
// OpenSSH's master passes a signal on, so another command ends it. It does not wait.
func (h *Host) end(ctx context.Context, s *session) {
	s.stop()
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.patience)
		defer cancel()
		select {
		case <-s.known:
		case <-s.done:
			if !told(s.known) { // it never began
				return
			}
		case <-ctx.Done():
			return
		}
		select {
		case h.killing <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-h.killing }()
		m := newMark()
		killer, err := h.carrier.start(ctx, line(m.wrap(fmt.Sprintf("kill -TERM -%[1]d || kill -TERM %[1]d", s.pid))), false)
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, killer.stop)
		defer stop()
		_ = m.readBoth(killer) // a command that has ended meanwhile is as good
		killer.close()
		select {
		case <-killer.done:
			<-time.After(settling)
		case <-ctx.Done(): // a connection that is stuck must not hold up the end of others
		}
	}()
}

// feed gives a command its standard input. One that ends before it has read all is its own business.
func feed(s *session, stdin io.Reader) {
	_, _ = io.Copy(s.stdin, stdin)
	_ = s.stdin.Close()
}

// start starts a marked shell command in a session that counts.
func (h *Host) start(ctx context.Context, name, command string) (*session, mark, error) {
	m := newMark()
	text := line(m.wrap(command))
	if len(text) > maxLine {
		return nil, "", h.unreachable(fmt.Errorf("%s: a command line of %d KiB is longer than a site takes: give it less at once", name, len(text)>>10))
	}
	s, err := h.open(ctx, name, text, false)
	return s, m, err
}

// settling is how long a session that has ended still counts. sshd forgets it after it has read all that came with the
// end, and a request for the next one that came at once would be refused.
const settling = 50 * time.Millisecond

// open opens a session when there is room for one.
func (h *Host) open(ctx context.Context, name, what string, subsystem bool) (*session, error) {
	if ctx.Err() != nil {
		return nil, h.unreachable(fmt.Errorf("%s was not begun: %w", name, context.Cause(ctx)))
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, h.unreachable(fmt.Errorf("%s waited for a free session: %w", name, context.Cause(ctx)))
	}
	s, err := h.carrier.start(ctx, what, subsystem)
	if err != nil {
		<-h.slots
		return nil, h.unreachable(err)
	}
	go func() {
		<-s.done
		<-time.After(settling)
		<-h.slots
	}()
	return s, nil
}

// unreachable makes an error of the host's that wraps ErrUnreachable, once.
func (h *Host) unreachable(err error) error {
	if errors.Is(err, slurmbridge.ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", slurmbridge.ErrUnreachable, h.carrier.name(), err)
}

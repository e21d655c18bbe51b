package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// session is one command, or subsystem, that runs on a host.
type session struct {
	stdin          io.WriteCloser
	stdout, stderr io.Reader
	// exited is closed when the command has ended, where that is known; done when the host has let go of the session. Then
	// why is what went wrong.
	exited, done chan struct{}
	why          error
	// giveUp ends the session from our side; with stop it asks the command to end first, where the host can do that.
	giveUp func(stop bool)
	once   sync.Once
	// known is closed when pid, the process there, is known.
	known     chan struct{}
	knownOnce sync.Once
	pid       int
}

func newSession(stdin io.WriteCloser, stdout, stderr io.Reader) *session {
	return &session{
		stdin: stdin, stdout: stdout, stderr: stderr,
		exited: make(chan struct{}), done: make(chan struct{}), known: make(chan struct{}),
	}
}

// begun notes the process.
func (s *session) begun(pid int) {
	s.knownOnce.Do(func() {
		s.pid = pid
		close(s.known)
	})
}

// lingering is how long a command may take to end once nobody waits for it any more. sshd counts its session so long:
// who opens another one sooner may be refused.
const lingering = 2 * time.Second

// linger waits until the command has ended, but not for ever.
func (s *session) linger() {
	wait := time.NewTimer(lingering)
	defer wait.Stop()
	select {
	case <-s.exited:
	case <-s.done:
	case <-wait.C:
	}
}

// close gives the session up. It does not wait: the connection may be stuck.
func (s *session) close() { s.once.Do(func() { go s.giveUp(false) }) }

// stop asks what runs there to end, and gives the session up.
func (s *session) stop() { s.once.Do(func() { go s.giveUp(true) }) }

// halfOpen is the standard input of a channel: its end is not that of the channel.
type halfOpen struct{ ssh.Channel }

// Close ends the input.
func (h halfOpen) Close() error { return h.CloseWrite() }

// start opens a session on the connection. Where the host refuses it nothing has run, so it is tried once more on a new
// connection.
func (p *pool) start(ctx context.Context, what string, subsystem bool) (*session, error) {
	conn, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	s, err := conn.openSoon(ctx, what, subsystem)
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); !refused {
		return s, err
	}
	p.retire(conn)
	if conn, err = p.get(ctx); err != nil {
		return nil, err
	}
	return conn.openSoon(ctx, what, subsystem)
}

// openSoon is open, as long as the caller waits.
func (c *connection) openSoon(ctx context.Context, what string, subsystem bool) (*session, error) {
	type result struct {
		s   *session
		err error
	}
	opened := make(chan result, 1)
	go func() {
		s, err := c.open(ctx, what, subsystem)
		opened <- result{s, err}
	}()
	select {
	case r := <-opened:
		return r.s, r.err
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.s != nil {
				r.s.stop()
			}
		}()
		return nil, fmt.Errorf("it opens no session: %w", context.Cause(ctx))
	}
}

// retire has the next call make a new connection, and closes this one when its last session has ended. sshd counts a
// session as long as its command runs, even after we gave it up: with too many of them it would refuse us for ever.
func (p *pool) retire(c *connection) {
	p.mu.Lock()
	if p.current == c {
		p.current = nil
	}
	p.mu.Unlock()
	c.mu.Lock()
	c.retired = true
	c.mu.Unlock()
	c.use(0)
}

// use counts the sessions that are open.
func (c *connection) use(n int) {
	c.mu.Lock()
	c.sessions += n
	over := c.retired && c.sessions == 0
	c.mu.Unlock()
	if over {
		c.close(errors.New("it refused a session, so it was closed"))
	}
}

// open opens a session and starts what it is for.
func (c *connection) open(ctx context.Context, what string, subsystem bool) (*session, error) {
	ch, requests, err := c.client.OpenChannel("session", nil)
	if err != nil {
		if refused, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
			return nil, fmt.Errorf("it refuses one more session (%s): its MaxSessions may be lower than we expect: %w", refused.Message, err)
		}
		return nil, c.lost(err)
	}
	c.use(1)
	s := newSession(halfOpen{ch}, ch, ch.Stderr())
	s.giveUp = func(stop bool) {
		if stop {
			_, _ = ch.SendRequest("signal", false, ssh.Marshal(&struct{ Signal string }{"TERM"})) // for a profile that hangs
		}
		s.linger()
		_ = ch.Close() // it may be closed already
	}
	go c.follow(s, requests)
	if ctx.Err() != nil {
		_ = ch.Close()
		return nil, context.Cause(ctx)
	}
	kind, words := "exec", "it runs no commands for this user"
	if subsystem {
		kind, words = "subsystem", "it has no subsystem "+what
	}
	switch ok, err := ch.SendRequest(kind, true, ssh.Marshal(&struct{ What string }{what})); {
	case err != nil:
		_ = ch.Close()
		return nil, c.lost(errors.New("it closed the session before anything ran"))
	case !ok:
		_ = ch.Close()
		return nil, errors.New(words)
	}
	return s, nil
}

// follow notes how a session ends. An exit code other than 0 is the shell's own: those of commands are in their answers.
func (c *connection) follow(s *session, requests <-chan *ssh.Request) {
	defer c.use(-1)
	defer close(s.done)
	s.why = errors.New("the host ended the session")
	for r := range requests {
		if strings.HasPrefix(r.Type, "exit-") && !told(s.exited) {
			close(s.exited)
		}
		switch r.Type {
		case "exit-status":
			var status struct{ Code uint32 }
			if ssh.Unmarshal(r.Payload, &status) == nil {
				s.why = fmt.Errorf("the shell there ended with exit code %d", status.Code)
			}
		case "exit-signal":
			var signal struct {
				Name  string
				Core  bool
				Words string
				Lang  string
			}
			if ssh.Unmarshal(r.Payload, &signal) == nil {
				s.why = fmt.Errorf("the shell there was ended by signal %s", signal.Name)
			}
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // a dead connection shows elsewhere
		}
	}
	if !told(s.exited) {
		s.why = c.lost(s.why)
	}
}

// told says whether a channel is closed.
func told(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// lost is why the connection ended, where it did, or the error. Sessions end first, so it waits a little.
func (c *connection) lost(err error) error {
	wait := time.NewTimer(200 * time.Millisecond)
	defer wait.Stop()
	select {
	case <-c.dead:
	case <-wait.C:
	}
	if cause := c.why(); cause != nil {
		return cause
	}
	return err
}

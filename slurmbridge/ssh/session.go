package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// session is one command, or subsystem, that runs on a host.
type session struct {
	stdin          io.WriteCloser
	stdout, stderr io.Reader
	// done is closed when the host has let go of the session; why is then what went wrong, where that is known.
	done chan struct{}
	why  error
	// giveUp ends the session from our side; with stop it asks the command to end first, where the host can do that.
	giveUp func(stop bool)
	once   sync.Once
}

// close gives the session up. It does not wait: the connection may be stuck.
func (s *session) close() { s.once.Do(func() { go s.giveUp(false) }) }

// stop asks what runs there to end, and gives the session up.
func (s *session) stop() { s.once.Do(func() { go s.giveUp(true) }) }

// halfOpen is the standard input of a channel: its end is not that of the channel.
type halfOpen struct{ ssh.Channel }

// Close ends the input.
func (h halfOpen) Close() error { return h.CloseWrite() }

// start opens a session on the connection.
func (p *pool) start(ctx context.Context, what string, subsystem bool) (*session, error) {
	conn, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	type result struct {
		s   *session
		err error
	}
	opened := make(chan result, 1)
	go func() {
		s, err := conn.open(ctx, what, subsystem)
		opened <- result{s, err}
	}()
	select {
	case r := <-opened:
		if _, refused := errors.AsType[*ssh.OpenChannelError](r.err); refused {
			p.retire(conn)
		}
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

// retire lets the next call make a new connection, and closes this one when its last session has ended. sshd counts a
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
	s := &session{stdin: halfOpen{ch}, stdout: ch, stderr: ch.Stderr(), done: make(chan struct{})}
	s.giveUp = func(stop bool) {
		if stop {
			_, _ = ch.SendRequest("signal", false, ssh.Marshal(&struct{ Signal string }{"TERM"})) // not every sshd can
		}
		_ = ch.Close() // it may be closed already
	}
	go c.follow(s, requests)
	if ctx.Err() != nil {
		s.close()
		return nil, context.Cause(ctx)
	}
	kind, words := "exec", "it runs no commands for this user"
	if subsystem {
		kind, words = "subsystem", "it has no subsystem "+what
	}
	switch ok, err := ch.SendRequest(kind, true, ssh.Marshal(&struct{ What string }{what})); {
	case err != nil:
		s.close()
		return nil, c.lost(errors.New("it closed the session before anything ran"))
	case !ok:
		s.close()
		return nil, errors.New(words)
	}
	return s, nil
}

// follow notes how a session ends. An exit code other than 0 is the shell's own: those of commands are in their answers.
func (c *connection) follow(s *session, requests <-chan *ssh.Request) {
	defer c.use(-1)
	defer close(s.done)
	s.why = errors.New("the host ended the session")
	told := false
	for r := range requests {
		switch r.Type {
		case "exit-status":
			var status struct{ Code uint32 }
			if ssh.Unmarshal(r.Payload, &status) == nil {
				told, s.why = true, fmt.Errorf("the shell there ended with exit code %d", status.Code)
			}
		case "exit-signal":
			var signal struct {
				Name  string
				Core  bool
				Words string
				Lang  string
			}
			if ssh.Unmarshal(r.Payload, &signal) == nil {
				told, s.why = true, fmt.Errorf("the shell there was ended by signal %s", signal.Name)
			}
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // a dead connection shows elsewhere
		}
	}
	if !told { // where the connection ended, that is about to be known
		wait := time.NewTimer(200 * time.Millisecond)
		defer wait.Stop()
		select {
		case <-c.dead:
		case <-wait.C:
		}
		s.why = c.lost(s.why)
	}
}

// lost is why the connection ended, where it did, or the error.
func (c *connection) lost(err error) error {
	if cause := c.why(); cause != nil {
		return cause
	}
	return err
}

package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"assay.bench/slurmbridge"
)

const (
	// The pause after a connection that could not be made doubles from the first to the longest.
	firstPause, longestPause = 250 * time.Millisecond, 2 * time.Second
	// refusedPause follows an answer that does not change by asking again: who asks too often is locked out.
	refusedPause = 30 * time.Second
	// missesAllowed is how many answers in a row a connection may owe us.
	missesAllowed = 3
)

// pool keeps the one connection. It implements carrier.
type pool struct {
	o    Options
	hops []*hop

	mu      sync.Mutex
	current *connection
	// dialing is the attempt under way, which all callers share.
	dialing *dialing
	// failures in a row, the last one's error, and when it was.
	failures int
	failed   error
	at       time.Time
	closed   bool
}

type dialing struct {
	done   chan struct{}
	cancel context.CancelFunc
	conn   *connection
	err    error
}

// connection is a way to the host that works, or worked.
type connection struct {
	to     string
	client *ssh.Client
	// below are the connections that carry it.
	below []io.Closer
	dead  chan struct{}

	mu       sync.Mutex
	cause    error
	sessions int
	retired  bool
}

var errClosed = unreachable("the connection was closed by us")

func (p *pool) name() string { return p.o.address() }

// Close ends the connection and all attempts to make one.
func (p *pool) Close() error {
	p.mu.Lock()
	p.closed = true
	c, d := p.current, p.dialing
	p.mu.Unlock()
	if d != nil {
		d.cancel()
		<-d.done
		c = d.conn
	}
	if c != nil {
		c.close(errClosed)
	}
	return nil
}

// get returns the connection, and makes one where there is none.
func (p *pool) get(ctx context.Context) (*connection, error) {
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, errClosed
	case p.current != nil && !p.current.isDead():
		defer p.mu.Unlock()
		return p.current, nil
	case p.dialing == nil && p.isRefused() && time.Since(p.at) < refusedPause:
		defer p.mu.Unlock()
		return nil, p.failed
	}
	d := p.dialing
	if d == nil {
		d = p.dial(ctx)
	}
	p.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, fmt.Errorf("there is no connection yet: %w", context.Cause(ctx))
	}
}

func (p *pool) isRefused() bool {
	return errors.Is(p.failed, slurmbridge.ErrHostKey) || errors.Is(p.failed, slurmbridge.ErrCredentials)
}

// dial begins an attempt, which outlives the call that began it: others wait for it too. p.mu is held.
func (p *pool) dial(ctx context.Context) *dialing {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &dialing{done: make(chan struct{}), cancel: cancel}
	p.dialing = d
	var pause time.Duration
	if p.failures > 0 {
		pause = time.Until(p.at.Add(min(firstPause<<min(p.failures-1, 10), longestPause)))
	}
	go func() {
		defer close(d.done)
		defer cancel()
		select {
		case <-time.After(pause):
			d.conn, d.err = p.connect(ctx)
		case <-ctx.Done():
			d.err = errClosed
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dialing, p.current, p.failed = nil, d.conn, d.err
		if d.err != nil {
			p.failures, p.at = p.failures+1, time.Now()
			return
		}
		p.failures = 0
	}()
	return d
}

// connect goes from host to host.
func (p *pool) connect(ctx context.Context) (*connection, error) {
	c := &connection{to: p.name(), dead: make(chan struct{})}
	for i, h := range p.hops {
		client, err := p.connectHop(ctx, h, c.client)
		if err != nil {
			if i < len(p.hops)-1 {
				err = fault{"on the way, " + err.Error(), []error{err}}
			}
			if c.client != nil {
				c.closeAll()
			}
			return nil, err
		}
		if c.client != nil {
			c.below = append(c.below, c.client)
		}
		c.client = client
	}
	go c.watch()
	go c.keepAlive(p.o.KeepAlive)
	return c, nil
}

func (p *pool) connectHop(ctx context.Context, h *hop, through *ssh.Client) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, p.o.ConnectTimeout)
	defer cancel()
	dial := p.o.Dial
	if through != nil {
		dial = through.DialContext
	}
	conn, err := dial(ctx, "tcp", h.address())
	if err != nil {
		return nil, explainDial(ctx, h.address(), err)
	}
	return h.login(ctx, conn)
}

func (c *connection) isDead() bool { return told(c.dead) }

// watch notes the end of the connection, however it came.
func (c *connection) watch() {
	err := c.client.Wait()
	c.close(unreachable("the connection to %s was lost (%v)", c.to, err))
	close(c.dead)
}

// close ends the connection, for the first cause that is given.
func (c *connection) close(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	c.closeAll()
}

func (c *connection) closeAll() {
	_ = c.client.Close() // it may be closed already
	for _, b := range c.below {
		_ = b.Close()
	}
}

// why is the cause of the end.
func (c *connection) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// keepAlive asks until the connection is dead, and ends one that does not answer: nothing else shows that a host behind a
// firewall has gone.
func (c *connection) keepAlive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	answered := make(chan struct{}, 1)
	asked, misses := false, 0
	for {
		select {
		case <-c.dead:
			return
		case <-answered:
			asked, misses = false, 0
			continue
		case <-tick.C:
		}
		if asked {
			misses++
			if misses == missesAllowed {
				c.close(unreachable("%s has not answered for %s: the connection is dead", c.to, time.Duration(missesAllowed)*every))
				return
			}
			continue
		}
		asked = true
		go func() {
			if _, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil); err == nil { // a refusal is an answer too
				answered <- struct{}{}
			}
		}()
	}
}

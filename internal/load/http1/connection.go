package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"assay.bench/internal/load"
)

// Options are what the connections of a load have in common.
type Options struct {
	// Address is host:port.
	Address string
	// TLS of https; nil for a plain connection.
	TLS *tls.Config
	// Clock stamps what is read.
	Clock load.Clock
	// Dial opens connections; nil is TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Idle is how long a connection may be idle and still be used again; 0 is 4 s, since common servers close theirs
	// after 5 s.
	Idle time.Duration
}

const defaultIdle = 4 * time.Second

// OptionsFor are the options for a URL whose scheme is http or https. A nil config trusts the system's certificates.
func OptionsFor(base *url.URL, config *tls.Config, clock load.Clock) Options {
	o := Options{Clock: clock, Idle: defaultIdle, Dial: new(net.Dialer).DialContext}
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	o.Address = net.JoinHostPort(base.Hostname(), port)
	if base.Scheme == "https" {
		o.TLS = tlsConfig(config, base.Hostname())
	}
	return o
}

func tlsConfig(given *tls.Config, host string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if given != nil {
		config = given.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.NextProtos = []string{"http/1.1"}
	return config
}

// Connection is a worker's own connection, kept open between exchanges while it is fresh. An exchange is Open, Write,
// WriteMore and Sent for a long request, Head, the Body to its end, and Finish.
type Connection struct {
	Stream

	options *Options
	release func() bool
	early   bool

	mu   sync.Mutex
	open net.Conn // what is read and written; nil for none
	raw  *socket  // of open, or of the connection below TLS; nil where it has none
	used int64    // the last instant at which it was in use
}

// handshakeError is an error of the TLS handshake.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// New makes a connection, which Open opens. The end of ctx makes what is in flight return at once.
func New(ctx context.Context, o *Options) *Connection {
	c := &Connection{options: o, Stream: Stream{ctx: ctx, clock: o.Clock}}
	c.release = context.AfterFunc(ctx, c.interrupt)
	return c
}

func (c *Connection) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != nil {
		_ = c.open.SetDeadline(time.Unix(1, 0))
	}
}

// usable says that the connection can take a request at the instant now.
func (c *Connection) usable(now int64) bool {
	return c.open != nil && now-c.used < int64(c.options.Idle) && (c.raw == nil || c.raw.quiet())
}

// Open makes ready for an exchange with the given limits; it dials only without a usable connection. DialKind tells
// what an error is.
func (c *Connection) Open(now int64, l Limits) error {
	if !c.usable(now) {
		c.Close()
		if err := c.dial(now, l.Due()); err != nil {
			return err
		}
	}
	c.conn = c.open
	c.r, c.w, c.early = 0, 0, false
	c.Start(l)
	return nil
}

func (c *Connection) dial(now, due int64) error {
	ctx := c.ctx
	if due != Never {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(due-now))
		defer cancel()
	}
	raw, err := c.options.Dial(ctx, "tcp", c.options.Address)
	if err != nil {
		return err
	}
	conn := raw
	if c.options.TLS != nil {
		secured := tls.Client(raw, c.options.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			return errors.Join(handshakeError{err}, raw.Close())
		}
		conn = secured
	}
	c.mu.Lock()
	c.open, c.raw = conn, newSocket(raw)
	c.mu.Unlock()
	c.socket = c.raw.direct(conn)
	return nil
}

// Write sends the request, or its beginning. A server that refuses a request may answer before it has read all of it, and
// close: then there is no error, Early says so, and the answer counts.
func (c *Connection) Write(b []byte) error {
	return c.unlessHeard(c.send(b))
}

func (c *Connection) send(b []byte) error {
	if c.socket != nil {
		return c.socket.write(b)
	}
	_, err := c.conn.Write(b)
	return err
}

// lookEvery is how often a long write that waits for the server looks for an answer: some servers, those in Go among them,
// do not read the rest of a request that they have refused, and close half a second later.
const lookEvery = 20 * time.Millisecond

// WriteMore is Write for the parts after the first. It sends nothing more once an answer has begun or the context has
// ended. After the last part comes Sent.
func (c *Connection) WriteMore(b []byte) error {
	c.Limits.sending = c.clock.Now() // for all before this part was taken
	for !c.begun() {
		due := c.Limits.Due()
		c.writeBy(due)
		// The end of the context sets a deadline too, which this one may have replaced.
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		err := c.send(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c.unlessHeard(err)
		}
		if c.socket == nil { // how much of it went out is not known
			return err
		}
		now, left := c.clock.Now(), c.socket.left()
		if len(left) == len(b) && now >= due {
			return err // begun has looked for an answer
		}
		if len(left) < len(b) {
			b, c.Limits.sending = left, now
		}
	}
	return nil
}

// writeBy sets the deadline of the next write: due, or the next look for an answer where the write can go on after it.
func (c *Connection) writeBy(due int64) {
	if c.socket != nil {
		due = min(due, c.clock.Now()+int64(lookEvery))
	}
	var deadline time.Time
	if due != Never {
		deadline = c.clock.Deadline(due)
	}
	_ = c.conn.SetWriteDeadline(deadline) // it fails only on a closed connection, and then the write says so
}

// Sent says that the request is out, so that the wait for its answer begins.
func (c *Connection) Sent() { c.Limits.Await(c.clock.Now()) }

// Early says that the answer came before the whole request was sent. The rest of it is not sent any more, so the connection
// is not used again.
func (c *Connection) Early() bool { return c.early }

// begun looks for an answer, without a wait. Below TLS there is more than answers, and to read one would wait.
func (c *Connection) begun() bool {
	c.early = c.early || c.options.TLS == nil && c.raw != nil && !c.raw.quiet() && c.Fill() == nil && c.answered()
	return c.early
}

// unlessHeard is the error of a write, unless there is an answer none the less.
func (c *Connection) unlessHeard(err error) error {
	if err == nil {
		return nil
	}
	for !c.answered() {
		if c.Fill() != nil {
			return err
		}
	}
	c.early = true
	return nil
}

// answered says that the head of an answer is there, or what is none. Interim answers (1xx) are passed over.
func (c *Connection) answered() bool {
	for {
		h, n, err := parseHead(c.Unread())
		if err != nil || n > 0 && (h.Status >= 200 || h.Status == 101) {
			return true
		}
		if n == 0 {
			return false
		}
		c.take(n)
	}
}

// Finish ends an exchange. A connection that cannot be used again is closed.
func (c *Connection) Finish(keep bool) {
	if !keep || c.early {
		c.Close()
	}
	c.used = c.clock.Now()
}

// Failure is the kind of an error of Write, of Head or of a body; ended is that of a connection which the peer closed. Words
// are set where the error itself is no more than a sign. A write that a deadline ended, ended by the limit that came first.
func (c *Connection) Failure(err error, ended load.Kind) (kind load.Kind, words string) {
	var late TimeoutError
	switch {
	case errors.As(err, &late):
		return late.Kind, err.Error()
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrTooLong):
		return load.StreamError, err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ended, "the server closed the connection"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.Limits.Kind(), ""
	}
	return load.KindOf(err), ""
}

// Close closes the connection; the next Open dials.
func (c *Connection) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != nil {
		_ = c.open.Close()
	}
	c.open, c.raw = nil, nil
}

// End closes the connection for good.
func (c *Connection) End() {
	c.release()
	c.Close()
}

// DialKind is the kind of an error of Open.
func DialKind(err error) load.Kind {
	if _, is := errors.AsType[handshakeError](err); is {
		return load.TLS
	}
	if kind := load.KindOf(err); kind == load.DNS {
		return kind
	}
	return load.Connect
}

package inference

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/internal/load"
)

// connection is a worker's own connection, kept open between requests while it is fresh.
type connection struct {
	workload *Workload
	ctx      context.Context //nolint:containedctx // the run's, which outlives every request; Do has none of its own
	release  func() bool

	mu   sync.Mutex
	conn net.Conn // what is read and written
	raw  net.Conn // conn, or the TCP connection below TLS
	used int64    // the last instant at which it was in use
}

// handshakeError is an error of the TLS handshake.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

func newConnection(ctx context.Context, w *Workload) *connection {
	c := &connection{workload: w, ctx: ctx}
	c.release = context.AfterFunc(ctx, c.interrupt)
	return c
}

// interrupt makes what is in flight return at once.
func (c *connection) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.SetDeadline(time.Unix(1, 0))
	}
}

// usable says that the connection can take a request at the instant now.
func (c *connection) usable(now int64) bool {
	if c.conn == nil || now-c.used >= int64(c.workload.options.IdleConnection) {
		return false
	}
	// The deadline of the last request may have passed; quiet would take that for a fault.
	return c.conn.SetDeadline(time.Time{}) == nil && quiet(c.raw)
}

// open gives a connection that ends with the instant due; it dials only without a usable one.
func (c *connection) open(now, due int64) (net.Conn, error) {
	if c.usable(now) {
		return c.conn, nil
	}
	c.close()
	ctx := c.ctx
	if due != never {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(due-now))
		defer cancel()
	}
	raw, err := c.workload.options.Dial(ctx, "tcp", c.workload.address)
	if err != nil {
		return nil, err
	}
	conn := raw
	if c.workload.secure != nil {
		secured := tls.Client(raw, c.workload.secure)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(handshakeError{err}, raw.Close())
		}
		conn = secured
	}
	c.mu.Lock()
	c.conn, c.raw = conn, raw
	c.mu.Unlock()
	return conn, nil
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn, c.raw = nil, nil
}

// end closes the connection for good.
func (c *connection) end() {
	c.release()
	c.close()
}

// quiet says that the peer neither closed an idle connection nor sent anything on it. A connection without a descriptor
// counts as quiet.
func quiet(conn net.Conn) bool {
	sys, isSys := conn.(syscall.Conn)
	if !isSys {
		return true
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return false
	}
	calm := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		calm = errors.Is(err, unix.EAGAIN)
		return true
	})
	return err == nil && calm
}

// openFailure is the kind of an error of open.
func openFailure(err error) load.Kind {
	if _, is := errors.AsType[handshakeError](err); is {
		return load.TLS
	}
	if kind := load.KindOf(err); kind == load.DNS {
		return kind
	}
	return load.Connect
}

package http1

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// discardSize is how much is dropped at once.
const discardSize = 1 << 20

// discarder drops what a plain TCP connection received inside the kernel: with MSG_TRUNC, tcp(7), nothing is copied.
type discarder struct {
	raw syscall.RawConn
	// space is never touched: it only says how much may be dropped.
	space, left []byte
	n           int
	err         error
	once        func(fd uintptr) bool
}

// newDiscarder returns nil for a connection that has no such door, such as one with TLS.
func newDiscarder(conn net.Conn) *discarder {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	d := &discarder{raw: raw, space: make([]byte, discardSize)}
	d.once = func(fd uintptr) bool {
		for {
			d.n, _, d.err = unix.Recvfrom(int(fd), d.left, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			if !errors.Is(d.err, unix.EINTR) {
				return !errors.Is(d.err, unix.EAGAIN)
			}
		}
	}
	return d
}

// drop drops at most limit bytes. The error is that of a Read of the connection.
func (d *discarder) drop(limit int64) (int, error) {
	d.left = d.space[:min(limit, discardSize)]
	if err := d.raw.Read(d.once); err != nil {
		return 0, err
	}
	if d.err != nil {
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: d.err}
	}
	if d.n == 0 {
		return 0, io.EOF
	}
	return d.n, nil
}

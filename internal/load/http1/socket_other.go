//go:build !linux

package http1

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket can do less where there is no Linux: it only tells whether a connection is quiet.
type socket struct {
	raw  syscall.RawConn
	mark int
}

const keep, drop = 0, 0

func newSocket(conn net.Conn) *socket {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return nil
	}
	return &socket{raw: raw}
}

func (*socket) direct(net.Conn) *socket { return nil }

func (*socket) read([]byte, int) (int, error) { panic("http1: no connection is read directly here") }

func (*socket) readNow([]byte, int) int { panic("http1: no connection is read directly here") }

func (*socket) write([]byte) error { panic("http1: no connection is written directly here") }

func (*socket) left() []byte { panic("http1: no connection is written directly here") }

func (*socket) await(int) { panic("http1: no connection is read directly here") }

func (s *socket) quiet() bool {
	calm := false
	err := s.raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		calm = errors.Is(err, unix.EAGAIN)
	})
	return err == nil && calm
}

package http1

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is the descriptor of a connection, for what package net has no words for. It belongs to one worker.
type socket struct {
	raw syscall.RawConn
	// mark is how many bytes have to be there before a wait for them ends: SO_RCVLOWAT, socket(7).
	mark int

	// Of the call under way. The functions are made once: a closure for each call would be allocated.
	buf                  []byte
	flags                int
	n                    int
	errno                unix.Errno
	readable, writable   func(fd uintptr) bool
	receiveNow, moveMark func(fd uintptr)
	one                  [1]byte
}

// newSocket returns nil for a connection without a descriptor.
func newSocket(conn net.Conn) *socket {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw, mark: 1}
	s.receiveNow = func(fd uintptr) { s.n, s.errno = call(unix.SYS_RECVFROM, fd, s.buf, s.flags) }
	s.readable = func(fd uintptr) bool {
		s.receiveNow(fd)
		return s.errno != unix.EAGAIN
	}
	s.writable = func(fd uintptr) bool {
		for s.errno = 0; len(s.buf) > 0 && s.errno == 0; s.buf = s.buf[s.n:] {
			s.n, s.errno = call(unix.SYS_SENDTO, fd, s.buf[:min(len(s.buf), longestCall)], unix.MSG_NOSIGNAL)
		}
		return s.errno != unix.EAGAIN
	}
	s.moveMark = func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, s.mark) }
	return s
}

// direct returns the socket where it is what conn reads and writes: not below TLS, nor below what a test puts around it.
func (s *socket) direct(conn net.Conn) *socket {
	if _, plain := conn.(*net.TCPConn); plain {
		return s
	}
	return nil
}

// longestCall is how much is sent by one call, so that it returns soon. Less costs more: to write 8 MiB to a MinIO by
// 256 KiB took 4.7 ms of the client's processor, by 1 MiB 3.8 ms.
const longestCall = 1 << 20

const (
	keep = 0
	// drop gives the bytes to nobody: with MSG_TRUNC, tcp(7), the kernel copies nothing.
	drop = unix.MSG_TRUNC
)

// read is Read of the connection, with keep or drop.
func (s *socket) read(p []byte, how int) (int, error) {
	s.buf, s.flags = p, how
	if err := s.raw.Read(s.readable); err != nil {
		return 0, err
	}
	switch {
	case s.errno != 0:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("recvfrom", s.errno)}
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// readNow is read without a wait, whatever the deadline; it returns 0 where there is nothing.
func (s *socket) readNow(p []byte, how int) int {
	s.buf, s.flags, s.n = p, how, 0
	_ = s.raw.Control(s.receiveNow) // it fails only on a closed connection, and then there is nothing
	return s.n
}

// write is Write of the connection.
func (s *socket) write(p []byte) error {
	s.buf = p
	if err := s.raw.Write(s.writable); err != nil {
		return err
	}
	if s.errno != 0 {
		return &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("sendto", s.errno)}
	}
	return nil
}

// left is what write has not sent when it failed.
func (s *socket) left() []byte { return s.buf }

// await sets the mark. That cannot fail on a TCP connection that is open.
func (s *socket) await(n int) {
	if s.mark != n {
		s.mark = n
		_ = s.raw.Control(s.moveMark)
	}
}

// quiet says that the peer neither closed an idle connection nor sent anything on it.
func (s *socket) quiet() bool {
	s.buf, s.flags, s.errno = s.one[:], unix.MSG_PEEK, 0
	return s.raw.Control(s.receiveNow) == nil && s.errno == unix.EAGAIN
}

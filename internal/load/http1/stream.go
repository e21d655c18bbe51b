package http1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"assay.bench/internal/load"
)

// Stream reads one connection and stamps each read right after it returned.
type Stream struct {
	// At is the instant of the last read.
	At int64
	// Limits of the attempt under way; Start sets them.
	Limits Limits

	ctx    context.Context //nolint:containedctx // the run's, which outlives every request
	conn   net.Conn
	socket *socket // of conn; nil where it cannot be read directly
	clock  load.Clock
	// armed is the instant to which the connection's deadline is set. It is moved only when it has to come earlier, or
	// when it fired too early: that saves a change of a timer for each read.
	armed int64

	buf   []byte
	r, w  int
	media []byte // of the last head
	// dropped says how much is dropped at once. It is never touched, so it costs no memory.
	dropped []byte
}

const (
	firstBuffer   = 4 << 10
	longestBuffer = longestHead
)

// ErrTooLong is the error of an answer with a line beyond every measure.
var ErrTooLong = errors.New("a line of the answer's head or framing is too long")

// TimeoutError says which limit passed: load.TimeoutFirst, load.TimeoutIdle or load.TimeoutTotal.
type TimeoutError struct{ Kind load.Kind }

func (e TimeoutError) Error() string { return "no answer in time: " + string(e.Kind) }

// Unread is what was read from the connection and not taken.
func (s *Stream) Unread() []byte { return s.buf[s.r:s.w] }

func (s *Stream) take(n int) { s.r += n }

// Start sets the limits of an attempt.
func (s *Stream) Start(l Limits) {
	s.Limits = l
	s.arm()
}

// Content notes that content came at the instant of the last read.
func (s *Stream) Content() {
	s.Limits.last = s.At
	if s.Limits.Due() < s.armed {
		s.arm()
	}
}

// arm sets the connection's deadline. The end of ctx sets it too, so that is looked at last.
func (s *Stream) arm() {
	s.armed = s.Limits.Due()
	var deadline time.Time
	if s.armed != Never {
		deadline = s.clock.Deadline(s.armed)
	}
	// It fails only on a closed connection, and then the next read says so.
	_ = s.conn.SetDeadline(deadline)
	if s.ctx.Err() != nil {
		_ = s.conn.SetDeadline(time.Unix(1, 0))
	}
}

// Fill reads once into the buffer. The error is a TimeoutError, the context's, or the connection's.
func (s *Stream) Fill() error {
	if err := s.room(); err != nil {
		return err
	}
	if s.socket != nil {
		s.socket.await(1)
	}
	n, err := s.read(s.buf[s.w:], keep)
	s.w += n
	return err
}

// read reads once, with keep or, where there is a socket, drop.
func (s *Stream) read(p []byte, how int) (int, error) {
	for {
		n, err := s.receive(p, how)
		s.At = s.clock.Now()
		if n > 0 {
			return n, nil
		}
		switch {
		case err == nil:
		case s.ctx.Err() != nil:
			return 0, context.Cause(s.ctx)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case s.Limits.Due() > s.At:
			s.arm()
		case s.socket == nil || s.socket.mark == 1 || s.Limits.Kind() != load.TimeoutIdle:
			return 0, TimeoutError{s.Limits.Kind()}
		default:
			// Less came than was waited for, but no silence: the limit begins anew.
			if n := s.socket.readNow(p, how); n > 0 {
				return n, nil
			}
			return 0, TimeoutError{load.TimeoutIdle}
		}
	}
}

func (s *Stream) receive(p []byte, how int) (int, error) {
	if s.socket != nil {
		return s.socket.read(p, how)
	}
	return s.conn.Read(p)
}

// room makes room for a read.
func (s *Stream) room() error {
	switch {
	case s.r == s.w:
		s.r, s.w = 0, 0
	case s.w == len(s.buf) && s.r > 0:
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if s.w < len(s.buf) {
		return nil
	}
	if len(s.buf) >= longestBuffer {
		return ErrTooLong
	}
	grown := make([]byte, max(firstBuffer, 2*len(s.buf)))
	copy(grown, s.buf[:s.w])
	s.buf = grown
	return nil
}

// line takes a line without its end. It holds until the next read.
func (s *Stream) line() ([]byte, error) {
	for {
		if end := bytes.IndexByte(s.Unread(), '\n'); end >= 0 {
			line := s.Unread()[:end]
			s.take(end + 1)
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if err := s.Fill(); err != nil {
			return nil, err
		}
	}
}

// Head takes the head of the answer, which holds until the next; interim answers (1xx) are passed over.
func (s *Stream) Head() (Head, error) {
	for {
		h, n, err := parseHead(s.Unread())
		if err != nil {
			return h, err
		}
		if n > 0 {
			s.media = append(s.media[:0], h.MediaType...)
			h.MediaType = s.media
			s.take(n)
			if h.Status >= 200 {
				return h, nil
			}
			if h.Status == 101 {
				return h, fmt.Errorf("%w: it changed the protocol", ErrMalformed)
			}
			continue
		}
		if err := s.Fill(); err != nil {
			return h, err
		}
	}
}

package inference

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

// stream reads one connection and stamps each read right after it returned.
type stream struct {
	ctx   context.Context //nolint:containedctx // the run's, which outlives every request
	conn  net.Conn
	clock load.Clock
	// at is the instant of the last read.
	at     int64
	limits limits
	// armed is the instant to which the connection's deadline is set. It is moved only when it has to come earlier, or
	// when it fired too early: that saves a change of a timer for each read.
	armed int64

	buf  []byte
	r, w int
}

const (
	firstBuffer   = 4 << 10
	longestBuffer = longestHead
)

var errTooLong = errors.New("a line of the answer's head or framing is too long")

// timeoutError says which limit passed.
type timeoutError struct{ kind load.Kind }

func (e timeoutError) Error() string { return "no answer in time: " + string(e.kind) }

func (s *stream) unread() []byte { return s.buf[s.r:s.w] }

func (s *stream) take(n int) { s.r += n }

// start sets the limits of an attempt.
func (s *stream) start(l limits) {
	s.limits = l
	s.arm()
}

// content notes that content came at the instant of the last read.
func (s *stream) content() {
	s.limits.last = s.at
	if s.limits.due() < s.armed {
		s.arm()
	}
}

// arm sets the connection's deadline. The end of ctx sets it too, so that is looked at last.
func (s *stream) arm() {
	s.armed = s.limits.due()
	var deadline time.Time
	if s.armed != never {
		deadline = s.clock.Deadline(s.armed)
	}
	// It fails only on a closed connection, and then the next read says so.
	_ = s.conn.SetDeadline(deadline)
	if s.ctx.Err() != nil {
		_ = s.conn.SetDeadline(time.Unix(1, 0))
	}
}

// fill reads once. The error is a timeoutError, the context's, or the connection's.
func (s *stream) fill() error {
	if err := s.room(); err != nil {
		return err
	}
	for {
		n, err := s.conn.Read(s.buf[s.w:])
		s.at = s.clock.Now()
		if n > 0 {
			s.w += n
			return nil
		}
		switch {
		case err == nil:
		case s.ctx.Err() != nil:
			return context.Cause(s.ctx)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case s.limits.due() <= s.at:
			return timeoutError{s.limits.kind()}
		default:
			s.arm()
		}
	}
}

// room makes room for a read.
func (s *stream) room() error {
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
		return errTooLong
	}
	grown := make([]byte, max(firstBuffer, 2*len(s.buf)))
	copy(grown, s.buf[:s.w])
	s.buf = grown
	return nil
}

// line takes a line without its end. It holds until the next read.
func (s *stream) line() ([]byte, error) {
	for {
		if end := bytes.IndexByte(s.unread(), '\n'); end >= 0 {
			line := s.unread()[:end]
			s.take(end + 1)
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// head takes the head of the answer; interim answers (1xx) are passed over.
func (s *stream) head() (head, error) {
	for {
		h, n, err := parseHead(s.unread())
		if err != nil {
			return h, err
		}
		if n > 0 {
			h.mediaType = bytes.Clone(h.mediaType)
			s.take(n)
			if h.status >= 200 {
				return h, nil
			}
			if h.status == 101 {
				return h, fmt.Errorf("%w: it changed the protocol", errMalformed)
			}
			continue
		}
		if err := s.fill(); err != nil {
			return h, err
		}
	}
}

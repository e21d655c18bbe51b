package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Body hands out the bytes of an answer's body as they arrive, without the framing.
type Body struct {
	in *Stream
	// left is what is left of the chunk or of the body; -1 for a body that ends with the connection.
	left    int64
	chunked bool
	state   bodyState
	// rest is what Read has left of a piece.
	rest []byte
}

type bodyState uint8

// The states of a chunked body:
//
//	size --n>0--> data --n bytes--> gap --CRLF--> size
//	     --0----> trailers --blank line--> over
//
// A body that is not chunked is only in data and over.
const (
	inSize bodyState = iota
	inData
	inGap
	inTrailers
	over
)

// NewBody reads the body that follows a head.
func NewBody(in *Stream, h Head) Body {
	b := Body{in: in, left: h.Length, chunked: h.Chunked, state: inData}
	switch {
	case h.Chunked:
		b.state = inSize
	case h.Length == 0 || h.Status == 204 || h.Status == 304:
		b.state = over
	}
	return b
}

// Next is the next piece; it reads from the connection only when nothing of the body is buffered. It holds until the
// call after it. The error is io.EOF at the end of the body, io.ErrUnexpectedEOF when the connection ended first.
func (b *Body) Next() ([]byte, error) {
	for {
		switch b.state {
		case over:
			return nil, io.EOF
		case inData:
			return b.data()
		default:
			if err := b.framing(); err != nil {
				return nil, err
			}
		}
	}
}

// Buffered says that something of the body, or all of it, was read from the connection already.
func (b *Body) Buffered() bool { return b.state == over || len(b.in.Unread()) > 0 }

func (b *Body) data() ([]byte, error) {
	if len(b.in.Unread()) == 0 {
		if err := b.in.Fill(); err != nil {
			if errors.Is(err, io.EOF) && b.left < 0 {
				b.state = over
				return nil, io.EOF
			}
			return nil, unexpected(err)
		}
	}
	piece := b.in.Unread()
	if b.left >= 0 {
		piece = piece[:min(int64(len(piece)), b.left)]
		b.left -= int64(len(piece))
	}
	b.in.take(len(piece))
	if b.left == 0 {
		b.state = over
		if b.chunked {
			b.state = inGap
		}
	}
	return piece, nil
}

// framing reads one line between the data of two chunks.
func (b *Body) framing() error {
	line, err := b.in.line()
	if err != nil {
		return unexpected(err)
	}
	switch b.state {
	case inSize:
		size, ok := chunkSize(line)
		if !ok {
			return fmt.Errorf("%w: chunk size %.20q", ErrMalformed, line)
		}
		b.left, b.state = size, inData
		if size == 0 {
			b.state = inTrailers
		}
	case inGap:
		if len(line) > 0 {
			return fmt.Errorf("%w: a chunk is longer than its size", ErrMalformed)
		}
		b.state = inSize
	case inTrailers:
		if len(line) == 0 {
			b.state = over
		}
	}
	return nil
}

// chunkSize reads the hexadecimal size of a chunk; extensions are passed over.
func chunkSize(line []byte) (n int64, ok bool) {
	line, _, _ = bytes.Cut(line, []byte(";"))
	line = bytes.TrimRight(line, " \t")
	if len(line) == 0 || len(line) > 8 {
		return 0, false
	}
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Over says that nothing more of the body will come from the connection.
func (b *Body) Over() bool { return b.state == over }

// Read reads the next bytes of the body into p, past the buffer of the connection where that is empty: for bodies that
// are large. The error is that of Next.
func (b *Body) Read(p []byte) (int, error) {
	if !b.direct() {
		return b.copy(p)
	}
	return b.take(p, keep)
}

// Discard drops the next bytes of the body, without a copy where the kernel can. It returns how many. The error is that of
// Next.
func (b *Body) Discard() (int, error) {
	if n := len(b.rest); n > 0 {
		b.rest = nil
		return n, nil
	}
	if b.in.socket == nil || !b.direct() {
		piece, err := b.Next()
		return len(piece), err
	}
	if b.in.dropped == nil {
		b.in.dropped = make([]byte, together)
	}
	return b.take(b.in.dropped, drop)
}

// direct says that what the connection gives next is what the body goes on with, and for as long as left says.
func (b *Body) direct() bool {
	return !b.chunked && b.state == inData && b.left >= 0 && len(b.in.Unread()) == 0 && len(b.rest) == 0
}

const (
	// together is how much of a large body is waited for at once, and dropped at once.
	together = 1 << 20
	// least is how much less is not worth to be waited for at once.
	least = 64 << 10
)

// mark is how many bytes have to be there before a wait for content ends. A server that sends a large body in small pieces
// would otherwise wake the client for each, which costs more than to take them: of 2.4 ms for 8 MiB from a MinIO, 0.9 ms
// are left. The first content is not kept waiting, since its instant is a latency. Nor is the last: it is never more than
// half of what is left, so that there is little to do after the last byte came.
func (b *Body) mark() int {
	if n := min(together, 1<<bits.Len64(uint64(b.left))>>2); n >= least && b.in.Limits.last != 0 {
		return n
	}
	return 1
}

// take reads past the buffer.
func (b *Body) take(p []byte, how int) (int, error) {
	if b.in.socket != nil {
		b.in.socket.await(b.mark())
	}
	n, err := b.in.read(p[:min(int64(len(p)), b.left)], how)
	if err != nil {
		return n, unexpected(err)
	}
	if b.left -= int64(n); b.left == 0 {
		b.state = over
	}
	return n, nil
}

// copy is Read by way of Next.
func (b *Body) copy(p []byte) (int, error) {
	if len(b.rest) == 0 {
		var err error
		if b.rest, err = b.Next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

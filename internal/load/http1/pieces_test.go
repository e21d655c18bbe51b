package http1

import (
	"context"
	"io"
	"net"
	"time"
)

// context0 never ends.
var context0 = context.Background()

// pieces is a connection that gives in, at most n bytes a read.
type pieces struct {
	net.Conn
	in []byte
	n  int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *pieces) SetDeadline(time.Time) error { return nil }

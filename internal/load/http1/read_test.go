package http1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"assay.bench/internal/load"
)

// accept serves one connection, and closes it then.
func accept(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	}()
	return l.Addr().String()
}

// answer serves one connection with the same bytes for each request, written in pieces.
func answer(t *testing.T, whole []byte, piece int) string {
	t.Helper()
	return accept(t, func(conn net.Conn) {
		request := make([]byte, 4)
		for {
			if _, err := io.ReadFull(conn, request); err != nil {
				return
			}
			for rest := whole; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
				if _, err := conn.Write(rest[:min(piece, len(rest))]); err != nil {
					return
				}
			}
		}
	})
}

func connect(t *testing.T, address string) *Connection {
	t.Helper()
	c := New(t.Context(), &Options{Address: address, Clock: load.NewTimerClock(), Dial: new(net.Dialer).DialContext, Idle: time.Minute})
	t.Cleanup(c.End)
	return c
}

// exchange asks once and hands the body to sink.
func exchange(t *testing.T, c *Connection, sink func(*Body) (int, error)) (int, error) {
	t.Helper()
	if err := c.Open(c.clock.Now(), Timeouts{Total: 5 * time.Second}.From(c.clock.Now())); err != nil {
		t.Fatal(err)
	}
	if err := c.Write([]byte("ask\n")); err != nil {
		t.Fatal(err)
	}
	h, err := c.Head()
	if err != nil {
		t.Fatal(err)
	}
	body := NewBody(&c.Stream, h)
	n, err := sink(&body)
	c.Finish(err == nil && body.Over() && len(c.Unread()) == 0)
	return n, err
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func framed(body []byte, chunk int) []byte {
	if chunk == 0 {
		return append([]byte("HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
	}
	out := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for ; len(body) > 0; body = body[min(chunk, len(body)):] {
		n := min(chunk, len(body))
		out = append(strconv.AppendInt(out, int64(n), 16), "\r\n"...)
		out = append(append(out, body[:n]...), "\r\n"...)
	}
	return append(out, "0\r\n\r\n"...)
}

// Read and Discard see the same body, whatever its framing and its pieces, and leave the connection usable.
func TestLargeBodies(t *testing.T) {
	body := random(3<<20 + 17)
	for name, c := range map[string]struct{ chunk, piece int }{
		"by length":             {0, 1 << 20},
		"by length, in pieces":  {0, 1400},
		"in chunks":             {64 << 10, 1 << 20},
		"in chunks, and pieces": {5000, 3000},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, answer(t, framed(body, c.chunk), c.piece))
			for _, size := range []int{100_000, 1000} { // more than the connection's buffer may hold of the body, and less
				got := make([]byte, 0, len(body))
				n, err := exchange(t, conn, func(b *Body) (int, error) {
					buf := make([]byte, size)
					for {
						n, err := b.Read(buf)
						got = append(got, buf[:n]...)
						if err != nil {
							return len(got), ignoreEnd(err)
						}
						conn.Content()
					}
				})
				if err != nil || n != len(body) || !bytes.Equal(got, body) {
					t.Fatalf("read %d bytes of %d, equal %t, error %v", n, len(body), bytes.Equal(got, body), err)
				}
				n, err = exchange(t, conn, func(b *Body) (total int, err error) {
					for {
						n, err := b.Discard()
						total += n
						if err != nil {
							return total, ignoreEnd(err)
						}
						conn.Content()
					}
				})
				if err != nil || n != len(body) {
					t.Fatalf("dropped %d bytes of %d, error %v", n, len(body), err)
				}
			}
		})
	}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// A body that is cut, and one that stops, fail in the same way however they are taken.
func TestLargeBodiesThatFail(t *testing.T) {
	sinks := map[string]func(*Body) (int, error){
		"read":    func(b *Body) (int, error) { return b.Read(make([]byte, 1<<16)) },
		"discard": func(b *Body) (int, error) { return b.Discard() },
		"next":    func(b *Body) (int, error) { p, err := b.Next(); return len(p), err },
	}
	for name, sink := range sinks {
		t.Run(name, func(t *testing.T) {
			all := func(b *Body) (total int, err error) {
				for {
					n, err := sink(b)
					total += n
					if err != nil {
						return total, err
					}
				}
			}
			cut := connect(t, onceThenClose(t, framed(random(200_000), 0)[:150_000]))
			if _, err := exchange(t, cut, all); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut: %v, want %v", err, io.ErrUnexpectedEOF)
			}
			stuck := connect(t, answer(t, framed(random(200_000), 0)[:150_000], 1<<20))
			now := stuck.clock.Now()
			if err := stuck.Open(now, Timeouts{Total: 50 * time.Millisecond}.From(now)); err != nil {
				t.Fatal(err)
			}
			if err := stuck.Write([]byte("ask\n")); err != nil {
				t.Fatal(err)
			}
			h, err := stuck.Head()
			if err != nil {
				t.Fatal(err)
			}
			body := NewBody(&stuck.Stream, h)
			var late TimeoutError
			if _, err := all(&body); !errors.As(err, &late) || late.Kind != load.TimeoutTotal {
				t.Errorf("stuck: %v, want a timeout", err)
			}
		})
	}
}

// onceThenClose answers one request and closes the connection.
func onceThenClose(t *testing.T, whole []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 4)); err == nil {
			_, _ = conn.Write(whole)
		}
	}()
	return l.Addr().String()
}

// The end of the load ends a read and a drop at once.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := New(ctx, &Options{
		Address: answer(t, framed(random(200_000), 0)[:150_000], 1<<20),
		Clock:   load.NewTimerClock(), Dial: new(net.Dialer).DialContext, Idle: time.Minute,
	})
	defer c.End()
	_, err := exchange(t, c, func(b *Body) (int, error) {
		time.AfterFunc(20*time.Millisecond, cancel)
		for {
			if _, err := b.Discard(); err != nil {
				return 0, err
			}
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

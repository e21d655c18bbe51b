package ssh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"assay.bench/slurmbridge/ssh/sshtest"
)

// pipes is a listener whose connections are pipes, for a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// buffer is one direction of a connection within a bubble. net.Pipe has none, and both sides of SSH begin with a write.
type buffer struct {
	mu     sync.Mutex
	more   *sync.Cond
	b      bytes.Buffer
	closed bool
}

func newBuffer() *buffer {
	b := &buffer{}
	b.more = sync.NewCond(&b.mu)
	return b
}

func (b *buffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.b.Len() == 0 && !b.closed {
		b.more.Wait()
	}
	return b.b.Read(p)
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.more.Broadcast()
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	return b.b.Write(p)
}

func (b *buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.more.Broadcast()
	return nil
}

// wire is one end of a connection.
type wire struct {
	net.Conn // for what is not used
	r, w     *buffer
}

func (w wire) Read(p []byte) (int, error)  { return w.r.Read(p) }
func (w wire) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w wire) Close() error                { return errors.Join(w.r.Close(), w.w.Close()) }
func (wire) RemoteAddr() net.Addr          { return pipes{}.Addr() }
func (wire) LocalAddr() net.Addr           { return pipes{}.Addr() }

// A host that hangs answers nothing and closes nothing. After three misses it is given up; one that answers is kept.
func TestKeepAlive(t *testing.T) {
	for name, tt := range map[string]struct {
		mute     bool
		want     string
		min, max time.Duration
	}{
		"hangs":   {true, "127.0.0.1:22 has not answered for 45s: the connection is dead", 45 * time.Second, 61 * time.Second},
		"answers": {false, "did not end in time: context deadline exceeded", time.Hour, time.Hour + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := pipes{make(chan net.Conn), make(chan struct{})}
				s := sshtest.New(t, func(s *sshtest.Server) { s.Listener, s.Silent = listener, true })
				h, err := Open(Options{
					Target: Target{Host: s.Host, User: s.User, KnownHosts: s.KnownHosts(), Keys: []Key{{PEM: s.Key}}},
					Dial: func(context.Context, string, string) (net.Conn, error) {
						there, back := newBuffer(), newBuffer()
						listener.conns <- wire{r: there, w: back}
						return wire{r: back, w: there}, nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if tt.mute {
					s.Mute()
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				_, err = h.run(ctx, "squeue", "squeue", bytes.NewReader(nil))
				if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), tt.want) || took < tt.min || took > tt.max {
					t.Errorf("after %s: %v, want %q", took, err, tt.want)
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute) // for what ends on its own
			})
		})
	}
}

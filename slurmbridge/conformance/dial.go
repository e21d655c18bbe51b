package conformance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/slurmbridge"
)

// Dialer runs the case of slurmbridge.Dialer alone.
func Dialer(t *testing.T, d slurmbridge.Dialer) {
	dial(&suite{Harness: Harness{Dialer: d, Patience: 20 * time.Second}, t: t})
}

// dial: what is sent comes through, on more connections at once than OpenSSH gives sessions, and who does not connect says
// why.
func dial(s *suite) {
	s.needs(s.Dialer != nil, "Dialer")
	there := s.echo()
	var conns []net.Conn
	for n := range 12 {
		c, err := s.Dialer.Dial(s.t.Context(), there.address)
		s.must(err)
		defer c.Close()
		conns = append(conns, c)
		s.converse(c, fmt.Sprintf("word %d\n", n))
	}
	if s.Files != nil {
		_, err := s.Files.Read(s.t.Context(), s.WorkDir+"/none")
		s.must(err)
	}
	for n, c := range conns {
		s.converse(c, fmt.Sprintf("another %d\n", n))
		if err := c.Close(); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	}
	s.eventually("the other side sees that they are closed", func() bool { return there.open() == 0 }, func() any { return there.open() })
	there.close()
	_, err := s.Dialer.Dial(s.t.Context(), there.address)
	if err == nil || errors.Is(err, slurmbridge.ErrUnreachable) || errors.Is(err, slurmbridge.ErrForwarding) || !strings.Contains(err.Error(), there.address) {
		s.t.Errorf("Dial where nobody listens: %v, want an error about %s", err, there.address)
	}
	if _, err := s.Dialer.Dial(s.ended(), there.address); !errors.Is(err, slurmbridge.ErrUnreachable) {
		s.t.Errorf("Dial in a context that is over: %v, want ErrUnreachable", err)
	}
	for _, address := range []string{"", "mel2001", "mel2001:", ":80", "mel2001:http", "mel2001:0", "mel2001:65536", "-oX=y:80", "a b:80", "$(id):80", "a\n:80", "[::1:80"} {
		if c, err := s.Dialer.Dial(s.t.Context(), address); err == nil || !strings.Contains(err.Error(), "give host:port") {
			s.t.Errorf("Dial(%q): %v, %v; want what to give", address, c, err)
		}
	}
}

// converse sends words and reads them back.
func (s *suite) converse(c net.Conn, words string) {
	s.t.Helper()
	_, err := io.WriteString(c, words)
	s.must(err)
	got := make([]byte, len(words))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != words {
		s.t.Fatalf("%q, %v came back, want %q", got, err, words)
	}
}

// echo is a server that says what it is told.
type echo struct {
	address string
	close   func()

	mu sync.Mutex
	n  int
}

func (e *echo) add(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n += n
}

// open is how many connections there are.
func (e *echo) open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n
}

func (s *suite) echo() *echo {
	s.t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	s.must(err)
	e := &echo{address: l.Addr().String(), close: func() { _ = l.Close() }}
	s.t.Cleanup(e.close)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.add(1)
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
				e.add(-1)
			}()
		}
	}()
	return e
}

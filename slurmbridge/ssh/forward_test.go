package ssh_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/slurmbridge/ssh/sshtest"
)

// A host that gives no session at all forwards connections, and all of them over one of its own.
func TestDial(t *testing.T) {
	s := sshtest.New(t, func(s *sshtest.Server) { s.MaxSessions = -1 })
	conformance.Dialer(t, openServer(t, s))
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections to the host, want 1", n)
	}
}

func TestDialThroughMaster(t *testing.T) {
	h, socket := openMaster(t)
	conformance.Dialer(t, h)
	_, err := h.Dial(t.Context(), net.JoinHostPort("127.0.0.1", "1"))
	wantRefused(t, err, "u1@login does not connect us to 127.0.0.1:1 (Stdio forwarding request failed: Session open refused by peer)",
		"the terminal of ssh -M says which")
	must(t, os.Remove(socket))
	_, err = h.Dial(t.Context(), net.JoinHostPort("127.0.0.1", "1"))
	wantUnreachable(t, err, "no master is running at "+socket)
}

// A master that never answers holds nobody.
func TestStuckMaster(t *testing.T) {
	h, err := ssh.OpenMaster(ssh.MasterOptions{Destination: "u1@login", ControlPath: "/socket", Program: script(t, "ssh", "exec sleep 600\n")})
	must(t, err)
	_, err = h.Dial(within(t, 100*time.Millisecond), "mel2001:8000")
	wantRefused(t, err, "u1@login has no connection to mel2001:8000 in time: a firewall")
}

// wantRefused checks an error that says nothing bad of the way to the host.
func wantRefused(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil || errors.Is(err, slurmbridge.ErrUnreachable) || errors.Is(err, slurmbridge.ErrForwarding) {
		t.Errorf("%v, want an error about the address alone", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want one with the words %q", err, w)
		}
	}
}

func TestNoForwarding(t *testing.T) {
	s := sshtest.New(t, func(s *sshtest.Server) { s.NoForwarding = true })
	h := openServer(t, s)
	_, err := h.Dial(t.Context(), "mel2001:8000")
	want := address(s) + " does not forward a connection to mel2001:8000 (forwarding is off): its AllowTcpForwarding or PermitOpen"
	if !errors.Is(err, slurmbridge.ErrForwarding) || errors.Is(err, slurmbridge.ErrUnreachable) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want ErrForwarding with %q", err, want)
	}
	must(t, try(t.Context(), h))
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections, want the one that there was", n)
	}
}

// A host that does not answer is told from an address that does not.
func TestDialWithoutHost(t *testing.T) {
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	s.Refuse(true)
	_, err := h.Dial(t.Context(), "mel2001:8000")
	wantUnreachable(t, err, "took our connection and closed it")
	s.Refuse(false)
	must(t, try(t.Context(), h))
	s.Mute()
	_, err = h.Dial(within(t, 100*time.Millisecond), "mel2001:8000")
	wantRefused(t, err, address(s)+" has no connection to mel2001:8000 in time: a firewall")
}

// What is forwarded ends with the connection, and a connection that gives no more sessions stays as long as it is needed.
func TestForwardedConnectionStays(t *testing.T) {
	s := sshtest.New(t, func(s *sshtest.Server) { s.MaxSessions = 2 })
	h := openServer(t, s)
	must(t, try(t.Context(), h))
	eventually(t, "that has ended", func() bool { return s.OpenSessions() == 0 })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := h.Dial(t.Context(), l.Addr().String())
	must(t, err)
	defer c.Close()
	there, err := l.Accept()
	must(t, err)
	defer there.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := h.Run(ctx, slurmbridge.Command{Argv: []string{"sleep", "600"}})
			done <- err
		}()
	}
	eventually(t, "two run", func() bool { return s.OpenSessions() == 2 })
	must(t, try(t.Context(), h)) // refused on the first connection, which is then given up
	if n := s.Connections(); n != 2 {
		t.Errorf("%d connections, want a second one", n)
	}
	cancel()
	wantUnreachable(t, <-done)
	wantUnreachable(t, <-done)
	eventually(t, "all has ended", func() bool { return s.OpenSessions() == 0 })
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Errorf("write: %v", err)
	}
	if _, err := io.ReadFull(there, make([]byte, 1)); err != nil {
		t.Errorf("the connection was closed while it was used: %v", err)
	}
	must(t, c.Close())
	eventually(t, "the first one is closed", func() bool { return s.OpenConnections() == 1 })

	c, err = h.Dial(t.Context(), l.Addr().String())
	must(t, err)
	s.Drop()
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Errorf("read %d bytes of a connection that was lost", n)
	}
	_ = c.Close() // with it
}

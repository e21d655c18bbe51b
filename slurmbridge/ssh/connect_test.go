package ssh_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/slurmbridge/ssh/sshtest"
)

// A broken connection fails what is under way, and the next call makes another.
func TestReconnect(t *testing.T) {
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	must(t, try(t.Context(), h))
	eventually(t, "that has ended", func() bool { return s.OpenSessions() == 0 })
	for round := range 3 {
		failed := make(chan error, 1)
		go func() {
			_, err := h.Run(t.Context(), slurmbridge.Command{Argv: []string{"sleep", "600"}})
			failed <- err
		}()
		eventually(t, "it runs", func() bool { return s.OpenSessions() == 1 })
		s.Drop()
		wantUnreachable(t, <-failed, "the connection to 127.0.0.1:", "was lost (")
		begin := time.Now()
		must(t, try(t.Context(), h))
		if took := time.Since(begin); took > 2*time.Second || s.Connections() != 2+round {
			t.Errorf("the next call took %s and made connection %d, want %d", took, s.Connections(), 2+round)
		}
		s.End()
		eventually(t, "all has ended", func() bool { return s.OpenSessions() == 0 })
	}
}

// A site that was away is back within 2 s of its return, and is not asked all the time while it is away.
func TestPauses(t *testing.T) {
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	s.Refuse(true)
	begin, calls := time.Now(), 0
	for time.Since(begin) < 3*time.Second {
		wantUnreachable(t, try(t.Context(), h), "took our connection and closed it")
		calls++
	}
	if n := s.Connections(); n > 6 || calls > n {
		t.Errorf("%d calls made %d connections in 3 s", calls, n)
	}
	s.Refuse(false)
	begin = time.Now()
	must(t, try(t.Context(), h))
	if took := time.Since(begin); took > 2500*time.Millisecond {
		t.Errorf("back after %s", took)
	}
}

// A connection that takes everything and answers nothing holds nobody beyond its context.
func TestStuckConnection(t *testing.T) {
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	must(t, try(t.Context(), h))
	s.Mute()
	for range 3 {
		begin := time.Now()
		err := try(within(t, 100*time.Millisecond), h)
		wantUnreachable(t, err, "deadline exceeded")
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	}
	_, err := h.Files("/n").Open(within(t, 100*time.Millisecond), "/log", 0)
	wantUnreachable(t, err, "deadline exceeded")
}

// A host that refuses a session is asked again on a new connection: its count may never go down again on the old one.
func TestRefusedSession(t *testing.T) {
	s := sshtest.New(t, func(s *sshtest.Server) { s.MaxSessions = 2 })
	h := openServer(t, s)
	must(t, try(t.Context(), h))
	eventually(t, "that has ended", func() bool { return s.OpenSessions() == 0 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := h.Run(ctx, slurmbridge.Command{Argv: []string{"sleep", "600"}})
			done <- err
		}()
	}
	eventually(t, "two run", func() bool { return s.OpenSessions() == 2 })
	must(t, try(t.Context(), h))
	if n := s.Connections(); n != 2 {
		t.Errorf("%d connections, want a second one", n)
	}
	cancel()
	wantUnreachable(t, <-done)
	wantUnreachable(t, <-done)
	eventually(t, "the first one is closed", func() bool { return s.OpenConnections() == 1 })

	none := sshtest.New(t, func(s *sshtest.Server) { s.MaxSessions = -1 })
	wantUnreachable(t, try(t.Context(), openServer(t, none)), "it refuses one more session (open failed): its MaxSessions may be lower than we expect")
	if n := none.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestNoCommands(t *testing.T) {
	h := openServer(t, sshtest.New(t, func(s *sshtest.Server) { s.NoCommands = true }))
	wantUnreachable(t, try(t.Context(), h), "it runs no commands for this user")
}

func TestClose(t *testing.T) {
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	must(t, try(t.Context(), h))
	must(t, h.Close())
	wantUnreachable(t, try(t.Context(), h), "closed by us")
	never := openServer(t, s)
	must(t, never.Close())
	wantUnreachable(t, try(t.Context(), never), "closed by us")
}

func TestJump(t *testing.T) {
	far := sshtest.New(t, nil)
	first, second := sshtest.New(t, func(s *sshtest.Server) { s.User = "jumper" }), sshtest.New(t, nil)
	h := open(t, ssh.Options{Target: target(far), Jumps: []ssh.Target{target(first), target(second)}})
	if got := sh(t, h, "echo there"); got != "there\n" {
		t.Errorf("said %q", got)
	}
	for name, s := range map[string]*sshtest.Server{"first": first, "second": second, "far": far} {
		if s.Connections() != 1 {
			t.Errorf("%s: %d connections, want 1", name, s.Connections())
		}
	}
	second.Drop()
	eventually(t, "the loss is seen", func() bool { return try(t.Context(), h) == nil && far.Connections() == 2 })

	stranger := target(first)
	stranger.KnownHosts = far.KnownHosts()
	closed := target(far)
	closed.Port, closed.KnownHosts = freePort(t), first.KnownHosts()
	for reason, tt := range map[string]struct {
		o    ssh.Options
		want string
	}{
		"each host is checked":      {ssh.Options{Target: target(far), Jumps: []ssh.Target{stranger}}, "on the way, the host key of " + address(first) + " is not pinned"},
		"it connects to nobody":     {ssh.Options{Target: target(far), Jumps: []ssh.Target{target(sshtest.New(t, func(s *sshtest.Server) { s.NoForwarding = true }))}}, "the jump host does not connect us to " + address(far) + " (forwarding is off)"},
		"nobody is where it points": {ssh.Options{Target: closed, Jumps: []ssh.Target{target(first)}}, "(Connection refused): check the name"},
	} {
		t.Run(reason, func(t *testing.T) { wantUnreachable(t, try(t.Context(), open(t, tt.o)), tt.want) })
	}
}

func address(s *sshtest.Server) string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// dial is a network of its own.
func dial(f func(ctx context.Context) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return f(ctx) }
}

// conversation is the other end of a connection, which does what it is told.
func conversation(t *testing.T, talk func(io.ReadWriter)) func(context.Context, string, string) (net.Conn, error) {
	return dial(func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })
		go func() {
			talk(theirs)
			_ = theirs.Close()
		}()
		return ours, nil
	})
}

func TestNoConnection(t *testing.T) {
	s := sshtest.New(t, nil)
	for name, tt := range map[string]struct {
		change func(*ssh.Options)
		want   string
	}{
		"refused": {func(o *ssh.Options) { o.Port = freePort(t); o.KnownAs = "x" }, "refuses connections: check the port, and that its sshd runs"},
		"no name": {func(o *ssh.Options) {
			o.Dial = dial(func(context.Context) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Name: "logn.lxp.lu", Err: "no such host", IsNotFound: true}}
			})
		}, "there is no host logn.lxp.lu: check its name"},
		"no DNS": {func(o *ssh.Options) {
			o.Dial = dial(func(context.Context) (net.Conn, error) {
				return nil, &net.DNSError{Name: "login.lxp.lu", Err: "server misbehaving"}
			})
		}, "the name login.lxp.lu cannot be looked up (server misbehaving): check the network"},
		"no route": {func(o *ssh.Options) {
			o.Dial = dial(func(ctx context.Context) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		}, "does not take our connection in time: a VPN may be down"},
		"silent": {func(o *ssh.Options) {
			o.Dial = conversation(t, func(c io.ReadWriter) { _, _ = io.Copy(io.Discard, c) })
		}, "kept us waiting at its door: it may be overloaded; try ssh -p"},
		"no SSH": {func(o *ssh.Options) {
			o.Dial = conversation(t, func(c io.ReadWriter) {
				_, _ = bufio.NewReader(c).ReadString('\n')
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			})
		}, "is it an SSH server, and does it let this machine in?"},
	} {
		t.Run(name, func(t *testing.T) {
			o := ssh.Options{Target: target(s), ConnectTimeout: 300 * time.Millisecond}
			tt.change(&o)
			err := try(t.Context(), open(t, o))
			wantUnreachable(t, err, tt.want)
			if errors.Is(err, slurmbridge.ErrHostKey) || errors.Is(err, slurmbridge.ErrCredentials) {
				t.Errorf("%v is about keys", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%v is more than one line", err)
			}
		})
	}
}

func TestHostKeys(t *testing.T) {
	s := sshtest.New(t, nil)
	other := sshtest.New(t, nil)
	where := address(s)
	shown := xssh.FingerprintSHA256(s.HostKey())
	pinned := xssh.FingerprintSHA256(other.HostKey())
	otherLine := strings.TrimSuffix(strings.Replace(string(other.KnownHosts()), strconv.Itoa(other.Port), strconv.Itoa(s.Port), 1), "\n")
	for reason, tt := range map[string]struct {
		known string
		want  []string
	}{
		"nobody knows it":  {string(other.KnownHosts()), []string{"the host key of " + where + " is not pinned; it shows ssh-ed25519 " + shown, "add this line to knownHosts: " + strings.TrimSpace(string(s.KnownHosts()))}},
		"it has changed":   {otherLine, []string{"THE HOST KEY OF " + where + " HAS CHANGED: pinned is ssh-ed25519 " + pinned + ", and it shows ssh-ed25519 " + shown}},
		"it is revoked":    {"# ours\n@revoked " + string(s.KnownHosts()), []string{where + " SHOWS A REVOKED HOST KEY, ssh-ed25519 " + shown + " (line 2 of knownHosts)"}},
		"it is of another": {strings.Replace(otherLine, "127.0.0.1", "localhost", 1), []string{"is not pinned"}},
	} {
		t.Run(reason, func(t *testing.T) {
			o := ssh.Options{Target: target(s)}
			o.KnownHosts = []byte(tt.known)
			h := open(t, o)
			begin := s.Connections()
			for range 3 {
				err := try(t.Context(), h)
				wantUnreachable(t, err, tt.want...)
				if !errors.Is(err, slurmbridge.ErrHostKey) || errors.Is(err, slurmbridge.ErrCredentials) {
					t.Errorf("%v, want ErrHostKey", err)
				}
			}
			if n := s.Connections() - begin; n != 1 {
				t.Errorf("asked %d times for an answer that stays the same", n)
			}
		})
	}
	// A host whose key changes while it is open is noticed as well.
	h := openServer(t, s)
	must(t, try(t.Context(), h))
	s.ChangeHostKey()
	s.Drop()
	eventually(t, "the stranger is noticed", func() bool { return errors.Is(try(t.Context(), h), slurmbridge.ErrHostKey) })
}

// Hosts are pinned in every way that known_hosts has.
func TestWaysToPin(t *testing.T) {
	s := sshtest.New(t, nil)
	key := strings.TrimSpace(string(xssh.MarshalAuthorizedKey(s.HostKey())))
	port := strconv.Itoa(s.Port)
	for _, line := range []string{
		"[127.0.0.1]:" + port + " " + key, "# comment\n\n[127.0.0.1]:" + port + ",other " + key + " comment", "* " + key,
		"[127.0.0.*]:" + port + " " + key, "login.example " + key,
	} {
		o := ssh.Options{Target: target(s)}
		o.KnownHosts = []byte(line)
		if strings.HasPrefix(line, "login") {
			o.KnownAs = "login.example"
		}
		if err := try(t.Context(), open(t, o)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A site that certifies its hosts is pinned by its authority. Who has pinned the plain key is not bothered with it, and who
// has pinned nothing is told the plain one.
func TestCertifiedHost(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	authority, err := xssh.NewSignerFromKey(private)
	must(t, err)
	s := sshtest.New(t, func(s *sshtest.Server) { s.Authority = authority })
	trusted := func(key xssh.PublicKey) string {
		return "@cert-authority 127.0.0.* " + string(xssh.MarshalAuthorizedKey(key))
	}
	other := sshtest.New(t, nil)
	for reason, tt := range map[string]struct{ known, want string }{
		"the authority":     {trusted(authority.PublicKey()), ""},
		"the plain key":     {string(s.KnownHosts()), ""},
		"both":              {trusted(authority.PublicKey()) + string(s.KnownHosts()), ""},
		"nothing":           {string(other.KnownHosts()), "it shows " + "ssh-ed25519 " + xssh.FingerprintSHA256(s.HostKey())},
		"another authority": {trusted(other.HostKey()), "shows a certificate by ssh-ed25519 " + xssh.FingerprintSHA256(authority.PublicKey()) + ", which is not to be trusted"},
	} {
		o := ssh.Options{Target: target(s)}
		o.KnownHosts = []byte(tt.known)
		err := try(t.Context(), open(t, o))
		if (err == nil) != (tt.want == "") {
			t.Errorf("%s: %v, want %q", reason, err, tt.want)
		}
		if err != nil {
			wantUnreachable(t, err, tt.want)
			if !errors.Is(err, slurmbridge.ErrHostKey) {
				t.Errorf("%s: %v, want ErrHostKey", reason, err)
			}
		}
	}
}

package ssh

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"assay.bench/slurmbridge"
)

// Dial connects to a port that the host reaches, such as one of a compute node. It implements slurmbridge.Dialer. The
// connection is a channel of the one that carries everything. It takes none of the sessions: sshd's MaxSessions counts
// shells, logins and subsystems, and no forwarding.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, h.unreachable(fmt.Errorf("%s was not dialed: %w", address, context.Cause(ctx)))
	}
	c, err := h.carrier.forward(ctx, address)
	if _, isFault := errors.AsType[fault](err); isFault || err == nil {
		return c, err
	}
	return nil, h.unreachable(err)
}

// checkAddress leaves host:port in which nothing could mean anything else to a program that it is given to.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	strange := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:", r)
	}
	if err != nil || portErr != nil || number == 0 || host == "" || host[0] == '-' || strings.ContainsFunc(host, strange) {
		return fmt.Errorf("%q is no address: give host:port, with brackets round an IPv6 address", address)
	}
	return nil
}

// forward opens a channel on the connection.
func (p *pool) forward(ctx context.Context, address string) (net.Conn, error) {
	conn, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	conn.use(1) // one that was retired meanwhile stays for it
	c, err := conn.client.DialContext(ctx, "tcp", address)
	if err != nil {
		conn.use(-1)
		return nil, conn.explainForward(ctx, address, err)
	}
	return &forwarded{Conn: c, over: func() { conn.use(-1) }}, nil
}

// explainForward says why the host did not connect us.
func (c *connection) explainForward(ctx context.Context, address string, err error) error {
	refused, isRefused := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case isRefused && (refused.Reason == ssh.Prohibited || refused.Reason == ssh.UnknownChannelType):
		return fault{fmt.Sprintf("%s does not forward a connection to %s (%s): its AllowTcpForwarding or PermitOpen, or the options of our key there, forbid it; ask the site, or name another of its login nodes",
			c.to, address, refused.Message), []error{slurmbridge.ErrForwarding}}
	case isRefused:
		return fault{fmt.Sprintf("%s cannot connect to %s (%s): the server may have ended, or listen where that host does not reach it",
			c.to, address, refused.Message), []error{err}}
	case ctx.Err() != nil && !c.isDead():
		return fault{fmt.Sprintf("%s has no connection to %s in time: a firewall may stand between it and the node", c.to, address),
			[]error{context.Cause(ctx)}}
	}
	return c.lost(err)
}

// forwarded is a connection through a host, which counts until it is closed.
type forwarded struct {
	net.Conn

	once sync.Once
	over func()
}

// Close ends it.
func (f *forwarded) Close() error {
	defer f.once.Do(f.over)
	return f.Conn.Close()
}

// forward has the master forward the standard streams of one ssh. With -v that ssh says when the master has done so;
// without it nothing would tell a connection from one that still waits.
func (m *master) forward(ctx context.Context, address string) (net.Conn, error) {
	s, err := m.run([]string{"-v", "-W", address, "--", m.o.Destination})
	if err != nil {
		return nil, err
	}
	opened, said := make(chan struct{}), make(chan string, 1)
	go func() { said <- listen(s.stderr, opened) }()
	select {
	case <-opened:
		return &throughMaster{s, tunnelled(address)}, nil
	case words := <-said:
		if told(opened) { // and the other side has closed it since
			return &throughMaster{s, tunnelled(address)}, nil
		}
		defer s.close()
		return nil, m.explainForward(ctx, s, address, words)
	case <-ctx.Done():
		s.stop()
		return nil, fault{fmt.Sprintf("%s has no connection to %s in time: a firewall may stand between it and the node", m.name(), address),
			[]error{context.Cause(ctx)}}
	}
}

// listen reads what an ssh says to its end, and returns the last words that are not for its makers. It closes opened when
// the master has opened a channel.
func listen(stderr io.Reader, opened chan<- struct{}) (last string) {
	var once sync.Once
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.Contains(line, "master session id: "):
			once.Do(func() { close(opened) })
		case line != "" && !strings.HasPrefix(line, "debug") && !strings.HasPrefix(line, "OpenSSH_"):
			last = line
		}
	}
	_, _ = io.Copy(io.Discard, stderr) // after a line without an end
	return last
}

// explainForward says why the master did not connect us. It passes on that the host refused, and never why.
func (m *master) explainForward(ctx context.Context, s *session, address, words string) error {
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	if told(s.done) && errors.Is(s.why, slurmbridge.ErrUnreachable) {
		return s.why
	}
	return fault{fmt.Sprintf("%s does not connect us to %s (%s): the server may have ended, or listen where that host does not reach it, or the host forwards no connections; the terminal of ssh -M says which",
		m.name(), address, words), nil}
}

// throughMaster is the connection that the streams of an ssh are.
type throughMaster struct {
	s  *session
	to tunnelled
}

// Read reads what comes from there.
func (t *throughMaster) Read(b []byte) (int, error) { return t.s.stdout.Read(b) }

// Write sends.
func (t *throughMaster) Write(b []byte) (int, error) { return t.s.stdin.Write(b) }

// Close ends the ssh, and with it the connection.
func (t *throughMaster) Close() error {
	t.s.stop()
	return nil
}

// LocalAddr is not known: that is the host's.
func (*throughMaster) LocalAddr() net.Addr { return tunnelled("") }

// RemoteAddr is what was dialed.
func (t *throughMaster) RemoteAddr() net.Addr { return t.to }

// SetDeadline takes none.
func (*throughMaster) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline takes none.
func (*throughMaster) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline takes none.
func (*throughMaster) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// tunnelled is an address as the host knows it.
type tunnelled string

// Network is that of the host.
func (tunnelled) Network() string { return "tcp" }

// String is host:port.
func (t tunnelled) String() string { return string(t) }

package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"assay.bench/slurmbridge"
)

// handshake is one attempt to be let in to a host.
type handshake struct {
	*hop
	ctx context.Context //nolint:containedctx // the library's callbacks take none
	// host is what was wrong with the host's key; known says that nothing was.
	host  error
	known bool
	// offered are the keys; questions what else the host wanted to know; agentErr why the agent offered none.
	offered   []string
	questions []string
	agentErr  error
	agentConn net.Conn
}

// login makes a client of a connection, or closes it.
func (h *hop) login(ctx context.Context, conn net.Conn) (*ssh.Client, error) {
	s := &handshake{hop: h, ctx: ctx}
	defer s.closeAgent()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // a channel of a jump host knows no deadline
	c, channels, requests, err := ssh.NewClientConn(conn, h.address(), &ssh.ClientConfig{
		User: h.User, HostKeyAlgorithms: h.pins.algorithms(), HostKeyCallback: s.checkHost,
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(s.signersNow), ssh.KeyboardInteractive(s.ask)},
	})
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, s.explain(err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

func (s *handshake) checkHost(_ string, _ net.Addr, key ssh.PublicKey) error {
	s.host = s.pins.check(key)
	s.known = s.host == nil
	return s.host
}

// signersNow are the host's own keys and those of the agent, which may have changed since the last time.
func (s *handshake) signersNow() ([]ssh.Signer, error) {
	signers := append([]ssh.Signer(nil), s.signers...)
	if s.agent != "" {
		signers = append(signers, s.askAgent()...)
	}
	for _, k := range signers {
		s.offered = append(s.offered, fingerprint(k.PublicKey()))
	}
	return signers, nil
}

func (s *handshake) askAgent() []ssh.Signer {
	var dialer net.Dialer
	conn, err := dialer.DialContext(s.ctx, "unix", s.agent)
	if err != nil {
		s.agentErr = err
		return nil
	}
	s.agentConn = conn // signs later
	signers, err := agent.NewClient(conn).Signers()
	s.agentErr = err
	if err == nil && len(signers) == 0 {
		s.agentErr = errors.New("it holds no key: add one with ssh-add")
	}
	return signers
}

func (s *handshake) closeAgent() {
	if s.agentConn != nil {
		_ = s.agentConn.Close()
	}
}

var errQuestion = errors.New("the host asks what only its user can answer")

// ask ends the attempt: a wrong answer might lock the account.
func (s *handshake) ask(_, instruction string, questions []string, _ []bool) ([]string, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	s.questions = append(s.questions, strings.TrimSpace(strings.Join(append([]string{instruction}, questions...), " ")))
	return nil, errQuestion
}

// explain says what went wrong, and what to do.
func (s *handshake) explain(err error) error {
	where := s.address()
	switch {
	case s.host != nil:
		return s.host
	case s.ctx.Err() != nil:
		return unreachable("%s took our connection and kept us waiting at its door: it may be overloaded; try ssh %s", where, s.command())
	case len(s.questions) > 0:
		return s.refused(fmt.Sprintf("%s does not let user %s in with %s alone and asks %q: check user and key; where the site wants a second factor, open a connection with ssh -M and name its control path", where, s.User, s.tried(), s.questions[0]))
	case !s.known:
		if n, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
			return unreachable("%s has no %s in common with us; it offers %s: ask the site for newer ones", where, n.What, strings.Join(n.RequestedAlgorithms, ", "))
		}
		return unreachable("%s took our connection and closed it (%v): is it an SSH server, and does it let this machine in?", where, err)
	case isBroken(err):
		return unreachable("%s closed the connection while we logged in (%v)", where, err)
	}
	words := fmt.Sprintf("%s does not let user %s in with %s: check the user, and that the site knows one of these keys", where, s.User, s.tried())
	if s.agentErr != nil {
		words += fmt.Sprintf("; the agent at %s gave none: %v", s.agent, s.agentErr)
	}
	return s.refused(words)
}

func (s *handshake) refused(words string) error {
	return fault{words, []error{slurmbridge.ErrUnreachable, slurmbridge.ErrCredentials}}
}

func (s *handshake) tried() string {
	if len(s.offered) == 0 {
		return "no key"
	}
	return "key " + strings.Join(s.offered, " or ")
}

// command is what a person types to get there.
func (s *handshake) command() string {
	if s.Port == 0 || s.Port == 22 {
		return s.User + "@" + s.Host
	}
	return fmt.Sprintf("-p %d %s@%s", s.Port, s.User, s.Host)
}

func isBroken(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

func unreachable(format string, args ...any) error {
	return fault{fmt.Sprintf(format, args...), []error{slurmbridge.ErrUnreachable}}
}

// explainDial says why there is no connection to a host at all.
func explainDial(ctx context.Context, where string, err error) error {
	name, isName := errors.AsType[*net.DNSError](err)
	channel, isChannel := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case isChannel:
		return unreachable("the jump host does not connect us to %s (%s): check the name, and that it may forward connections", where, channel.Message)
	case isName && name.IsNotFound:
		return unreachable("there is no host %s: check its name", name.Name)
	case isName:
		return unreachable("the name %s cannot be looked up (%s): check the network", name.Name, name.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return unreachable("%s refuses connections: check the port, and that its sshd runs", where)
	case ctx.Err() != nil || isTimeout(err):
		return unreachable("%s does not take our connection in time: a VPN may be down, or a firewall in the way", where)
	}
	return unreachable("%s: %v", where, err)
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

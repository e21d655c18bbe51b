// Package sshtest is an SSH server in process that runs commands on this machine, for tests: it counts, and it fails in
// the ways that servers do.
package sshtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Server is an SSH server. Its fields are set before New returns; what changes later has a method.
type Server struct {
	// Shell is the login shell; "" takes /bin/sh.
	Shell string
	// Env is what a session gets; nil takes a HOME, a USER and a short PATH.
	Env []string
	// MaxSessions is how many sessions a connection may have; 0 takes 10.
	MaxSessions int
	// NoSFTP and NoForwarding leave these out. Question asks the user besides the key. NoCommands refuses commands.
	NoSFTP, NoForwarding, NoCommands bool
	Question                         string
	// Silent takes every command and never does anything.
	Silent bool
	// Authority certifies the host key, where it is set; the plain key is shown as well.
	Authority ssh.Signer
	// Listener takes connections; nil takes a port of its own on the loopback interface.
	Listener net.Listener

	// Host and Port are the address; User and Key, a private key in PEM, are let in.
	Host string
	Port int
	User string
	Key  []byte

	tb        testing.TB
	hostKey   ssh.Signer
	clientKey ssh.PublicKey

	mu       sync.Mutex
	conns    map[net.Conn]bool
	running  sync.WaitGroup
	mute     bool
	refuse   bool
	total    int
	sessions counter
	uploads  int
	commands []string
	groups   map[int]bool
}

// counter counts what is open at once.
type counter struct{ now, most int }

func (c *counter) add(n int) {
	c.now += n
	c.most = max(c.most, c.now)
}

// New starts a server, which ends with the test. The change sets fields before.
func New(tb testing.TB, change func(*Server)) *Server {
	tb.Helper()
	s := &Server{tb: tb, User: "tester", MaxSessions: 10, conns: map[net.Conn]bool{}, groups: map[int]bool{}}
	if change != nil {
		change(s)
	}
	if s.Shell == "" {
		s.Shell = "/bin/sh"
	}
	if s.Env == nil {
		s.Env = []string{"HOME=" + tb.TempDir(), "USER=" + s.User, "LOGNAME=" + s.User, "SHELL=" + s.Shell, "PATH=/usr/bin:/bin"}
	}
	s.hostKey, _ = s.newKey()
	signer, private := s.newKey()
	s.clientKey, s.Key = signer.PublicKey(), private
	if s.Listener == nil {
		var config net.ListenConfig
		l, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
		s.must(err)
		s.Listener = l
	}
	s.Host, s.Port = "127.0.0.1", 22
	if host, port, err := net.SplitHostPort(s.Listener.Addr().String()); err == nil {
		n, err := strconv.Atoi(port)
		s.must(err)
		s.Host, s.Port = host, n
	}
	s.running.Go(s.accept)
	tb.Cleanup(func() {
		_ = s.Listener.Close()
		s.Drop()
		s.End()
		s.running.Wait()
	})
	return s
}

func (s *Server) must(err error) {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) newKey() (ssh.Signer, []byte) {
	s.tb.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	s.must(err)
	signer, err := ssh.NewSignerFromKey(private)
	s.must(err)
	block, err := ssh.MarshalPrivateKey(private, "")
	s.must(err)
	return signer, pem.EncodeToMemory(block)
}

// KnownHosts is the line that pins the server's key.
func (s *Server) KnownHosts() []byte {
	return []byte(knownhosts.Line([]string{net.JoinHostPort(s.Host, strconv.Itoa(s.Port))}, s.HostKey()) + "\n")
}

// HostKey is the server's key.
func (s *Server) HostKey() ssh.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hostKey.PublicKey()
}

// ChangeHostKey gives the server another key, as a new machine or a stranger in the middle has.
func (s *Server) ChangeHostKey() {
	key, _ := s.newKey()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hostKey = key
}

// certificate is the host key, certified.
func (s *Server) certificate() ssh.Signer {
	c := &ssh.Certificate{Key: s.hostKey.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{s.Host}, ValidBefore: ssh.CertTimeInfinity}
	signer := s.hostKey
	err := c.SignCert(rand.Reader, s.Authority)
	if err == nil {
		signer, err = ssh.NewCertSigner(c, s.hostKey)
	}
	if err != nil {
		s.tb.Error(err)
	}
	return signer
}

// Mute lets the server read on and answer nothing any more, as a machine that hangs.
func (s *Server) Mute() { s.set(func() { s.mute = true }) }

// Refuse lets the server close each new connection at once, or not any more.
func (s *Server) Refuse(on bool) { s.set(func() { s.refuse = on }) }

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Drop breaks all connections, as a network does.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// Connections is how many were made; Sessions the most that were open at once on all of them.
func (s *Server) Connections() int { return s.number(&s.total) }

// OpenConnections is how many there are now.
func (s *Server) OpenConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Sessions is the most sessions that were open at once.
func (s *Server) Sessions() int { return s.number(&s.sessions.most) }

// OpenSessions is how many are open now.
func (s *Server) OpenSessions() int { return s.number(&s.sessions.now) }

// Uploads is how many sessions of sftp were opened.
func (s *Server) Uploads() int { return s.number(&s.uploads) }

// Commands is how many commands were started.
func (s *Server) Commands() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.commands)
}

func (s *Server) number(n *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
}

func (s *Server) accept() {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.total++
		s.conns[conn] = true
		refuse := s.refuse
		s.mu.Unlock()
		if refuse {
			_ = conn.Close()
			continue
		}
		s.running.Go(func() {
			s.serve(conn)
			s.set(func() { delete(s.conns, conn) })
		})
	}
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() != s.User || !bytes.Equal(key.Marshal(), s.clientKey.Marshal()) {
			return nil, fmt.Errorf("no user %s with this key", meta.User())
		}
		if s.Question != "" {
			return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: s.question}}
		}
		return &ssh.Permissions{}, nil
	}}
	s.set(func() {
		config.AddHostKey(s.hostKey)
		if s.Authority != nil {
			config.AddHostKey(s.certificate())
		}
	})
	c, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer c.Close()
	go s.keepAlive(requests)
	open := new(counter)
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			sessions.Go(func() { s.session(ch, open) })
		case "direct-tcpip":
			sessions.Go(func() { s.forward(ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, ch.ChannelType())
		}
	}
}

func (s *Server) question(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	if _, err := ask("", "", []string{s.Question}, []bool{false}); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("a wrong answer to %q", s.Question)
}

func (s *Server) muted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mute
}

func (s *Server) keepAlive(requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply && !s.muted() {
			_ = r.Reply(false, nil)
		}
	}
}

// forward connects to where it is asked to.
func (s *Server) forward(ch ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		From   string
		FromAt uint32
	}
	if s.NoForwarding || ssh.Unmarshal(ch.ExtraData(), &to) != nil {
		_ = ch.Reject(ssh.Prohibited, "forwarding is off")
		return
	}
	if s.muted() {
		return
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(s.tb.Context(), "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	defer conn.Close()
	c, requests, err := ch.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	go ssh.DiscardRequests(requests)
	go func() {
		_, _ = io.Copy(conn, c)
		_ = conn.Close()
	}()
	_, _ = io.Copy(c, conn)
}

func (s *Server) sftp(ch ssh.Channel) {
	s.set(func() { s.uploads++ })
	server, err := sftp.NewServer(ch, sftp.WithServerWorkingDirectory(filepath.Dir("/")))
	if err == nil {
		_ = server.Serve() // ends with the client
	}
}

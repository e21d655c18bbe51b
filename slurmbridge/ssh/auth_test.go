package ssh_test

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/slurmbridge/ssh/sshtest"
)

// encrypted is a private key behind a passphrase.
func encrypted(t *testing.T, key []byte, passphrase string) []byte {
	t.Helper()
	raw, err := xssh.ParseRawPrivateKey(key)
	must(t, err)
	block, err := xssh.MarshalPrivateKeyWithPassphrase(raw, "", []byte(passphrase))
	must(t, err)
	return pem.EncodeToMemory(block)
}

// newAgent starts an agent with keys and returns its socket.
func newAgent(t *testing.T, keys ...[]byte) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		raw, err := xssh.ParseRawPrivateKey(k)
		must(t, err)
		must(t, ring.Add(agent.AddedKey{PrivateKey: raw}))
	}
	path := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c) }()
		}
	}()
	return path
}

func TestWaysIn(t *testing.T) {
	s := sshtest.New(t, nil)
	locked := encrypted(t, s.Key, "open sesame")
	stranger := sshtest.New(t, nil).Key
	for reason, o := range map[string]ssh.Options{
		"a key":                             {Target: ssh.Target{Keys: []ssh.Key{{PEM: s.Key}}}},
		"a key with a passphrase":           {Target: ssh.Target{Keys: []ssh.Key{{PEM: locked, Passphrase: []byte("open sesame")}}}},
		"the second key":                    {Target: ssh.Target{Keys: []ssh.Key{{PEM: stranger}, {PEM: s.Key}}}},
		"an agent":                          {Agent: newAgent(t, stranger, s.Key)},
		"an agent that has opened the key":  {Target: ssh.Target{Keys: []ssh.Key{{PEM: locked}}}, Agent: newAgent(t, s.Key)},
		"a key, where the agent is not one": {Target: ssh.Target{Keys: []ssh.Key{{PEM: s.Key}}}, Agent: "/no/such/socket"},
	} {
		t.Run(reason, func(t *testing.T) {
			keys := o.Keys
			o.Target = target(s)
			o.Keys = keys
			must(t, try(t.Context(), open(t, o)))
		})
	}
}

func TestNoWayIn(t *testing.T) {
	s := sshtest.New(t, nil)
	stranger := sshtest.New(t, nil).Key
	signer, err := xssh.ParsePrivateKey(stranger)
	must(t, err)
	shown := xssh.FingerprintSHA256(signer.PublicKey())
	wary := sshtest.New(t, func(s *sshtest.Server) { s.Question = "Verification code: " })
	with := func(of *sshtest.Server, change func(*ssh.Options)) ssh.Options {
		o := ssh.Options{Target: target(of)}
		change(&o)
		return o
	}
	for reason, tt := range map[string]struct {
		o    ssh.Options
		want string
	}{
		"another key":       {with(s, func(o *ssh.Options) { o.Keys[0].PEM = stranger }), "does not let user tester in with key ssh-ed25519 " + shown + ": check the user, and that the site knows one of these keys"},
		"another user":      {with(s, func(o *ssh.Options) { o.User = "root" }), "does not let user root in"},
		"an agent, gone":    {with(s, func(o *ssh.Options) { o.Keys, o.Agent = nil, "/no/such/socket" }), "with no key: check the user, and that the site knows one of these keys; the agent at /no/such/socket gave none: dial unix"},
		"an agent, empty":   {with(s, func(o *ssh.Options) { o.Keys, o.Agent = nil, newAgent(t) }), "gave none: it holds no key: add one with ssh-add"},
		"a second factor":   {with(wary, func(*ssh.Options) {}), `alone and asks "Verification code:": check user and key; where the site wants a second factor, open a connection with ssh -M and name its control path`},
		"a jump host's own": {with(s, func(o *ssh.Options) { o.Jumps = []ssh.Target{target(s)}; o.Jumps[0].User = "root" }), "on the way, " + address(s) + " does not let user root in"},
	} {
		t.Run(reason, func(t *testing.T) {
			err := try(t.Context(), open(t, tt.o))
			wantUnreachable(t, err, tt.want)
			if !errors.Is(err, slurmbridge.ErrCredentials) || errors.Is(err, slurmbridge.ErrHostKey) {
				t.Errorf("%v, want ErrCredentials", err)
			}
		})
	}
}

// What cannot work is refused before anything is asked of the site.
func TestOptionsThatAreRefused(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := xssh.MarshalPrivateKey(private, "")
	must(t, err)
	key := pem.EncodeToMemory(block)
	s := sshtest.New(t, nil)
	good := ssh.Target{Host: "login.lxp.lu", Port: 8822, User: "u100000", KnownHosts: s.KnownHosts(), Keys: []ssh.Key{{PEM: key}}}
	for reason, tt := range map[string]struct {
		change func(*ssh.Target)
		is     error
		want   string
	}{
		"no host":        {func(o *ssh.Target) { o.Host = "" }, nil, "give the host's name or address"},
		"a user in it":   {func(o *ssh.Target) { o.Host = "u@login" }, nil, "give the host's name or address"},
		"a port too far": {func(o *ssh.Target) { o.Port = 1 << 16 }, nil, "port 65536"},
		"no user":        {func(o *ssh.Target) { o.User = "" }, nil, "login.lxp.lu:8822: name the user"},
		"no pin":         {func(o *ssh.Target) { o.KnownHosts = []byte(" \n") }, slurmbridge.ErrHostKey, "login.lxp.lu:8822: no host key is pinned: ask the site for its fingerprints, and add the line that \"ssh-keyscan -p 8822 login.lxp.lu\" prints"},
		"a bad pin":      {func(o *ssh.Target) { o.KnownHosts = []byte("# pins\nlogin ssh-ed25519 x\n") }, slurmbridge.ErrHostKey, "login.lxp.lu:8822: knownHosts: knownhosts: line:2: "},
		"no key":         {func(o *ssh.Target) { o.Keys = nil }, slurmbridge.ErrCredentials, "there is no way to log in: give a private key, or the socket of an agent"},
		"a bad key":      {func(o *ssh.Target) { o.Keys[0].PEM = []byte("x") }, slurmbridge.ErrCredentials, "private key 1 for login.lxp.lu:8822: ssh: no key found"},
		"no passphrase":  {func(o *ssh.Target) { o.Keys[0].PEM = encrypted(t, key, "x") }, slurmbridge.ErrCredentials, "it is encrypted: give its passphrase, or use an agent"},
		"another's":      {func(o *ssh.Target) { o.Keys[0] = ssh.Key{PEM: encrypted(t, key, "x"), Passphrase: []byte("y")} }, slurmbridge.ErrCredentials, "it does not open with the passphrase"},
	} {
		o := good
		o.Keys = append([]ssh.Key(nil), good.Keys...)
		tt.change(&o)
		_, err := ssh.Open(ssh.Options{Target: o})
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) || errors.Is(err, slurmbridge.ErrUnreachable) {
			t.Errorf("%s: %v, want %q that is %v", reason, err, tt.want, tt.is)
		}
	}
}

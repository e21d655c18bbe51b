//go:build e2e

package testsite

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// master is the site's login node through a connection that a person has opened with OpenSSH.
func master(t *testing.T, s *site.Site) *ssh.Host {
	t.Helper()
	socket := openMaster(t, s)
	host, err := ssh.OpenMaster(ssh.MasterOptions{Destination: s.Get("SSH_USER") + "@" + s.Get("SSH_HOST"), ControlPath: socket})
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// openMaster opens a connection to the site's login node as a person does, and returns its socket.
func openMaster(t *testing.T, s *site.Site) string {
	t.Helper()
	socket, argv := filepath.Join(t.TempDir(), "m"), s.SSH("")
	argv = slices.Concat([]string{"-M", "-N", "-S", socket}, argv[1:len(argv)-1])
	cmd := exec.Command("ssh", argv...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	user.Until(t, "the master listens", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}

// noForwarding: a key that may not forward, as a login node that does not, is told from a node that is not there.
func noForwarding(t *testing.T, s *site.Site) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	line, lineErr := xssh.NewPublicKey(public)
	block, err := xssh.MarshalPrivateKey(private, "")
	if err := errors.Join(lineErr, err); err != nil {
		t.Fatal(err)
	}
	s.Sh("echo no-port-forwarding " + strings.TrimSpace(string(xssh.MarshalAuthorizedKey(line))) + " >>~/.ssh/authorized_keys")
	_, err = loginWith(t, s, pem.EncodeToMemory(block)).Dial(t.Context(), "mel2001:22")
	if !errors.Is(err, slurmbridge.ErrForwarding) || !strings.Contains(err.Error(), "does not forward a connection to mel2001:22") {
		t.Errorf("%v, want ErrForwarding", err)
	}
	for _, address := range []string{"mel2001:1", "mel9999:22"} {
		if _, err = login(t, s).Dial(t.Context(), address); err == nil || errors.Is(err, slurmbridge.ErrForwarding) || !strings.Contains(err.Error(), "cannot connect to "+address) {
			t.Errorf("%v, want a node that does not answer", err)
		}
	}
}

// login is the site's login node over SSH.
func login(t *testing.T, s *site.Site) *ssh.Host {
	t.Helper()
	key, err := os.ReadFile(s.Get("SSH_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	return loginWith(t, s, key)
}

func loginWith(t *testing.T, s *site.Site, key []byte) *ssh.Host {
	t.Helper()
	target := targetOf(t, s)
	target.Keys = []ssh.Key{{PEM: key}}
	return opened(t, ssh.Options{Target: target})
}

// throughJumpHost is the login node under the name that only the site knows it by: its own sshd is the host on the way. An
// agent of OpenSSH holds the key for both.
func throughJumpHost(t *testing.T, s *site.Site) *ssh.Host {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	agent.Stderr = t.Output()
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait() // it was killed
	})
	user.Until(t, "the agent listens", func() bool { _, err := os.Stat(socket); return err == nil })
	add := exec.CommandContext(t.Context(), "ssh-add", "-q", s.Get("SSH_KEY"))
	add.Env, add.Stderr = append(os.Environ(), "SSH_AUTH_SOCK="+socket), t.Output()
	if err := add.Run(); err != nil {
		t.Fatal(err)
	}
	jump := targetOf(t, s)
	target := jump
	target.Host = "login1"
	target.KnownHosts = bytes.ReplaceAll(jump.KnownHosts, []byte("["+jump.Host+"]"), []byte("["+target.Host+"]"))
	return opened(t, ssh.Options{Target: target, Jumps: []ssh.Target{jump}, Agent: socket})
}

// targetOf is the login node as it is reached from here, without a key to log in with.
func targetOf(t *testing.T, s *site.Site) ssh.Target {
	t.Helper()
	known, err := os.ReadFile(s.Get("SSH_KNOWN_HOSTS"))
	port, portErr := strconv.Atoi(s.Get("SSH_PORT"))
	if err := errors.Join(err, portErr); err != nil {
		t.Fatal(err)
	}
	return ssh.Target{Host: s.Get("SSH_HOST"), Port: port, User: s.Get("SSH_USER"), KnownHosts: known}
}

func opened(t *testing.T, o ssh.Options) *ssh.Host {
	t.Helper()
	host, err := ssh.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host
}

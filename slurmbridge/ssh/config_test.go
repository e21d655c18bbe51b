package ssh_test

import (
	"crypto/sha1"
	"encoding/hex"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge/ssh"
)

const configText = `
Host meluxina
  HostName login.lxp.lu
  Port 8822
  User u100000
  IdentityFile ~/.ssh/id_%r
  ControlPath ~/.ssh/%r@%h:%p-%n

Host behind
  HostName 10.0.0.1
  UserKnownHostsFile ~/.ssh/site_a "/etc/site b"
  ProxyJump jumper@gate:2222,meluxina
  IdentityAgent none
  HostKeyAlias cluster

Host gate
  HostName gate.example
  ProxyJump meluxina

Host hashed
  ControlPath /run/user/%i/%C

Host circle
  ProxyJump circle

Host proxied
  ProxyCommand nc %h %p

Host typo
  Port ssh

Host unknown-token
  ControlPath /tmp/%Z

Host *
  StrictHostKeyChecking no
  IdentityAgent SSH_AUTH_SOCK
  User somebody
`

func machine(text string) ssh.Config {
	files := map[string]string{
		"/home/me/.ssh/id_u100000": "-----BEGIN OPENSSH PRIVATE KEY-----\n1", "/home/me/.ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\n2",
		"/home/me/.ssh/id_rsa": "ssh-rsa AAAA a public key", "/home/me/.ssh/known_hosts": "known", "/etc/ssh/ssh_known_hosts": "all", "/home/me/.ssh/site_a": "a",
	}
	return ssh.Config{
		Text: []byte(text), Home: "/home/me", User: "me", UID: 1000, Hostname: "laptop.example", Agent: "/run/agent",
		Read: func(path string) ([]byte, error) {
			if b, ok := files[path]; ok {
				return []byte(b), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

func TestResolve(t *testing.T) {
	one, two := []ssh.Key{{PEM: []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n1")}}, []ssh.Key{{PEM: []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n2")}}
	known := []byte("known\nall\n")
	meluxina := ssh.Target{Host: "login.lxp.lu", Port: 8822, User: "u100000", KnownHosts: known, Keys: one}
	sum := sha1.Sum([]byte("laptop.example" + "hashed" + "22" + "somebody"))
	for alias, tt := range map[string]struct {
		reason string
		want   ssh.Resolved
	}{
		"meluxina": {"names, keys and the socket are spelled out", ssh.Resolved{Options: ssh.Options{Target: meluxina, Agent: "/run/agent"}, ControlPath: "/home/me/.ssh/u100000@login.lxp.lu:8822-meluxina"}},
		"behind": {"the hosts on the way are aliases too, and the first has a way of its own", ssh.Resolved{Options: ssh.Options{
			Target: ssh.Target{Host: "10.0.0.1", User: "somebody", KnownHosts: []byte("a\nall\n"), KnownAs: "cluster", Keys: two},
			Jumps:  []ssh.Target{meluxina, {Host: "gate.example", Port: 2222, User: "jumper", KnownHosts: known, Keys: two}, meluxina},
		}}},
		"elsewhere": {"what no block names is a host", ssh.Resolved{Options: ssh.Options{Target: ssh.Target{Host: "elsewhere", User: "somebody", KnownHosts: known, Keys: two}, Agent: "/run/agent"}}},
		"hashed": {"as OpenSSH hashes it", ssh.Resolved{Options: ssh.Options{Target: ssh.Target{Host: "hashed", User: "somebody", KnownHosts: known, Keys: two}, Agent: "/run/agent"},
			ControlPath: "/run/user/1000/" + hex.EncodeToString(sum[:])}},
	} {
		got, err := ssh.Resolve(alias, machine(configText))
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %s: %v -want +got\n%s", alias, tt.reason, err, diff)
		}
	}
	for alias, want := range map[string]string{
		"circle": "ProxyJump goes in a circle", "proxied": "use ProxyJump, or a master's ControlPath", "typo": `port "ssh" is no number`,
		"unknown-token": "ControlPath: %Z is not known here: write out what it stands for",
	} {
		if _, err := ssh.Resolve(alias, machine(configText)); err == nil || !strings.Contains(err.Error(), "~/.ssh/config, for "+alias+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", alias, err, want)
		}
	}
	if got, err := ssh.Resolve("host", machine("")); err != nil || got.Options.User != "me" || got.Options.Host != "host" {
		t.Errorf("without a configuration: %+v, %v", got, err)
	}
	// Nothing is run to learn whether a block counts; it does not, and the blocks around it do.
	const matches = "Host host\n Port 7\nMatch host host exec \"true\"\n Port 8\n User evil\nMatch user=me\n User evil\nmatch host=host\n User evil\nmatch host host\n User good\nMatch all\n User late\n"
	if got, err := ssh.Resolve("host", machine(matches)); err != nil || got.Options.User != "good" || got.Options.Port != 7 {
		t.Errorf("with blocks that are not looked at: %+v, %v", got, err)
	}
}

func FuzzResolve(f *testing.F) {
	f.Add(configText, "behind")
	f.Add("Host a\nHostName %%%h\nControlPath %\n", "a")
	f.Add("Match host a\n ProxyJump ssh://u@[::1]:22/,b\n", "a")
	f.Add("Host=\"a\" !b\n\tPort\t=\t\"7\"\n", "a")
	f.Fuzz(func(t *testing.T, text, alias string) {
		if strings.Contains(strings.ToLower(text), "include") {
			return // that reads this machine's disk
		}
		got, err := ssh.Resolve(alias, machine(text))
		if err == nil && strings.Contains(got.ControlPath, "~/") && !strings.Contains(text, "~/") {
			t.Errorf("%+v", got)
		}
	})
}

package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
)

// In a cluster a door over SSH may use nothing that lies on the operator's host.
func TestSSHUsesHost(t *testing.T) {
	whole := func() *v1alpha1.SSHDoor {
		return &v1alpha1.SSHDoor{
			SSHHost:    v1alpha1.SSHHost{Host: "login", User: "me", KnownHosts: "login ssh-ed25519 AAAA"},
			PrivateKey: &v1alpha1.KeySource{SecretKeyRef: &v1alpha1.SecretKey{Name: "keys", Key: "id"}},
		}
	}
	for name, c := range map[string]struct {
		change func(*v1alpha1.SSHDoor)
		want   bool
	}{
		"all named":            {func(*v1alpha1.SSHDoor) {}, false},
		"all named, by a jump": {func(d *v1alpha1.SSHDoor) { d.Jump = &whole().SSHHost }, false},
		"a key in a file":      {func(d *v1alpha1.SSHDoor) { d.PrivateKey = &v1alpha1.KeySource{File: "/k"} }, true},
		"no key":               {func(d *v1alpha1.SSHDoor) { d.PrivateKey = nil }, true},
		"no user":              {func(d *v1alpha1.SSHDoor) { d.User = "" }, true},
		"no known hosts":       {func(d *v1alpha1.SSHDoor) { d.KnownHosts = "" }, true},
		"an open connection":   {func(d *v1alpha1.SSHDoor) { d.ControlPath = "/s" }, true},
		"a jump without keys":  {func(d *v1alpha1.SSHDoor) { d.Jump = &v1alpha1.SSHHost{Host: "jump", User: "me"} }, true},
	} {
		d := whole()
		c.change(d)
		if got := sshUsesHost(&v1alpha1.SiteSpec{Jobs: v1alpha1.JobsDoor{SSH: d}}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !sshUsesHost(&v1alpha1.SiteSpec{Jobs: v1alpha1.JobsDoor{SSH: whole()}, Files: v1alpha1.FilesDoor{Local: &v1alpha1.LocalDoor{}}}) {
		t.Error("files of this host are the host's")
	}
}

// What a door leaves open comes from the user's own ssh; what is missing is said before anything is dialled.
func TestSSHHostRefuses(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte("Host mel\n  HostName login.example\n  User ada\n  Port 8822\nHost proxied\n  ProxyCommand nc %h %p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &OS{Home: home, User: "me", Host: "here", Env: func(string) string { return "" }}
	secrets := func(_ context.Context, name, _ string) ([]byte, error) {
		if name != "keys" {
			return nil, slurmbridge.ErrCredentials
		}
		return []byte("no key at all"), nil
	}
	const known = "login.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	secretKey := &v1alpha1.KeySource{SecretKeyRef: &v1alpha1.SecretKey{Name: "keys", Key: "id"}}
	whole := v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "proxied", User: "ada", KnownHosts: strings.Replace(known, "login.example", "proxied", 1)}, PrivateKey: secretKey}
	if _, err := sshHost(t.Context(), o, &v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "proxied"}, ControlPath: "/socket"}, true, secrets); err != nil && !strings.Contains(err.Error(), "install OpenSSH") {
		t.Errorf("an open connection to a host that only ssh itself can reach: %v", err)
	}
	for name, c := range map[string]struct {
		door  v1alpha1.SSHDoor
		allow bool
		words string
	}{
		"nothing left open":  {whole, true, "private key 1 for proxied:22"},
		"no way of ours":     {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "proxied"}, PrivateKey: secretKey}, true, "use ProxyJump"},
		"no pinned key":      {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "login.example", User: "ada"}, PrivateKey: secretKey}, false, "known"},
		"no user":            {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "login.example", KnownHosts: known}, PrivateKey: secretKey}, false, "name the user"},
		"a key that is none": {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "login.example", User: "ada", KnownHosts: known}, PrivateKey: secretKey}, false, "private key 1 for login.example:22"},
		"an alias":           {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "mel", KnownHosts: known}, PrivateKey: secretKey}, true, "private key 1 for login.example:8822"},
		"a missing file":     {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "mel", KnownHosts: known}, PrivateKey: &v1alpha1.KeySource{File: "~/.ssh/none"}}, true, filepath.Join(home, ".ssh", "none")},
		"a missing Secret":   {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "mel", KnownHosts: known}, PrivateKey: &v1alpha1.KeySource{SecretKeyRef: &v1alpha1.SecretKey{Name: "none", Key: "id"}}}, true, "refused the credentials"},
		"no way in":          {v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "mel", KnownHosts: known}}, true, "there is no way to log in"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sshHost(t.Context(), o, &c.door, c.allow, secrets)
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want %q in it", err, c.words)
			}
			if !errors.Is(err, slurmbridge.ErrCredentials) && !errors.Is(err, slurmbridge.ErrHostKey) && name != "no user" && name != "no way of ours" {
				t.Errorf("%v is neither of the key of the host nor of the user's", err)
			}
		})
	}
}

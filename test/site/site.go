// Package site is a test site (hack/testsite.sh) for tests: real Slurm, with what a program needs to reach it.
package site

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"assay.bench/test/user"
)

// Names of the sites.
const (
	Slurm2411      = "slurm24.11"
	Slurm2411Plain = "slurm24.11-plain" // without accounting
	Slurm2205      = "slurm22.05"
)

// Site is a site that is up.
type Site struct {
	t    testing.TB
	root string // of the checkout
	name string
	slot string
	env  map[string]string
	// restd starts slurmrestd, once.
	restd *sync.Once
}

// Up starts the site, unless it is up; the end of the test ends it. Tests that want the same site at the same time take
// different slots.
func Up(t testing.TB, name string) *Site {
	t.Helper()
	s := &Site{t: t, root: checkout(t), name: name, slot: lease(t, name), env: map[string]string{}, restd: &sync.Once{}}
	t.Cleanup(func() { s.Must(s.Script("down", name)) })
	s.Must(s.Script("up", name))
	for line := range strings.Lines(s.Must(s.Script("env", name)).Stdout) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		s.env[strings.TrimPrefix(key, "TESTSITE_")] = strings.Trim(value, "'")
	}
	return s
}

// For is the site for a part of the test.
func (s *Site) For(t testing.TB) *Site {
	part := *s
	part.t = t
	return &part
}

// checkout is the folder of the module that the test is part of.
func checkout(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "hack", "testsite.sh")) {
		if dir == filepath.Dir(dir) {
			t.Fatal("no hack/testsite.sh above this folder: the test runs in the checkout")
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Slot is the slot that the site is in.
func (s *Site) Slot() string { return s.slot }

// Get is what 'hack/testsite.sh env' calls TESTSITE_NAME. Who gets REST_URL finds slurmrestd there: few tests ask it.
func (s *Site) Get(name string) string {
	s.t.Helper()
	value, found := s.env[name]
	if !found {
		s.t.Fatalf("%s has no TESTSITE_%s", s.name, name)
	}
	if name == "REST_URL" && value != "" {
		s.restd.Do(func() { s.Daemon("start", "slurmrestd") })
	}
	return value
}

// Down ends the site. A site that is down already stays so.
func (s *Site) Down() {
	s.t.Helper()
	s.Must(s.Script("down", s.name))
}

// Token is a token for slurmrestd, valid for some seconds.
func (s *Site) Token(seconds string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Must(s.Script("token", s.name, seconds)).Stdout)
}

// Login are the words before those of a command that run it on the login node as hpc.
func (s *Site) Login() []string { return s.Script("exec", s.name, "--") }

// Exec runs a command on the login node as hpc.
func (s *Site) Exec(argv ...string) user.Answer {
	s.t.Helper()
	return s.Do(append(s.Login(), argv...))
}

// Sh runs a line of shell on the login node as hpc, in the work folder. It has to end well; what it printed comes back.
func (s *Site) Sh(line string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Must(s.Script("exec", s.name, "--", "bash", "-c", "cd "+s.Get("WORK")+" && "+line)).Stdout)
}

// Root runs a command on the login node as root. It has to end well.
func (s *Site) Root(argv ...string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Must(s.Script(append([]string{"exec", s.name, "--user", "root", "--"}, argv...)...)).Stdout)
}

// Daemon starts, stops or kills a daemon of the site, such as slurmd@mel2001.
func (s *Site) Daemon(verb, name string) {
	s.t.Helper()
	s.Must(s.Script("daemon", s.name, verb, name))
}

// SIF makes an image of a folder and returns its path, which is the same on the site.
func (s *Site) SIF(folder, name string) string {
	s.t.Helper()
	path := filepath.Join(s.Get("SHARE"), name)
	s.Must(s.Script("sif", s.name, folder, path))
	return path
}

// Images makes the images that recipes/testsite names.
func (s *Site) Images() {
	s.t.Helper()
	s.Must(s.Script("images", s.name))
}

// Image puts an image of a folder into the registry of the site and returns ADDRESS/NAME@DIGEST.
func (s *Site) Image(folder, name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Must(s.Script("image", s.name, name, folder)).Stdout)
}

// SSH is the ssh command that runs a line of shell on the login node, with the host's key pinned.
func (s *Site) SSH(line string) []string {
	return []string{
		"ssh", "-i", s.Get("SSH_KEY"), "-p", s.Get("SSH_PORT"), "-o", "UserKnownHostsFile=" + s.Get("SSH_KNOWN_HOSTS"),
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-F", "none",
		s.Get("SSH_USER") + "@" + s.Get("SSH_HOST"), line,
	}
}

// Script is a command of hack/testsite.sh, for the slot that the site is in.
func (s *Site) Script(args ...string) []string {
	return append([]string{"env", "ASSAY_TESTSITE_SLOT=" + s.slot, "ASSAY_TESTSITE_RESTD_WAITS=1", filepath.Join(s.root, "hack", "testsite.sh")}, args...)
}

// Do runs a command of this machine to its end.
func (s *Site) Do(argv []string) user.Answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*user.Within) // the first start makes a root file system
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%v: %v", argv, err)
	}
	return user.Answer{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// Must runs a command of this machine that has to end well.
func (s *Site) Must(argv []string) user.Answer {
	s.t.Helper()
	a := s.Do(argv)
	if a.Code != 0 {
		s.t.Fatalf("%s: exit code %d\n%s%s", strings.Join(argv, " "), a.Code, a.Stdout, a.Stderr)
	}
	return a
}

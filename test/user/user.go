// Package user is a person at a terminal, for tests of the built programs: it types commands, reads what they print
// and leave on disk, sends signals, and looks at the end whether a process was left behind.
package user

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// User has a home folder of their own.
type User struct {
	t    testing.TB
	home string
	env  []string
	// enter are the words that run a command where the user is, and assay is the program there.
	enter []string
	assay string
}

// Within bounds every command and every wait: the machines of CI are slow and shared.
const Within = 5 * time.Minute

// New makes a home folder, with the user's temporary folder in it. The environment variable ASSAY_BIN names the folder of
// the programs. At the end of the test no process with this home folder may be left, and nothing of assay's in the
// temporary one.
func New(t testing.TB) *User {
	t.Helper()
	if os.Getenv("ASSAY_BIN") == "" {
		t.Fatal("ASSAY_BIN is not set: run make e2e")
	}
	home, err := os.MkdirTemp("", "user-*") //nolint:usetesting // the name of a test is too long for the paths of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Errorf("the home folder stays: %v", err)
		}
	})
	u := &User{t: t, home: home, assay: filepath.Join(os.Getenv("ASSAY_BIN"), "assay")}
	u.settle(os.Getenv("PATH"))
	return u
}

// Machine is another one, on which a user works whose files are seen here too.
type Machine struct {
	// Enter are the words before those of a command that run it there.
	Enter []string
	// Home is an empty folder of the user's, at the same path here and there. Assay and Path are the path of the program and
	// the PATH there.
	Home, Assay, Path string
}

// On is a user of another machine, of whom nothing may be left at the end of the test either. The folder stays.
func On(t testing.TB, m Machine) *User {
	t.Helper()
	u := &User{t: t, home: m.Home, enter: m.Enter, assay: m.Assay}
	u.settle(m.Path)
	return u
}

// settle makes the user's temporary folder and looks, at the end of the test, for what was left behind.
func (u *User) settle(path string) {
	u.t.Helper()
	u.env = []string{
		"HOME=" + u.home, "XDG_STATE_HOME=" + u.Path("state"), "TMPDIR=" + u.Path("tmp"), "PATH=" + path, "LANG=C.UTF-8", "TERM=dumb",
	}
	err := os.Mkdir(u.Path("tmp"), 0o700)
	if err == nil {
		err = u.own(u.Path("tmp"))
	}
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		if left := u.Spools(); len(left) > 0 {
			u.t.Errorf("temporary files are left behind: %v", left)
		}
		for _, p := range u.Processes() {
			u.t.Errorf("a process is left behind: %d %s", p.PID, p.Command)
			_ = syscall.Kill(p.PID, syscall.SIGKILL) // it would disturb the next test
		}
	})
}

// own gives a file to the owner of the home folder: this process may be another user's.
func (u *User) own(path string) error {
	info, err := os.Stat(u.home)
	if err != nil {
		return err
	}
	home := info.Sys().(*syscall.Stat_t) // this is Linux
	return os.Chown(path, int(home.Uid), int(home.Gid))
}

// For is the user in a part of the test.
func (u *User) For(t testing.TB) *User {
	part := *u
	part.t = t
	return &part
}

// Path is a path below the home folder.
func (u *User) Path(parts ...string) string {
	return filepath.Join(append([]string{u.home}, parts...)...)
}

// Spools are what assay keeps in the temporary folder.
func (u *User) Spools() []string {
	u.t.Helper()
	found, err := filepath.Glob(u.Path("tmp", "assay-*"))
	if err != nil {
		u.t.Fatal(err)
	}
	return found
}

// Write writes a file below the home folder and returns its path.
func (u *User) Write(name, text string) string {
	u.t.Helper()
	path := u.Path(name)
	err := os.WriteFile(path, []byte(text), 0o600)
	if err == nil {
		err = u.own(path)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	return path
}

// Setenv sets a variable for all commands that come.
func (u *User) Setenv(name, value string) {
	u.env = append(slices.DeleteFunc(u.env, func(e string) bool { return strings.HasPrefix(e, name+"=") }), name+"="+value)
}

// Getenv is a variable of all commands that come; "" for one that is not set.
func (u *User) Getenv(name string) string {
	for _, e := range slices.Backward(u.env) {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// Answer is what a command printed and how it ended. Code is -1 when a signal ended it.
type Answer struct {
	Stdout, Stderr string
	Code           int
}

// Do runs a command to its end. The program assay is the built one.
func (u *User) Do(program string, args ...string) Answer {
	u.t.Helper()
	return u.Start(program, args...).Wait()
}

// Must runs a command that has to end well.
func (u *User) Must(program string, args ...string) Answer {
	u.t.Helper()
	a := u.Do(program, args...)
	if a.Code != 0 {
		u.t.Fatalf("%s %s: exit code %d\n%s%s", filepath.Base(program), strings.Join(args, " "), a.Code, a.Stdout, a.Stderr)
	}
	return a
}

// Command is a command under way.
type Command struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr stamped
	ended  chan error
	cancel context.CancelFunc
}

// stamped keeps what is written, and when. One goroutine writes.
type stamped struct {
	text   bytes.Buffer
	began  time.Time
	stamps []stamp
}

type stamp struct {
	length int // of all that was written until then
	after  time.Duration
}

func (s *stamped) Write(b []byte) (int, error) {
	n, err := s.text.Write(b)
	s.stamps = append(s.stamps, stamp{s.text.Len(), time.Since(s.began)})
	return n, err
}

// Start begins a command.
func (u *User) Start(program string, args ...string) *Command {
	u.t.Helper()
	return u.startFor(Within, program, args...)
}

// startFor is Start with a limit of its own.
func (u *User) startFor(limit time.Duration, program string, args ...string) *Command {
	u.t.Helper()
	if program == "assay" {
		program = u.assay
	}
	argv := append([]string{program}, args...)
	if len(u.enter) > 0 { // nothing of the environment here gets there by itself
		argv = slices.Concat(u.enter, []string{"env", "-i"}, u.env, argv)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	c := &Command{t: u.t, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), ended: make(chan error, 1), cancel: cancel}
	c.cmd.Env, c.cmd.Dir = u.env, u.home
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.stderr.began = time.Now()
	if err := c.cmd.Start(); err != nil {
		u.t.Fatalf("%s %v: %v", program, args, err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	return c
}

// Wait waits for the command's end. It is called once.
func (c *Command) Wait() Answer {
	c.t.Helper()
	defer c.cancel()
	err := <-c.ended
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("%v: %v", c.cmd.Args, err)
	}
	return Answer{Stdout: c.stdout.String(), Stderr: c.stderr.text.String(), Code: c.cmd.ProcessState.ExitCode()}
}

// When is how long after the command's start words were on its standard error. It is called after Wait.
func (c *Command) When(words string) time.Duration {
	c.t.Helper()
	end := strings.Index(c.stderr.text.String(), words) + len(words)
	for _, s := range c.stderr.stamps {
		if end >= len(words) && s.length >= end {
			return s.after
		}
	}
	c.t.Fatalf("%v did not say %q:\n%s", c.cmd.Args, words, c.stderr.text.String())
	return 0
}

// Signal sends a signal to the command's process.
func (c *Command) Signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%s to %v: %v", s, c.cmd.Args, err)
	}
}

// Up starts the standing control plane, which ends with the test, and points kubectl to it.
func (u *User) Up() {
	u.t.Helper()
	a := u.Must("assay", "up")
	path, found := strings.CutPrefix(strings.TrimSpace(a.Stdout), "export KUBECONFIG=")
	if !found {
		u.t.Fatalf("assay up printed %q", a.Stdout)
	}
	if !slices.Contains(u.env, "KUBECONFIG="+path) {
		u.Setenv("KUBECONFIG", path)
		u.t.Cleanup(func() { u.Do("assay", "down", "--drain") })
	}
}

// KillPlane sends KILL to the process of the standing control plane and waits until it is gone.
func (u *User) KillPlane() {
	u.t.Helper()
	p := u.Plane()
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		u.t.Fatalf("kill the control plane: %v", err)
	}
	Until(u.t, "the control plane is gone", func() bool { return !p.Lives() })
}

// Until waits for a condition.
func Until(t testing.TB, what string, met func() bool) {
	t.Helper()
	UntilOr(t, 10*time.Millisecond, what, met, func() string { return "" })
}

// UntilOr waits for a condition, and when it waits in vain, it tells what there was instead. Between two looks it pauses for
// three times as long as a look took, and that long at least: most looks start a program, and the machine has other work.
func UntilOr(t testing.TB, pause time.Duration, what string, met func() bool, instead func() string) {
	t.Helper()
	deadline := time.NewTimer(Within)
	defer deadline.Stop()
	for {
		begin := time.Now()
		if met() {
			return
		}
		next := time.NewTimer(min(max(3*time.Since(begin), pause), time.Second))
		select {
		case <-deadline.C:
			next.Stop()
			t.Fatalf("waited %s in vain: %s %s", Within, what, instead())
		case <-next.C:
		}
	}
}

// AtOnce runs subtests side by side, whatever number of parallel tests is allowed: they look at what goes on by itself.
func AtOnce(t *testing.T, tests map[string]func(*testing.T)) {
	t.Helper()
	var all sync.WaitGroup
	for name, test := range tests {
		all.Go(func() { t.Run(name, test) })
	}
	all.Wait()
}

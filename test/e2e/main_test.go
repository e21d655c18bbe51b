//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// user is a person with a home folder of their own, who types commands.
type user struct {
	t    *testing.T
	home string
	env  []string
}

// newUser makes a home folder. At the end no process of the user's jobs and no control plane may be left.
func newUser(t *testing.T) *user {
	t.Helper()
	if os.Getenv("ASSAY_BIN") == "" {
		t.Fatal("ASSAY_BIN is not set: run make e2e")
	}
	home := t.TempDir()
	u := &user{t: t, home: home, env: []string{
		"HOME=" + home, "XDG_STATE_HOME=" + filepath.Join(home, "state"), "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=dumb",
	}}
	t.Cleanup(func() {
		if left := u.processes(); len(left) > 0 {
			t.Errorf("processes are left behind:\n%s", strings.Join(left, "\n"))
		}
	})
	return u
}

// answer is what a command printed and how it ended.
type answer struct {
	stdout, stderr string
	code           int
}

// command prepares bin/assay or another program with the user's environment.
func (u *user) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if program == "assay" {
		program = filepath.Join(os.Getenv("ASSAY_BIN"), "assay")
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Dir = u.env, u.home
	return c
}

// within bounds every command: the machines of CI are slow and shared.
const within = 5 * time.Minute

// do runs a command to its end.
func (u *user) do(program string, args ...string) answer {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c := u.command(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatalf("%s %v: %v", program, args, err)
	}
	return answer{stdout: stdout.String(), stderr: stderr.String(), code: c.ProcessState.ExitCode()}
}

// must runs a command that has to end well.
func (u *user) must(program string, args ...string) answer {
	u.t.Helper()
	a := u.do(program, args...)
	if a.code != 0 {
		u.t.Fatalf("%s %s: exit code %d\n%s%s", filepath.Base(program), strings.Join(args, " "), a.code, a.stdout, a.stderr)
	}
	return a
}

// processes lists what runs with this user's home folder in its environment, and is not a process of the test.
func (u *user) processes() []string {
	var out []string
	entries, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return []string{err.Error()}
	}
	for _, path := range entries {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environ, []byte(u.home)) {
			continue
		}
		command, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || len(command) == 0 {
			continue // it ended meanwhile
		}
		out = append(out, filepath.Base(filepath.Dir(path))+" "+strings.ReplaceAll(string(command), "\x00", " "))
	}
	return out
}

// recipe is the path of a recipe of the repository.
func recipe(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "recipes", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// contains says which words a text lacks.
func contains(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, text)
		}
	}
}

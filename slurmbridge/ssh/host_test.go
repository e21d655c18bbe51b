package ssh_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/ssh"
	"assay.bench/slurmbridge/ssh/sshtest"
)

func TestRun(t *testing.T) {
	const noisy = "echo Welcome; echo 'module: command not found' >&2; "
	loud := script(t, "sh", noisy+`exec /bin/sh "$@"`)
	equals := filepath.Join(t.TempDir(), "a=b")
	must(t, os.WriteFile(equals, []byte("#!/bin/sh\necho \"$@\"\n"), 0o700))
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	shell := func(text string) []string { return []string{"/bin/sh", "-c", text} }
	for name, c := range map[string]struct {
		reason  string
		command slurmbridge.Command
		want    slurmbridge.Output
	}{
		"output":  {"both streams are the command's own", slurmbridge.Command{Argv: shell("echo out; echo words >&2")}, slurmbridge.Output{Stdout: []byte("out\n"), Stderr: []byte("words\n")}},
		"code":    {"an exit code is no error", slurmbridge.Command{Argv: shell("exit 3")}, slurmbridge.Output{Code: 3}},
		"255":     {"nor is the one by which ssh itself fails", slurmbridge.Command{Argv: shell("exit 255")}, slurmbridge.Output{Code: 255}},
		"signal":  {"128 and the number", slurmbridge.Command{Argv: shell("kill -TERM $$")}, slurmbridge.Output{Code: 143}},
		"missing": {"as in a shell", slurmbridge.Command{Argv: []string{"/no/such"}}, slurmbridge.Output{Code: 127, Stderr: []byte("/usr/bin/env: '/no/such': No such file or directory\n")}},
		"127":     {"a program's own is that", slurmbridge.Command{Argv: shell("exit 127")}, slurmbridge.Output{Code: 127}},
		"stdin":   {"byte for byte", slurmbridge.Command{Argv: []string{"cat"}, Stdin: append([]byte("\x00\xff"), big...)}, slurmbridge.Output{Stdout: append([]byte("\x00\xff"), big...)}},
		"unread":  {"a program need not read its input", slurmbridge.Command{Argv: []string{"true"}, Stdin: bytes.Repeat(big, 8)}, slurmbridge.Output{}},
		"argv":    {"no shell reads the words", slurmbridge.Command{Argv: []string{"printf", "%s|", "$HOME", "a  b", "", "*", "'"}}, slurmbridge.Output{Stdout: []byte("$HOME|a  b||*|'|")}},
		"env":     {"added to those of a login", slurmbridge.Command{Argv: shell(`echo "$A"`), Env: []string{"A=b c"}}, slurmbridge.Output{Stdout: []byte("b c\n")}},
		"equals":  {"a path with = is no variable", slurmbridge.Command{Argv: []string{equals, "x", "y z"}}, slurmbridge.Output{Stdout: []byte("x y z\n")}},
		"left":    {"what a command leaves behind is not waited for", slurmbridge.Command{Argv: shell("sleep 60 & echo gone")}, slurmbridge.Output{Stdout: []byte("gone\n")}},
	} {
		for _, login := range []string{"/bin/sh", "/bin/bash", loud} {
			t.Run(name+" "+filepath.Base(filepath.Dir(login))+" "+filepath.Base(login), func(t *testing.T) {
				h := openServer(t, sshtest.New(t, func(s *sshtest.Server) { s.Shell = login }))
				got, err := h.Run(t.Context(), c.command)
				must(t, err)
				got.Stderr = bytes.ReplaceAll(bytes.ReplaceAll(got.Stderr, []byte("‘"), []byte("'")), []byte("’"), []byte("'"))
				if name == "signal" {
					got.Stderr = nil // shells say so, each in its own words
				}
				if diff := cmp.Diff(text(c.want), text(got)); diff != "" {
					t.Errorf("%s: -want +got\n%.2000s", c.reason, diff)
				}
			})
		}
	}
}

type plain struct {
	Stdout, Stderr string
	Code           int
}

func text(o slurmbridge.Output) plain { return plain{string(o.Stdout), string(o.Stderr), o.Code} }

// A command sees what a login sets and nothing else; a login shell knows more folders and the cluster.
func TestEnvironment(t *testing.T) {
	home, tools := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(tools, "squeue"), []byte("#!/bin/sh\necho no jobs\n"), 0o700))
	profile := "echo 'Welcome to the machine'; echo >&2 quota; PATH=" + tools + ":$PATH; export SLURM_CONF=/etc/x/slurm.conf SBATCH_ACCOUNT=p1\n"
	must(t, os.WriteFile(filepath.Join(home, ".bash_profile"), []byte(profile), 0o600))
	s := sshtest.New(t, func(s *sshtest.Server) {
		s.Shell = "/bin/bash"
		s.Env = []string{"HOME=" + home, "USER=tester", "LOGNAME=tester", "SHELL=/bin/bash", "PATH=/usr/bin:/bin", "SQUEUE_FORMAT=%i", "LANG=de_DE.UTF-8"}
	})
	h := openServer(t, s)
	if got := sh(t, h, "squeue"); got != "no jobs\n" {
		t.Errorf("squeue says %q", got)
	}
	out, err := h.Run(t.Context(), slurmbridge.Command{Argv: []string{"/usr/bin/env"}, Env: []string{"LC_ALL=C", "TZ=UTC"}})
	must(t, err)
	got := strings.Fields(string(out.Stdout))
	i := slices.IndexFunc(got, func(e string) bool { return strings.HasPrefix(e, "PATH=") })
	if i < 0 || !strings.HasPrefix(got[i], "PATH="+tools+":") || !strings.Contains(got[i]+":", ":/usr/bin:") {
		t.Fatalf("no PATH with the folders of both: %v", got)
	}
	got[i] = "PATH"
	want := []string{"HOME=" + home, "USER=tester", "LOGNAME=tester", "SHELL=/bin/bash", "PATH", "SLURM_CONF=/etc/x/slurm.conf", "LC_ALL=C", "TZ=UTC"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if n := s.Commands(); n != 4 {
		t.Errorf("%d commands ran, want 4: two questions about the login, once, and ours", n)
	}
}

// A profile that never ends is given up, and the site is used with what a session has.
func TestProfileThatHangs(t *testing.T) {
	home := t.TempDir()
	must(t, os.WriteFile(filepath.Join(home, ".bash_profile"), []byte("read -t 600 <> <(:)\n"), 0o600))
	s := sshtest.New(t, func(s *sshtest.Server) {
		s.Env = []string{"HOME=" + home, "SHELL=/bin/bash", "PATH=/usr/bin:/bin"}
	})
	h := open(t, ssh.Options{Target: target(s), ConnectTimeout: time.Second})
	wantUnreachable(t, try(within(t, 200*time.Millisecond), h), "the login shell has not said its PATH yet", "context deadline exceeded")
	must(t, try(within(t, 15*time.Second), h))
	eventually(t, "the profile was told to end", func() bool { return s.OpenSessions() == 0 })
}

// Many callers share one connection and eight sessions.
func TestSessionsAreHeldBack(t *testing.T) {
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	var calls sync.WaitGroup
	for range 40 {
		calls.Go(func() {
			if out, err := h.Run(t.Context(), slurmbridge.Command{Argv: []string{"sleep", "0.05"}}); err != nil || out.Code != 0 {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
	calls.Wait()
	if s.Sessions() > 8 || s.Connections() != 1 {
		t.Errorf("%d sessions at once on %d connections, want at most 8 on 1", s.Sessions(), s.Connections())
	}
	// All eight are used, and who waits for a session waits no longer than its context.
	slow, cancel := context.WithCancel(t.Context())
	for range 8 {
		calls.Go(func() { _, _ = h.Run(slow, slurmbridge.Command{Argv: []string{"sleep", "60"}}) })
	}
	eventually(t, "all sessions are taken", func() bool { return s.OpenSessions() == 8 })
	wantUnreachable(t, try(within(t, 50*time.Millisecond), h), "waited for a free session")
	cancel()
	calls.Wait()
	must(t, try(t.Context(), h))
	// Those that end them come one after the other: an sshd takes ten sessions of a connection.
	eventually(t, "all have ended", func() bool { return s.OpenSessions() == 0 })
	if s.Sessions() > 9 || s.Connections() != 1 {
		t.Errorf("%d sessions at once on %d connections, want at most 9 on 1", s.Sessions(), s.Connections())
	}
}

// What is cancelled ends there as well, and at once here.
func TestCancel(t *testing.T) {
	s := sshtest.New(t, nil)
	h := openServer(t, s)
	must(t, try(t.Context(), h))
	eventually(t, "that has ended", func() bool { return s.OpenSessions() == 0 })
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.Run(ctx, slurmbridge.Command{Argv: []string{"sleep", "600"}})
		done <- err
	}()
	eventually(t, "it runs", func() bool { return s.OpenSessions() == 1 })
	because := errors.New("nobody wants to know any more")
	cancel(because)
	err := <-done
	wantUnreachable(t, err)
	if !errors.Is(err, because) {
		t.Errorf("%v, want one that wraps the cause", err)
	}
	eventually(t, "it has ended", func() bool { return s.OpenSessions() == 0 })
	must(t, try(t.Context(), h))
	if s.Connections() != 1 {
		t.Errorf("%d connections, want 1", s.Connections())
	}
	wantUnreachable(t, try(ctx, h), "true was not begun")
}

func TestAnswersThatAreNone(t *testing.T) {
	for reason, tt := range map[string]struct {
		shell string
		argv  []string
		want  string
	}{
		"the account has no shell":             {script(t, "nologin", "echo This account is currently not available.; exit 1"), []string{"true"}, `it did not begin, and all that came is "This account is currently not available.": check that ssh runs commands there: the shell there ended with exit code 1`},
		"the shell is killed before it begins": {script(t, "killed", "kill -KILL $$"), []string{"true"}, "the shell there was ended by signal KILL"},
		"the command takes its shell with it":  {"/bin/sh", []string{"/bin/sh", "-c", "echo half; echo hm >&2; kill -KILL $PPID"}, `sh: its answer is cut off, after 5 bytes and the words "hm"`},
		"the site has no Slurm":                {"/bin/sh", []string{"squeue"}, "squeue is not in the PATH of a login there: is it a login node of the site"},
		"more than anybody reads":              {"/bin/sh", []string{"yes"}, "yes: it printed more than 64 MiB"},
	} {
		s := sshtest.New(t, func(s *sshtest.Server) { s.Shell = tt.shell })
		h := openServer(t, s)
		out, err := h.Run(t.Context(), slurmbridge.Command{Argv: tt.argv})
		if err == nil {
			t.Errorf("%s: %+v", reason, out)
			continue
		}
		wantUnreachable(t, err, tt.want)
		eventually(t, "all has ended there", func() bool { return s.OpenSessions() == 0 })
	}
}

func TestCommandLineThatIsTooLong(t *testing.T) {
	h := openServer(t, sshtest.New(t, nil))
	_, err := h.Run(t.Context(), slurmbridge.Command{Argv: []string{"echo", strings.Repeat("x", 140_000)}})
	wantUnreachable(t, err, "longer than a site takes")
	long := strings.Repeat("x", 100_000)
	out, err := h.Run(t.Context(), slurmbridge.Command{Argv: []string{"echo", long}})
	if err != nil || string(out.Stdout) != long+"\n" {
		t.Errorf("%d bytes, %v", len(out.Stdout), err)
	}
}

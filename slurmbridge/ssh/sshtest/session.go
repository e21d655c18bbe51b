package sshtest

import (
	"errors"
	"io"
	"os/exec"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// session serves one session of a connection.
func (s *Server) session(n ssh.NewChannel, open *counter) {
	s.mu.Lock()
	tooMany := open.now >= s.MaxSessions
	if !tooMany {
		open.add(1)
		s.sessions.add(1)
	}
	s.mu.Unlock()
	if tooMany {
		_ = n.Reject(ssh.Prohibited, "open failed")
		return
	}
	defer s.set(func() {
		open.add(-1)
		s.sessions.add(-1)
	})
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		var of struct{ What string }
		if s.muted() || ssh.Unmarshal(r.Payload, &of) != nil {
			continue
		}
		switch {
		case r.Type == "exec" && s.Silent:
			_ = r.Reply(true, nil)
			continue
		case r.Type == "exec" && !s.NoCommands:
			_ = r.Reply(true, nil)
			s.run(ch, requests, of.What)
			return
		case r.Type == "subsystem" && of.What == "sftp" && !s.NoSFTP:
			_ = r.Reply(true, nil)
			go ssh.DiscardRequests(requests)
			s.sftp(ch)
			return
		}
		_ = r.Reply(false, nil)
	}
}

// run runs a command as sshd does: in a group of its own, which a signal reaches. Like there, it goes on when the client
// has closed the session or the connection is lost.
func (s *Server) run(ch ssh.Channel, requests <-chan *ssh.Request, command string) {
	s.set(func() { s.commands = append(s.commands, command) })
	cmd := exec.Command(s.Shell, "-c", command)
	cmd.Env, cmd.Dir = s.Env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = unmuted{s, ch}, unmuted{s, ch.Stderr()}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_, _ = io.WriteString(ch.Stderr(), err.Error())
		return
	}
	s.set(func() { s.groups[cmd.Process.Pid] = true })
	defer s.set(func() { delete(s.groups, cmd.Process.Pid) })
	go func() {
		_, _ = io.Copy(stdin, ch)
		_ = stdin.Close()
	}()
	go func() {
		for r := range requests {
			var of struct{ Name string }
			if r.Type == "signal" && ssh.Unmarshal(r.Payload, &of) == nil && of.Name == "TERM" {
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			}
		}
	}()
	err = cmd.Wait()
	if s.muted() {
		return
	}
	exit, failed := errors.AsType[*exec.ExitError](err)
	if failed && !exit.Exited() {
		_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(&struct {
			Name  string
			Core  bool
			Words string
			Lang  string
		}{Name: signalName(exit)}))
		return
	}
	code := 0
	if failed {
		code = exit.ExitCode()
	}
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(&struct{ Code uint32 }{uint32(code)}))
}

func signalName(exit *exec.ExitError) string {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGTERM {
		return "TERM"
	}
	return "KILL"
}

// unmuted writes until the server is mute.
type unmuted struct {
	s *Server
	w io.Writer
}

func (u unmuted) Write(b []byte) (int, error) {
	if u.s.muted() {
		return len(b), nil
	}
	return u.w.Write(b)
}

// End ends every command that runs.
func (s *Server) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for group := range s.groups {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
}

package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"assay.bench/slurmbridge"
)

// Arch is the architecture of the host, as Go names it.
func (h *Host) Arch(ctx context.Context) (string, error) {
	f, err := h.look(ctx, "the architecture", `say machine "$(uname -m)"`)
	if err != nil {
		return "", err
	}
	switch machine := f["machine"]; machine {
	case "x86_64":
		return "amd64", nil
	case "aarch64":
		return "arm64", nil
	default:
		return "", fmt.Errorf("%s is a machine of the kind %q, for which there is no assay-node", h.carrier.name(), machine)
	}
}

// Stage puts the assay-node program below a work folder that Probe accepted, under its SHA-256, so that a job goes on with
// the program that it began with. It returns the program's path. A program that is there already is not sent again. What
// is wrong with the folder or with the program wraps ErrWorkDir.
func (h *Host) Stage(ctx context.Context, workDir string, program []byte) (string, error) {
	sum := sha256.Sum256(program)
	s := staging{program: program, sum: hex.EncodeToString(sum[:])}
	s.dir = path.Join(workDir, "bin", s.sum)
	s.path = path.Join(s.dir, "assay-node")
	f, err := h.look(ctx, "the look for assay-node", sayFolders(s.folders())+sayPlace("program", s.path)+
		`say sum "$(sha256sum <`+slurmbridge.Quote(s.path)+` 2>&1)"; `)
	if err != nil {
		return "", err
	}
	if err := f.checkFolders(s.folders()); err != nil {
		return "", s.failed(err)
	}
	if s.isThere(f) {
		return s.path, nil
	}
	return s.path, h.send(ctx, s)
}

// staging is a program on its way.
type staging struct {
	program        []byte
	sum, dir, path string
}

func (s staging) folders() []string { return []string{path.Dir(s.dir), s.dir} }

// isThere says whether the whole program is there, and nobody else can change it.
func (s staging) isThere(f facts) bool {
	me, err := f.user()
	if err != nil {
		return false
	}
	p, err := f.place("program", s.path)
	return err == nil && p.CheckFile(me) == nil && p.Mode.Perm()&0o100 != 0 && strings.HasPrefix(f["sum"], s.sum)
}

// failed says that the work folder does not take assay-node.
func (s staging) failed(err error) error {
	return fmt.Errorf("%w: assay-node cannot be put there: %w", slurmbridge.ErrWorkDir, err)
}

// send puts the program beside its place, has the host check it, and renames it: whoever else does the same at the same
// time does no harm.
func (h *Host) send(ctx context.Context, s staging) error {
	fresh := path.Join(s.dir, ".assay-node-"+rand.Text())
	if err := h.upload(ctx, fresh, s.program); err != nil {
		h.remove(ctx, fresh)
		if errors.Is(err, slurmbridge.ErrUnreachable) {
			return err
		}
		return s.failed(&fs.PathError{Op: "write", Path: s.path, Err: err})
	}
	f, err := h.look(ctx, "the check of assay-node", fmt.Sprintf(`f=%s; p=%s; say sum "$(sha256sum <"$f" 2>&1)"; `+
		`case $(sha256sum <"$f") in %s*) say moved "$(chmod 700 "$f" 2>&1 && mv -f -- "$f" "$p" 2>&1)"; w=$("$p" version 2>&1 >/dev/null) || say run "$w (exit code $?)" ;; esac; rm -f -- "$f"`,
		slurmbridge.Quote(fresh), slurmbridge.Quote(s.path), s.sum))
	switch {
	case err != nil:
		return err
	case !strings.HasPrefix(f["sum"], s.sum):
		return s.failed(fmt.Errorf("what arrived is not what was sent (%.80s): is the disk full, or the quota?", f["sum"]))
	case f["moved"] != "":
		return s.failed(problem("rename", s.path, f["moved"]))
	case f["run"] != "":
		return s.failed(fmt.Errorf("%w: it does not run on the login node: name a folder in workDir from which programs may run", problem("exec", s.path, f["run"])))
	}
	return nil
}

// upload writes a file, over sftp where the site has it. Where that fails, a shell says what is wrong in better words, or
// can do it: some sites have no sftp, and a profile that prints something breaks it.
func (h *Host) upload(ctx context.Context, file string, content []byte) error {
	err := h.uploadSFTP(ctx, file, content)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return h.unreachable(fmt.Errorf("assay-node was not sent in time: %w", context.Cause(ctx)))
	}
	out, err := h.run(ctx, "the upload of assay-node", "( umask 077; exec cat >"+slurmbridge.Quote(file)+" )", bytes.NewReader(content))
	if err == nil && out.Code != 0 {
		err = reason(string(out.Stderr))
	}
	return err
}

func (h *Host) uploadSFTP(ctx context.Context, file string, content []byte) error {
	s, err := h.open(ctx, "the upload of assay-node", "sftp", true)
	if err != nil {
		return err
	}
	defer s.close()
	done := make(chan error, 1)
	go func() { done <- s.sftp(file, content) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sftp writes a file in a session of that subsystem.
func (s *session) sftp(file string, content []byte) error {
	c, err := sftp.NewClientPipe(s.stdout, s.stdin, sftp.UseConcurrentWrites(true))
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := c.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.ReadFrom(bytes.NewReader(content))
	return errors.Join(err, f.Chmod(0o700), f.Close())
}

// remove tries to leave nothing behind, also when the caller's time is over.
func (h *Host) remove(ctx context.Context, file string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = h.run(ctx, "the clean-up", "rm -f -- "+slurmbridge.Quote(file), bytes.NewReader(nil))
}

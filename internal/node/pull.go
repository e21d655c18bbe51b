package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/internal/rundir"
)

// The rhythm of a lock over an image.
const (
	lockBeat  = 5 * time.Second
	lockPoll  = time.Second
	lockStale = 30 * time.Second
)

// puller puts images into the site's store. Whatever ends it, at any moment, what the store holds under the name of a
// digest is whole: an image gets its name by a rename, and its record after that.
type puller struct {
	world *World
	job   *job
	owner lockOwner
	// beat, poll and stale are those of the locks.
	beat, poll, stale time.Duration
	sayf              func(format string, args ...any)
	log               func(event string, fields ...any)
}

// markPull marks what a pull starts, as markComponent does for a rank: no component is called so.
const markPull = ".pull/0"

// errLockLost says that another took the lock over, for we were not seen to live.
var errLockLost = errors.New("the lock over the image was taken over")

// one puts an image into the store, unless it is there or another job does it.
func (p *puller) one(ctx context.Context, pull rundir.ImagePull) error {
	store := filepath.Dir(pull.SIF)
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	hex := strings.TrimSuffix(filepath.Base(pull.SIF), ".sif")
	lock := &imageLock{path: filepath.Join(store, hex+".lock"), owner: p.owner, beat: p.beat, poll: p.poll, stale: p.stale,
		waits: func(o lockOwner) {
			p.log("PullWaits", "image", pull.URI, "digest", pull.Digest, "for", o.String())
			p.sayf("waits for %s, which pulls %s", o, pull.URI)
		}}
	for {
		held, err := lock.acquire(ctx, func() bool { _, err := storedImage(pull.SIF); return err == nil })
		if err != nil {
			return err
		}
		if !held {
			p.log("ImagePresent", "image", pull.URI, "digest", pull.Digest)
			p.sayf("%s is in the store: %s", pull.URI, pull.SIF)
			return nil
		}
		if err := p.owning(ctx, lock, pull); !errors.Is(err, errLockLost) {
			return err
		}
		p.sayf("another job took over the pull of %s", pull.URI)
	}
}

// owning pulls an image while it owns the lock.
func (p *puller) owning(ctx context.Context, lock *imageLock, pull rundir.ImagePull) error {
	defer lock.release()
	ctx, cancel := context.WithCancelCause(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { lock.hold(ctx, func() { cancel(errLockLost) }) })
	defer beats.Wait()
	defer cancel(nil)

	if _, err := storedImage(pull.SIF); err == nil {
		return nil // its former owner was just done
	}
	p.removeLeft(lock, pull.SIF)
	begin := time.Now()
	p.log("PullStarted", "image", pull.URI, "digest", pull.Digest)
	p.sayf("pulls %s to %s", pull.URI, pull.SIF)
	part := filepath.Join(filepath.Dir(pull.SIF), "."+filepath.Base(pull.SIF)+"."+lock.owner.nonce+".part")
	defer os.Remove(part) // it has its name by then, or is of no use
	record, err := p.fetch(ctx, pull, part)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	if !lock.mine() {
		return errLockLost
	}
	if err := commit(part, pull.SIF, record); err != nil {
		return err
	}
	p.log("Pulled", "image", pull.URI, "digest", pull.Digest, "sha256", record.SHA256, "bytes", record.Size, "took", time.Since(begin))
	p.sayf("pulled %s in %s: %d bytes", pull.URI, time.Since(begin).Round(time.Second), record.Size)
	return nil
}

// removeLeft removes what owners of the lock that died left half-written, in the store and on this node. Only the owner of
// the lock does it.
func (p *puller) removeLeft(lock *imageLock, sif string) {
	store := filepath.Dir(sif)
	for _, name := range []string{filepath.Base(sif), filepath.Base(lock.path), filepath.Base(rundir.ImageRecordOf(sif))} {
		removeOthers(filepath.Join(store, "."+name+".*"), lock.owner.nonce)
	}
	removeOthers(p.scratchName(sif, "*"), lock.owner.nonce)
}

// removeOthers removes what has a name of a pattern, but for our own. What stays takes room, and nothing else.
func removeOthers(pattern, nonce string) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return // the name of a digest is a pattern that can be read
	}
	for _, path := range found {
		if !strings.Contains(filepath.Base(path), nonce) {
			_ = os.RemoveAll(path)
		}
	}
}

// scratchName is the folder in which an owner of the lock over an image unpacks it.
func (p *puller) scratchName(sif, nonce string) string {
	return filepath.Join(p.scratchBase(), "assay-pull-"+strings.TrimSuffix(filepath.Base(sif), ".sif")+"-"+nonce)
}

// fetch has the image pulled into a file, and says what the file is.
func (p *puller) fetch(ctx context.Context, pull rundir.ImagePull, part string) (*rundir.ImageRecord, error) {
	find := pathLookup(p.world.getenv("PATH"))
	runtime, err := containerRuntime(find, pull.URI)
	if err != nil {
		return nil, err
	}
	scratch := p.scratchName(pull.SIF, p.owner.nonce)
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	source, err := pullSource(pull, scratch)
	if err != nil {
		return nil, err
	}
	argv := []string{runtime, "pull", "--disable-cache"}
	if pull.Insecure {
		argv = append(argv, "--no-https")
	}
	if said, err := p.run(ctx, append(argv, part, source), scratch); err != nil {
		return nil, pullEnding(pull, said, err, scratch)
	}
	record := &rundir.ImageRecord{Version: rundir.Version, URI: pull.URI, Digest: pull.Digest, Time: p.world.Now().UTC(),
		Runtime: version(ctx, find, filepath.Base(runtime))}
	if record.SHA256, record.Size, err = hashSIF(part); err != nil {
		return nil, err
	}
	if isLibrary(pull.URI) && "sha256:"+record.SHA256 != pull.Digest {
		return nil, endf(rundir.ExitReasonImageMismatch, "the library gave for %s a file with the SHA-256 %s; the recipe names %s",
			pull.URI, record.SHA256, pull.Digest)
	}
	return record, nil
}

// scratchBase is where an image is unpacked: the node's own disk, for a shared file system is slow with many small
// files; but not its memory.
func (p *puller) scratchBase() string {
	var fs unix.Statfs_t
	if err := unix.Statfs(p.world.TempDir, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		return p.job.dir
	}
	return p.world.TempDir
}

// run runs Apptainer, and returns what it said last.
func (p *puller) run(ctx context.Context, argv []string, scratch string) (said string, err error) {
	words := &lastWords{}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = scratch
	cmd.Stdout = io.MultiWriter(p.world.Stderr, words)
	cmd.Stderr = cmd.Stdout
	cmd.Env = append(append([]string{}, p.world.Environ...), markJob+"="+p.job.plan.Key, markComponent+"="+markPull)
	for _, program := range []string{"APPTAINER", "SINGULARITY"} {
		cmd.Env = append(cmd.Env, program+"_TMPDIR="+scratch, program+"_CACHEDIR="+scratch)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if err != nil { // what it started goes too, before its folder does
		rest{self: p.world.PID, marks: []string{markJob + "=" + p.job.plan.Key + "\x00", markComponent + "=" + markPull + "\x00"}}.kill()
	}
	return words.String(), err
}

// commit gives an image its name, and then writes its record.
func commit(part, sif string, record *rundir.ImageRecord) error {
	b, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	if err := os.Rename(part, sif); err != nil {
		return err
	}
	return rundir.ReplaceDurable(rundir.ImageRecordOf(sif), append(b, '\n'))
}

// storedImage is the record of an image that is in the store whole: with a file of the size that the record tells.
func storedImage(sif string) (*rundir.ImageRecord, error) {
	b, err := os.ReadFile(rundir.ImageRecordOf(sif))
	if err != nil {
		return nil, err
	}
	record, err := rundir.ParseImageRecord(b)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(sif)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() != record.Size {
		return nil, fmt.Errorf("%s has %d bytes, and its record says %d", sif, st.Size(), record.Size)
	}
	return record, nil
}

// sifMagic stands behind the first line of each SIF, which makes it a script.
const (
	sifMagic   = "SIF_MAGIC"
	sifMagicAt = 32
)

// hashSIF reads a fresh SIF through, and sees it onto the disk.
func hashSIF(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	head := make([]byte, sifMagicAt+len(sifMagic))
	if _, err := io.ReadFull(f, head); err != nil || string(head[sifMagicAt:]) != sifMagic {
		return "", 0, endf(rundir.ExitReasonPullFailed, "what was pulled is no SIF: %s", path)
	}
	h := sha256.New()
	h.Write(head)
	size, err = io.Copy(h, f)
	if err == nil {
		err = f.Sync()
	}
	return hex.EncodeToString(h.Sum(nil)), size + int64(len(head)), err
}

// lastWords keeps the end of what is written to it.
type lastWords struct{ kept []byte }

func (l *lastWords) Write(b []byte) (int, error) {
	const most = 16 << 10
	l.kept = append(l.kept, b...)
	if extra := len(l.kept) - most; extra > 0 {
		l.kept = bytes.Clone(l.kept[extra:])
	}
	return len(b), nil
}

func (l *lastWords) String() string { return strings.ToValidUTF8(string(l.kept), "") }

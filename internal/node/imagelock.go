package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// imageLock says who pulls an image into the store: a symbolic link whose text names its owner and advances while that
// lives. It needs nothing of a file system but links and renames, for some of those that nodes share have no flock.
//
// An owner whose text stands still for stale, by the clock of whoever waits, is dead: its lock is replaced. Two that
// replace it at once, or one that was only asleep, find out by reading it: the lock saves work, and what an owner does
// is safe without it.
type imageLock struct {
	path  string
	owner lockOwner
	// beat is how often the text advances, poll how often one that waits looks at it.
	beat, poll, stale time.Duration
	// waits is called when another owner is met.
	waits func(lockOwner)
}

// lockOwner is the text of a lock, but for its beat.
type lockOwner struct {
	host string
	pid  int
	// job is the batch system's id of the job, "" for none.
	job     string
	started string
	nonce   string
}

// String is for people.
func (o lockOwner) String() string {
	if o.job == "" {
		return fmt.Sprintf("process %d on %s", o.pid, o.host)
	}
	return fmt.Sprintf("job %s on %s", o.job, o.host)
}

func (o lockOwner) text(beat int64) string {
	return fmt.Sprintf("host=%s pid=%d job=%s started=%s nonce=%s beat=%d", word(o.host), o.pid, word(o.job), word(o.started), word(o.nonce), beat)
}

// word keeps a value in one word.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, s)
}

// parseLock reads the text of a lock. What it does not know it leaves empty: only whether the text changes counts.
func parseLock(text string) (o lockOwner, beat int64) {
	for field := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "host":
			o.host = value
		case "pid":
			o.pid, _ = strconv.Atoi(value)
		case "job":
			o.job = value
		case "started":
			o.started = value
		case "nonce":
			o.nonce = value
		case "beat":
			beat, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return o, beat
}

func newLockOwner(w *World) lockOwner {
	return lockOwner{host: w.Hostname, pid: w.PID, job: w.getenv("SLURM_JOB_ID"),
		started: w.Now().UTC().Format(time.RFC3339), nonce: rand.Text()}
}

// acquire waits until the lock is ours, or until there says that nobody needs it any more: held is then false.
func (l *imageLock) acquire(ctx context.Context, there func() bool) (held bool, err error) {
	var met lockOwner
	var text string
	since := time.Now()
	for {
		if there() {
			return false, nil
		}
		err := os.Symlink(l.owner.text(0), l.path)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		now, err := os.Readlink(l.path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was released just now
			continue
		case err != nil:
			return false, fmt.Errorf("%s is no lock of assay-node: remove it: %w", l.path, err)
		case now != text:
			text, since = now, time.Now()
			if o, _ := parseLock(now); o != met {
				met = o
				l.waits(met)
			}
		case time.Since(since) >= l.stale:
			if held, err := l.replace(ctx, text); held || err != nil {
				return held, err
			}
			text = ""
		}
		if err := pause(ctx, l.poll); err != nil {
			return false, err
		}
	}
}

// replace puts our lock in the place of a dead one, and looks a moment later whether nobody else did.
func (l *imageLock) replace(ctx context.Context, dead string) (held bool, err error) {
	if now, err := os.Readlink(l.path); err != nil || now != dead {
		return false, nil //nolint:nilerr // it is gone: somebody else was quicker
	}
	if err := l.write(0); err != nil {
		return false, err
	}
	if err := pause(ctx, l.poll); err != nil {
		l.release()
		return false, err
	}
	return l.mine(), nil
}

// write replaces whatever lock there is.
func (l *imageLock) write(beat int64) error {
	fresh := filepath.Join(filepath.Dir(l.path), "."+filepath.Base(l.path)+"."+l.owner.nonce)
	if err := os.Symlink(l.owner.text(beat), fresh); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(fresh, l.path); err != nil {
		_ = os.Remove(fresh) // the first error is the one that counts
		return err
	}
	return nil
}

// mine says that the lock is ours still.
func (l *imageLock) mine() bool {
	text, err := os.Readlink(l.path)
	o, _ := parseLock(text)
	return err == nil && o.nonce == l.owner.nonce
}

// hold lets the lock advance until ctx ends; it calls lost once the lock is somebody else's. A beat that cannot be
// written is tried again with the next.
func (l *imageLock) hold(ctx context.Context, lost func()) {
	for beat := int64(1); pause(ctx, l.beat) == nil; beat++ {
		if !l.mine() {
			lost()
			return
		}
		_ = l.write(beat)
	}
}

// release takes our lock away.
func (l *imageLock) release() {
	if l.mine() {
		_ = os.Remove(l.path) // one that stays is replaced once it is stale
	}
}

// pause waits, or returns why it did not.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func lockAt(path, nonce string) *imageLock {
	return &imageLock{path: path, owner: lockOwner{host: "mel2001", pid: 7, job: "4711", started: "2026-11-30T11:00:00Z", nonce: nonce},
		beat: lockBeat, poll: lockPoll, stale: lockStale, waits: func(lockOwner) {}}
}

func notThere() bool { return false }

// One that waits gets the lock once its owner lets it go, however long that holds it, and says for whom it waits.
func TestLockIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.lock")
		first, second := lockAt(path, "one"), lockAt(path, "two")
		if held, err := first.acquire(t.Context(), notThere); !held || err != nil {
			t.Fatal(held, err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go first.hold(ctx, func() { t.Error("the owner lost its lock") })
		var waited []string
		second.waits = func(o lockOwner) { waited = append(waited, o.String()) }
		var got atomic.Bool
		go func() {
			held, err := second.acquire(t.Context(), notThere)
			got.Store(held && err == nil)
		}()
		time.Sleep(20 * lockStale) // of the bubble's clock
		synctest.Wait()
		if got.Load() {
			t.Error("the lock of an owner that lives was taken")
		}
		stop()
		synctest.Wait()
		first.release()
		time.Sleep(lockPoll)
		synctest.Wait()
		if !got.Load() || !second.mine() {
			t.Error("the lock was let go, and nobody has it")
		}
		if strings.Join(waited, ";") != "job 4711 on mel2001" {
			t.Errorf("waited for %q", waited)
		}
	})
}

// A lock whose owner is dead goes to one of those that wait, and to no more than one.
func TestDeadLockIsReplacedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.lock")
		if err := os.Symlink("host=mel2001 pid=1 job=1 started=x nonce=dead beat=9", path); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		var holders atomic.Int32
		for _, nonce := range []string{"a", "b", "c"} {
			l := lockAt(path, nonce)
			go func() {
				held, err := l.acquire(t.Context(), notThere)
				if held && err == nil {
					holders.Add(1)
					if took := time.Since(begin); took < lockStale {
						t.Errorf("taken after %s, before it was stale", took)
					}
					l.hold(t.Context(), func() { t.Error("the new owner lost it") })
				}
			}()
		}
		time.Sleep(10 * lockStale)
		synctest.Wait()
		if holders.Load() != 1 {
			t.Errorf("%d hold the lock of a dead owner, want one", holders.Load())
		}
	})
}

// An owner that slept while its lock was taken over is told.
func TestLostLockIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.lock")
		slept, other := lockAt(path, "slept"), lockAt(path, "other")
		if held, err := slept.acquire(t.Context(), notThere); !held || err != nil {
			t.Fatal(held, err)
		}
		if held, err := other.acquire(t.Context(), notThere); !held || err != nil {
			t.Fatal(held, err)
		}
		lost := false
		slept.hold(t.Context(), func() { lost = true })
		slept.release()
		if !lost || slept.mine() || !other.mine() {
			t.Errorf("lost %v; the lock has to stay with its new owner", lost)
		}
	})
}

func TestLockIsNotNeededOnceTheImageIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.lock")
		first, second := lockAt(path, "one"), lockAt(path, "two")
		if held, err := first.acquire(t.Context(), notThere); !held || err != nil {
			t.Fatal(held, err)
		}
		looks := 0
		held, err := second.acquire(t.Context(), func() bool { looks++; return looks == 3 })
		if held || err != nil || looks != 3 {
			t.Errorf("held %v, %v after %d looks; want none of it after three", held, err, looks)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		stop(endf("Stopped", "told to"))
		if held, err := second.acquire(ctx, notThere); held || err == nil || err.Error() != "told to" {
			t.Errorf("held %v, %v; want the cause", held, err)
		}
	})
}

// Something else of that name is nobody's lock.
func TestNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockAt(path, "one").acquire(t.Context(), notThere); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("%v, want to be told to remove it", err)
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add("mel2001", 12, "4711", "2026-11-30T11:00:00Z", "ABC", int64(3))
	f.Fuzz(func(t *testing.T, host string, pid int, job, started, nonce string, beat int64) {
		o := lockOwner{host: word(host), pid: pid, job: word(job), started: word(started), nonce: word(nonce)}
		if got, b := parseLock(lockOwner{host, pid, job, started, nonce}.text(beat)); got != o || b != beat {
			t.Errorf("wrote %+v, %d; read %+v, %d", o, beat, got, b)
		}
	})
}

package statedir

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLockIsHeldByOne(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var used *InUseError
	if _, err := Lock(dir, time.Now()); !errors.As(err, &used) || used.PID != os.Getpid() {
		t.Fatalf("a second lock: %v, want that process %d has it", err, os.Getpid())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Lock(dir, time.Now())
	if err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	second.Close()
}

// A process that was killed may be dead before its last threads let go of the lock: it is waited for.
func TestLockOfADeadProcessIsWaitedFor(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	held, err := os.Create(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(held, `{"pid":%d,"host":"h"}`, ended.Process.Pid)
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { held.Close() })
	lock, err := Lock(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestEnding(t *testing.T) {
	zombie := exec.Command("true")
	out, err := zombie.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err == nil { // its end closes the pipe, and nobody waits for it yet
		t.Fatal("true says something")
	}
	for end := time.Now().Add(10 * time.Second); !Ending(zombie.Process.Pid) && time.Now().Before(end); {
	}
	if !Ending(zombie.Process.Pid) {
		t.Error("a zombie counts as alive")
	}
	if err := zombie.Wait(); err != nil {
		t.Fatal(err)
	}
	if !Ending(zombie.Process.Pid) {
		t.Error("a process that is gone counts as alive")
	}
	if Ending(os.Getpid()) || Ending(0) {
		t.Error("this process, or one that is not known, counts as dead")
	}
}

// A process that was killed loses its command line before its files: who no longer finds the one must not find the other.
func TestHolderIsNotOnItsWayOut(t *testing.T) {
	dir := t.TempDir()
	for n := range 50 {
		lock, err := os.Create(filepath.Join(dir, lockFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		process := exec.Command("sleep", "60")
		process.ExtraFiles = []*os.File{lock} // with its lock
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(lock, `{"pid":%d,"host":"h"}`, process.Process.Pid)
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		awaitCommand(process.Process.Pid, true) // it comes a moment after the program
		if pid, held := Holder(dir); !held || pid != process.Process.Pid {
			t.Fatalf("held by %d, %t; want %d", pid, held, process.Process.Pid)
		}
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitCommand(process.Process.Pid, false)
		if pid, held := Holder(dir); held {
			t.Fatalf("kill %d: process %d counts as the holder, and its command line is gone", n, pid)
		}
		if err := process.Wait(); err == nil {
			t.Fatal("sleep was not killed")
		}
	}
}

// awaitCommand waits until a process has a command line, or none.
func awaitCommand(pid int, want bool) {
	command := fmt.Sprintf("/proc/%d/cmdline", pid)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if text, err := os.ReadFile(command); (err == nil && len(text) > 0) == want {
			return
		}
	}
}

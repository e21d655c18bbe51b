package user

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Cores are those that this process may use.
func Cores(t testing.TB) []int {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	var out []int
	for c := 0; len(out) < set.Count(); c++ {
		if set.IsSet(c) {
			out = append(out, c)
		}
	}
	return out
}

func setOf(cores []int) *unix.CPUSet {
	var set unix.CPUSet
	for _, c := range cores {
		set.Set(c)
	}
	return &set
}

// StartedOn calls start, which starts a process, so that the process and all that it starts run on some cores only:
// a child inherits them from the thread that starts it.
func StartedOn(t testing.TB, on []int, start func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := setOf(Cores(t))
	if err := unix.SchedSetaffinity(0, setOf(on)); err != nil {
		t.Fatalf("run on cores %v: %v", on, err)
	}
	start()
	if err := unix.SchedSetaffinity(0, before); err != nil {
		t.Fatal(err)
	}
}

// Pin moves a process to some cores. What it starts follows it.
func Pin(t testing.TB, pid int, on []int) {
	t.Helper()
	eachThread(t, pid, func(tid int) error { return unix.SchedSetaffinity(tid, setOf(on)) })
}

// Own pins a process to one core and, where the system lets us, gives it precedence there over everything else on the
// machine, so that the core is its own. What it starts follows it.
func Own(t testing.TB, pid, core int) {
	t.Helper()
	Pin(t, pid, []int{core})
	eachThread(t, pid, func(tid int) error { return goFirst(t, tid, core) })
}

// OwnThread gives the calling goroutine a thread of its own until its end, with the core and the precedence that Own
// gives a process.
func OwnThread(t testing.TB, core int) error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := unix.SchedSetaffinity(0, setOf([]int{core})); err != nil {
		return fmt.Errorf("run on core %d: %w", core, err)
	}
	return goFirst(t, 0, core)
}

// goFirst lets a thread go before all that has no such precedence, where the system lets us.
func goFirst(t testing.TB, tid, core int) error {
	err := unix.SchedSetAttr(tid, &unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1}, 0)
	if errors.Is(err, unix.EPERM) {
		t.Logf("thread %d shares core %d with whatever else runs there: %v", tid, core, err)
		return nil
	}
	return err
}

// eachThread does something with all threads of a process, until none is new.
func eachThread(t testing.TB, pid int, do func(tid int) error) {
	t.Helper()
	done := map[string]bool{}
	for before := -1; before < len(done); {
		before = len(done)
		threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
		if err != nil {
			t.Fatalf("the threads of process %d: %v", pid, err)
		}
		for _, thread := range threads {
			if done[thread.Name()] {
				continue
			}
			done[thread.Name()] = true
			tid, err := strconv.Atoi(thread.Name())
			if err != nil {
				t.Fatal(err)
			}
			if err := do(tid); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				t.Fatalf("thread %d of process %d: %v", tid, pid, err)
			}
		}
	}
}

// KeepAwake keeps the cores from going to sleep until the test ends, with loops that yield to everything else at once. The
// host of a virtual machine takes a core that sleeps away, and gives it back late: milliseconds in which a client cannot
// send. Where the system does not let us, it says so and does nothing.
func KeepAwake(t testing.TB) {
	t.Helper()
	group := filepath.Join("/sys/fs/cgroup/cpu", "assay-awake-"+strconv.Itoa(os.Getpid()))
	err := os.Mkdir(group, 0o700)
	if err == nil {
		t.Cleanup(func() {
			Until(t, "the loops are gone", func() bool { return os.Remove(group) == nil })
		})
		err = os.WriteFile(filepath.Join(group, "cpu.idle"), []byte("1"), 0)
	}
	if err != nil {
		t.Logf("the cores may sleep: %v", err)
		return
	}
	for _, core := range Cores(t) {
		loop := exec.Command("sh", "-c", `echo $$ >"$0/tasks" && while :; do :; done`, group)
		loop.Env = []string{"PATH=" + os.Getenv("PATH")}
		StartedOn(t, []int{core}, func() { err = loop.Start() })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = loop.Process.Kill()
			_ = loop.Wait() // it ends by the signal
		})
	}
}

// KeepBusy starts processes that do nothing but use a core each, on the cores given, until the test ends.
func KeepBusy(t testing.TB, processes int, on []int) {
	t.Helper()
	StartedOn(t, on, func() {
		for range processes {
			loop := exec.Command("sh", "-c", "while :; do :; done")
			loop.Env = []string{"PATH=" + os.Getenv("PATH")}
			// A session of its own: where the kernel groups processes by session, all loops together would else have
			// no more time than what they stand beside.
			loop.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := loop.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = loop.Process.Kill()
				_ = loop.Wait() // it ends by the signal
			})
		}
	})
	t.Logf("%d busy loops on cores %v", processes, on)
}

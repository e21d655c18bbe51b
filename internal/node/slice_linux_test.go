package node

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Every thread asks for a short turn, unless the kernel is too old to take notice: it then says 0 for all of them.
func TestWakeEarly(t *testing.T) {
	if err := wakeEarly(); err != nil {
		t.Fatal(err)
	}
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if own.Runtime != shortSlice && own.Runtime != 0 {
		t.Errorf("this thread has turns of %d ns, want %d", own.Runtime, shortSlice)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range threads {
		tid, err := strconv.Atoi(one.Name())
		if err != nil {
			t.Fatal(err)
		}
		if attr, err := unix.SchedGetAttr(tid, 0); err == nil && attr.Runtime != own.Runtime { // it may have ended
			t.Errorf("thread %d has turns of %d ns, this one %d", tid, attr.Runtime, own.Runtime)
		}
	}
}

package node

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// shortSlice is the least turn on a core that a thread may ask for, sched(7) and kernel/sched/syscalls.c.
const shortSlice = 100_000 // ns

// wakeEarly asks the scheduler for short turns for all threads of this process, and those to come: who asks for a shorter
// turn than the one that runs gets the core when it wakes up. A client that has to wait for the end of a server's turn,
// which is three milliseconds, sends too late. Linux knows it since 6.12, without any privilege; older ones take no notice.
func wakeEarly() error {
	for done, before := map[string]bool{}, -1; before < len(done); {
		before = len(done)
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("the threads of this process: %w", err)
		}
		for _, t := range threads {
			if done[t.Name()] {
				continue
			}
			done[t.Name()] = true
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := askForShortTurns(tid); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				return fmt.Errorf("ask for short turns on a core: %w", err)
			}
		}
	}
	return nil
}

func askForShortTurns(tid int) error {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return err
	}
	if attr.Policy != unix.SCHED_NORMAL {
		return nil // somebody has arranged something else for it
	}
	attr.Runtime = shortSlice
	return unix.SchedSetAttr(tid, attr, 0)
}

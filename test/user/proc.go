package user

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tick is the unit of the kernel's times: USER_HZ is 100 on every architecture that we build for.
const tick = 10 * time.Millisecond

// Stolen is how long a core wanted to run since the machine started while the host of this virtual machine ran something
// else on it: "steal" of proc_stat(5). It is 0 on a machine of its own.
func Stolen(t testing.TB, core int) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("cpu%d", core)
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 8 && fields[0] == name {
			ticks, err := strconv.ParseInt(fields[8], 10, 64)
			if err != nil {
				t.Fatalf("/proc/stat: %s: %v", line, err)
			}
			return time.Duration(ticks) * tick
		}
	}
	t.Fatalf("/proc/stat has no %s", name)
	return 0
}

// Spent is how long a process ran on any core: "utime" and "stime" of proc_pid_stat(5). It is 0 for one that is not there.
func Spent(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name of the program stands before it
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		t.Fatalf("/proc/%d/stat: %s", pid, b)
	}
	var sum time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatalf("/proc/%d/stat: %v", pid, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

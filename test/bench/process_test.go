//go:build bench

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.bench/test/user"
)

// tick is the unit of processor time in /proc, proc(5): USER_HZ is 100 on every architecture that we build for.
const tick = 10 * time.Millisecond

// cpuTime is what a process has used of all cores.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	fields := user.Stat(pid)
	if len(fields) < 13 {
		t.Fatalf("process %d is gone", pid)
	}
	return time.Duration(number(t, fields[11])+number(t, fields[12])) * tick
}

// residentKB is the resident memory of a process in units of 1,024 bytes.
func residentKB(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			return number(t, strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		}
	}
	t.Fatalf("process %d has no VmRSS", pid)
	return 0
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

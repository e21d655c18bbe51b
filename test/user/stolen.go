package user

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

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
			return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on every architecture that we build for
		}
	}
	t.Fatalf("/proc/stat has no %s", name)
	return 0
}

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"assay.bench/internal/rundir"
)

// oomKills is how many processes of this process's own control group the kernel has ended for want of memory, as far as
// it tells.
func oomKills() int64 {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	for _, path := range oomFiles(string(b)) {
		if b, err := os.ReadFile(path); err == nil {
			return parseOOMKills(string(b))
		}
	}
	return 0
}

// oomFiles are the files that count, by what /proc/self/cgroup says: of version 1, then of version 2.
func oomFiles(cgroup string) []string {
	var v1, v2 []string
	for line := range strings.Lines(cgroup) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, found := strings.Cut(rest, ":")
		switch {
		case !found:
		case controllers == "":
			v2 = append(v2, filepath.Join("/sys/fs/cgroup", path, "memory.events"))
		case controllers == "memory":
			v1 = append(v1, filepath.Join("/sys/fs/cgroup/memory", path, "memory.oom_control"))
		}
	}
	return append(v1, v2...)
}

// parseOOMKills reads the line oom_kill of memory.events, or of memory.oom_control.
func parseOOMKills(content string) int64 {
	for line := range strings.Lines(content) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "oom_kill" {
			continue
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return 0
}

// outOfMemory is the ending of a server of which the kernel has ended a process.
func outOfMemory(how string, r rundir.Resources) *ending {
	return endf(rundir.ExitReasonOutOfMemory, "the kernel ended a process of the server for want of memory (%s): %s; raise resources.memory, or let the server need less",
		how, memoryAsked(r))
}

// memoryAsked tells what a component has asked for.
func memoryAsked(r rundir.Resources) string {
	if r.MemoryMiB <= 0 {
		return "it asked for no amount of memory, so the site's default counts"
	}
	return fmt.Sprintf("it asked for %d MiB on each node", r.MemoryMiB)
}

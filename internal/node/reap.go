package node

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Environment variables that mark every process of a component, so that those that left their process group are found.
const (
	markJob       = "ASSAY_JOB"
	markComponent = "ASSAY_COMPONENT" // <name>/<rank>
)

// becomeReaper makes orphans of this process's descendants its own children, so that none escapes it.
func becomeReaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// rest says which processes belong to something that has ended: those with all the marks, wherever they are, and, when
// heirs is set, all descendants of this process.
type rest struct {
	self  int
	heirs bool
	// marks are beginnings of environment variables; one that ends in a zero byte is a whole variable.
	marks []string
}

// restOfJob is everything that this batch step ever started.
func restOfJob(self int, key string) rest {
	return rest{self, true, []string{markJob + "=" + key + "\x00", markComponent + "="}}
}

// restOfRank is what a component's rank started. heirs is for the rank itself, when it has ended its own children.
func restOfRank(self int, heirs bool, key, component string, rank int) rest {
	mark := markComponent + "=" + component + "/" + strconv.Itoa(rank)
	return rest{self, heirs, []string{markJob + "=" + key + "\x00", mark + "\x00"}}
}

// restTimeout is how long processes may take to vanish after KILL.
const restTimeout = 5 * time.Second

// kill ends them and returns when none is left, or how many are left after restTimeout. Processes of other users are
// not ours to end.
func (r rest) kill() (left int) {
	deadline := time.Now().Add(restTimeout)
	for {
		pids := r.list()
		if r.heirs {
			reap()
		}
		if len(pids) == 0 || time.Now().After(deadline) {
			return len(pids)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may be gone already
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// reap takes the exit codes of ended children, so that they do not stay as zombies.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}

// list returns the live ones. This process and its ancestors are never among them.
func (r rest) list() []int {
	parents := map[int]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, live := parentOf(pid); live {
			parents[pid] = parent
		}
	}
	ancestors := map[int]bool{}
	for p := r.self; p > 0 && !ancestors[p]; p = parents[p] {
		ancestors[p] = true
	}
	var out []int
	for pid := range parents {
		if !ancestors[pid] && (r.heirs && descends(pid, r.self, parents) || marked(pid, r.marks)) {
			out = append(out, pid)
		}
	}
	return out
}

func descends(pid, from int, parents map[int]int) bool {
	for range len(parents) {
		if pid = parents[pid]; pid == from {
			return true
		}
		if pid == 0 {
			return false
		}
	}
	return false
}

// parentOf reads the parent of a process; a zombie is not live.
func parentOf(pid int) (parent int, live bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	return parseParent(b)
}

// parseParent reads the parent from /proc/<pid>/stat. The program's name, the second field, stands in brackets and may
// hold anything, so what counts begins behind the last bracket.
func parseParent(stat []byte) (parent int, live bool) {
	_, rest, ok := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil || parent < 0 {
		return 0, false
	}
	return parent, true
}

// marked says whether a process's environment has all the marks; another user's cannot be read and has none.
func marked(pid int, marks []string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil || len(b) == 0 {
		return false
	}
	env := append([]byte{0}, b...)
	for _, m := range marks {
		if !bytes.Contains(env, append([]byte{0}, m...)) {
			return false
		}
	}
	return len(marks) > 0
}

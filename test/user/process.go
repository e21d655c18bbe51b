package user

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Process is one process for ever: a pid alone is used again.
type Process struct {
	PID int
	// Start is when it started, in ticks since boot.
	Start   uint64
	Command string
}

// Lives says whether the process is there. One that has ended and was not waited for yet is not.
func (p Process) Lives() bool {
	now, found := ProcessOf(p.PID)
	return found && now.Start == p.Start
}

// ProcessOf returns the living process with a pid.
func ProcessOf(pid int) (Process, bool) {
	fields := Stat(pid)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return Process{}, false
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return Process{}, false
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(command) == 0 {
		return Process{}, false // it ended meanwhile
	}
	return Process{PID: pid, Start: start, Command: strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " "))}, true
}

// Stat is what the kernel counts of a process, /proc/PID/stat from its third field, the state, on; nil when there is none.
func Stat(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// proc(5): the name of the program, the second field, may hold anything.
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// PIDs are those of all processes that a /proc shows. A pattern for their files would read the folder of each.
func PIDs(t testing.TB, proc string) []int {
	t.Helper()
	folder, err := os.Open(proc)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// Processes lists what runs with this user's home folder in its environment.
func (u *User) Processes() []Process {
	var out []Process
	for _, pid := range PIDs(u.t, "/proc") {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !bytes.Contains(environ, []byte("HOME="+u.home+"\x00")) {
			continue
		}
		if p, found := ProcessOf(pid); found {
			out = append(out, p)
		}
	}
	return out
}

// Plane is the process of the standing control plane.
func (u *User) Plane() Process {
	u.t.Helper()
	text, err := os.ReadFile(u.one("state", "assay", "*", "ready"))
	if err != nil {
		u.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		u.t.Fatal(err)
	}
	for _, p := range u.Processes() {
		if innermost(p.PID) == pid {
			return p
		}
	}
	u.t.Fatalf("the control plane, process %d, does not run", pid)
	return Process{}
}

// innermost is the number by which a process knows itself: another one than here on another machine.
func innermost(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it ended meanwhile
	}
	for line := range strings.Lines(string(status)) {
		if numbers, found := strings.CutPrefix(line, "NSpid:"); found {
			all := strings.Fields(numbers)
			own, err := strconv.Atoi(all[len(all)-1])
			if err == nil {
				return own
			}
		}
	}
	return 0
}

// one is the only path that a pattern below the home folder matches.
func (u *User) one(pattern ...string) string {
	u.t.Helper()
	found, err := filepath.Glob(u.Path(pattern...))
	if err != nil || len(found) != 1 {
		u.t.Fatalf("%s matches %v %v, want one file", filepath.Join(pattern...), found, err)
	}
	return found[0]
}

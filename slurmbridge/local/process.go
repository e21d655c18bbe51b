package local

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"assay.bench/slurmbridge"
)

// process is one process for ever: a pid alone is used again.
type process struct {
	pid   int
	start uint64
	boot  string
}

// parseProcess reads pid.start.boot.
func parseProcess(s string) (process, bool) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) != 3 {
		return process{}, false
	}
	pid, err1 := strconv.Atoi(parts[0])
	start, err2 := strconv.ParseUint(parts[1], 10, 64)
	return process{pid, start, parts[2]}, err1 == nil && err2 == nil && pid > 0
}

// alive says whether the process is there; a zombie is not.
func (p process) alive(boot string) bool {
	if p.boot != boot {
		return false
	}
	s, err := readStat(p.pid)
	return err == nil && s.start == p.start && !s.dead()
}

func (p process) signalTerm() error {
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal to process %d: %w", p.pid, err)
	}
	return nil
}

// stat is what we need of /proc/<pid>/stat (proc(5)): the state, the session and the start in ticks since boot.
type stat struct {
	state   byte
	session int
	start   uint64
}

func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' }

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads /proc/<pid>/stat. The program's name, the second field, may hold anything, so what counts begins
// after the last parenthesis.
func parseStat(b []byte) (stat, error) {
	_, rest, ok := cutLast(b, ") ")
	f := bytes.Fields(rest)
	if !ok || len(f) < 20 || len(f[0]) != 1 {
		return stat{}, fmt.Errorf("not a process's stat: %q", b)
	}
	session, err1 := strconv.Atoi(string(f[3]))
	start, err2 := strconv.ParseUint(string(f[19]), 10, 64)
	return stat{f[0][0], session, start}, errors.Join(err1, err2)
}

func cutLast(b []byte, sep string) (before, after []byte, found bool) {
	i := bytes.LastIndex(b, []byte(sep))
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+len(sep):], true
}

// survivors are the processes of a job in whatever session: those that carry its marks in their environment, its first
// process, and those of the session that this one made. The id is a mark too, for two jobs may have been submitted under one key.
func survivors(key slurmbridge.Key, id string, first process) ([]int, error) {
	return twice(func() ([]int, error) { return scan(key, id, first) })
}

// execTime is longer than a process has no environment in the middle of an exec.
const execTime = 20 * time.Millisecond

// twice looks again when nothing was found: a process that was in the middle of an exec carried no marks.
func twice(look func() ([]int, error)) ([]int, error) {
	found, err := look()
	if err != nil || len(found) > 0 {
		return found, err
	}
	<-time.After(execTime)
	return look()
}

func scan(key slurmbridge.Key, id string, first process) ([]int, error) {
	session := first.pid
	if leader, err := readStat(session); err == nil && leader.start != first.start {
		session = 0 // the pid is another process's by now, and so is the session
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if err != nil || s.dead() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		marked := err == nil && hasVariable(env, "ASSAY_JOB="+string(key)) && hasVariable(env, "SLURM_JOB_ID="+id)
		if marked || session != 0 && (s.session == session || pid == session) {
			found = append(found, pid)
		}
	}
	return found, nil
}

func hasVariable(environ []byte, assignment string) bool {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if string(v) == assignment {
			return true
		}
	}
	return false
}

// start starts a runner. Whether it may run the job, it finds out itself.
func (h *Host) start(id string, rec record) error {
	h.mu.Lock()
	h.tried[id] = time.Now()
	h.mu.Unlock()
	bash, err := exec.LookPath("bash")
	if err != nil {
		return fmt.Errorf("start of %s: %w", id, err)
	}
	options := ""
	if rec.Login {
		options = "-l"
	}
	out, err := os.OpenFile(h.path(id, "runner.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start of %s: %w", id, err)
	}
	defer out.Close()
	cmd := exec.Command(bash, h.path(id, "runner.sh"), h.path(id), id, string(rec.Key), rec.Directory,
		whole(rec.TimeLimit, time.Second), whole(rec.Notice, time.Second), whole(h.killWait(rec), time.Second/10), options)
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.path(id), out, out
	cmd.Env = environment(id, rec.Key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start of %s: %w", id, err)
	}
	go func() { _ = cmd.Wait() }() // reaps it; what it did stands in the folder
	return nil
}

// killWait is the time between TERM and KILL: what the job's script asks for.
func (h *Host) killWait(rec record) time.Duration { return cmp.Or(rec.KillWait, h.o.KillWait) }

// whole counts units, rounded up.
func whole(d, unit time.Duration) string { return strconv.FormatInt(int64((d+unit-1)/unit), 10) }

// environment is all that a job sees, but for ASSAY_JOB, which the runner sets: it must not carry the mark itself.
func environment(id string, key slurmbridge.Key) []string {
	env := []string{"LANG=C.UTF-8", "SLURM_JOB_ID=" + id, "SLURM_JOB_NAME=" + string(key)}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "CUDA_VISIBLE_DEVICES"} {
		if v, ok := os.LookupEnv(name); ok { //nolint:forbidigo // what a job inherits is this process's, by the list above
			env = append(env, name+"="+v)
		}
	}
	return env
}

// reap ends, in the background, the processes of a job that has no runner: TERM, and KILL after the kill wait until none
// is left. When assay dies meanwhile, the next look goes on with it.
func (h *Host) reap(id string, rec record) {
	h.mu.Lock()
	busy := h.reaping[id]
	h.reaping[id] = true
	h.mu.Unlock()
	if busy {
		return
	}
	go func() {
		h.reapNow(id, rec)
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.reaping, id)
	}()
}

func (h *Host) isReaping(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reaping[id]
}

func (h *Host) reapNow(id string, rec record) {
	killAt := time.Now().Add(h.killWait(rec))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	seen := map[int]process{}
	for ; ; <-tick.C {
		left, err := survivors(rec.Key, id, h.leader(id))
		if err != nil {
			return
		}
		for _, pid := range left {
			_, known := seen[pid]
			if s, err := readStat(pid); err == nil && !known {
				seen[pid] = process{pid, s.start, h.boot}
				_ = syscall.Kill(pid, syscall.SIGTERM) // gone meanwhile is fine
			}
			if time.Now().After(killAt) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // the same
			}
		}
		// One that is about to vanish has lost its marks already.
		for pid, p := range seen {
			if !p.alive(h.boot) {
				delete(seen, pid)
			}
		}
		if len(left) == 0 && len(seen) == 0 {
			return
		}
	}
}

// tidy removes what killed processes of a job left on this host's disk, under the name that assay-node gives it. The claim
// says whose it is: another job under the same key may be at work. That something stays changes nothing for the job.
func (h *Host) tidy(id string, rec record) {
	temp, err := os.Readlink(h.path(id, "temp"))
	if err != nil {
		return // it never began, or an older version of assay began it
	}
	if owner, err := os.Readlink(filepath.Join(rec.Directory, "claim")); err != nil || owner != id {
		return
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.IsDir() || !strings.HasPrefix(e.Name(), fmt.Sprintf("assay-%d-%s-", os.Getuid(), rec.Key)) {
			continue
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) == os.Getuid() {
			_ = os.RemoveAll(filepath.Join(temp, e.Name()))
		}
	}
}

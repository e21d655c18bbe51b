package load

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	leastSendLagLimit = int64(2 * time.Millisecond)
	sendLagShare      = 0.02
	runQueueShare     = 0.05
)

// auditor watches the process and its cgroup over the measured window. A thread that ends takes its counts along, so it
// looks once a second: at most the last second of such a thread is missed. Go ends few threads.
type auditor struct {
	root   fs.FS
	limits Limits

	mu        sync.Mutex
	begun     bool
	from, to  int64
	threads   map[string]threadTimes
	cpu, wait int64
	stats     []string // cpu.stat of the cgroup and of those above it
	throttled int64
	throttle0 int64
	cycles    int64
	pauseMax  int64
	failure   error
}

// threadTimes are the first two numbers of a schedstat: nanoseconds on a CPU, and runnable but waiting for one.
type threadTimes struct{ cpu, wait int64 }

func newAuditor(root fs.FS, limits Limits) *auditor {
	return &auditor{root: root, limits: limits, threads: map[string]threadTimes{}}
}

// begin starts the window at the instant now.
func (a *auditor) begin(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun, a.from, a.to = true, now, now
	a.stats = cgroupStats(a.root)
	a.readThreads()
	a.cpu, a.wait = 0, 0
	a.throttle0 = a.readThrottled()
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	a.cycles = gc.NumGC
}

// look brings the sums up to the instant now; a no-op before begin.
func (a *auditor) look(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.begun {
		return
	}
	a.to = now
	a.readThreads()
	a.throttled = a.readThrottled() - a.throttle0
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	fresh := min(int(gc.NumGC-a.cycles), len(gc.Pause))
	for _, pause := range gc.Pause[:fresh] {
		a.pauseMax = max(a.pauseMax, int64(pause))
	}
	a.cycles = gc.NumGC
}

// seen is the instant of the last look.
func (a *auditor) seen() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.to
}

// readThreads adds what each thread did since the last look; a thread that was not there then began after it.
func (a *auditor) readThreads() {
	entries, err := fs.ReadDir(a.root, "proc/self/task")
	if err != nil {
		a.failure = fmt.Errorf("list threads: %w", err)
		return
	}
	seen := make(map[string]threadTimes, len(entries))
	for _, e := range entries {
		text, err := fs.ReadFile(a.root, "proc/self/task/"+e.Name()+"/schedstat")
		if err != nil {
			if !threadGone(err, a.root, e.Name()) {
				a.failure = fmt.Errorf("read the scheduler's statistics: %w", err)
			}
			continue
		}
		t, err := parseSchedstat(string(text))
		if err != nil {
			a.failure = err
			continue
		}
		old := a.threads[e.Name()]
		a.cpu += t.cpu - old.cpu
		a.wait += t.wait - old.wait
		seen[e.Name()] = t
	}
	a.threads = seen
}

// threadGone tells a thread that ended while we looked from a kernel without the statistics.
func threadGone(err error, root fs.FS, thread string) bool {
	_, gone := fs.Stat(root, "proc/self/task/"+thread)
	return gone != nil || !errors.Is(err, fs.ErrNotExist)
}

func parseSchedstat(text string) (t threadTimes, err error) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return t, fmt.Errorf("schedstat %q: want three numbers", text)
	}
	if t.cpu, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
		return t, fmt.Errorf("schedstat: %w", err)
	}
	if t.wait, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return t, fmt.Errorf("schedstat: %w", err)
	}
	return t, nil
}

func (a *auditor) readThrottled() (sum int64) {
	for _, path := range a.stats {
		if text, err := fs.ReadFile(a.root, path); err == nil {
			sum += parseThrottled(string(text))
		}
	}
	return sum
}

// parseThrottled is the throttled time of a cpu.stat in ns: throttled_usec in cgroup v2, throttled_time in v1.
func parseThrottled(text string) int64 {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "throttled_usec":
			return n * 1000
		case "throttled_time":
			return n
		}
	}
	return 0
}

// cgroupStats finds the cpu.stat files of the process's cgroup and of all above it: a quota anywhere on the way
// throttles us, and only the group that has it counts.
func cgroupStats(root fs.FS) (files []string) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	for _, g := range parseCgroup(string(text)) {
		files = append(files, statsUpward(root, g.mount, g.group)...)
	}
	return files
}

// cgroup is a group of the process, below a place where its hierarchy may be mounted.
type cgroup struct{ mount, group string }

// parseCgroup reads from /proc/self/cgroup the groups that may have a cpu.stat. A group outside the mount, as a
// container without a cgroup namespace of its own has, is its root to us.
func parseCgroup(text string) (groups []cgroup) {
	for line := range strings.Lines(text) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		group := strings.Trim(part[2], "/")
		if !fs.ValidPath(group) {
			group = ""
		}
		for _, mount := range cgroupMounts(part[1]) {
			groups = append(groups, cgroup{mount, group})
		}
	}
	return groups
}

// cgroupMounts are where the hierarchy with the given controllers is mounted; "" is v2.
func cgroupMounts(controllers string) []string {
	if controllers == "" {
		return []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
	}
	for c := range strings.SplitSeq(controllers, ",") {
		if c == "cpu" {
			return []string{"sys/fs/cgroup/cpu"}
		}
	}
	return nil
}

func statsUpward(root fs.FS, mount, group string) (files []string) {
	for {
		file := strings.TrimSuffix(mount+"/"+group, "/") + "/cpu.stat"
		if _, err := fs.Stat(root, file); err == nil {
			files = append(files, file)
		}
		if group == "" {
			return files
		}
		group = group[:max(0, strings.LastIndexByte(group, '/'))]
	}
}

// judge fills the audit; headline is the median of the workload's headline metric in ns, saturated how long requests
// waited for maxInFlight.
func (a *auditor) judge(r *recorder, headline, saturated int64) Audit {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit := max(leastSendLagLimit, int64(sendLagShare*float64(headline)))
	first := limit
	if tight := int64(a.limits.SendLag); tight > 0 {
		limit = min(limit, tight)
	}
	queue := runQueueShare
	if tight := a.limits.RunQueueRatio; tight > 0 {
		queue = min(queue, tight)
	}
	most := r.lag.most.Load()
	out := Audit{
		SendLagP99:    min(r.lag.quantile(0.99), most), // of its counter a quantile is the upper edge
		SendLagMax:    most,
		SendLagLimit:  limit,
		RunQueueLimit: queue,
		Throttled:     a.throttled,
		GCPauseMax:    a.pauseMax,
		Descriptors:   r.descriptors.Load(),
		Ports:         r.ports.Load(),
		Saturated:     saturated > 0,
		SaturatedFor:  saturated,
		GOMAXPROCS:    runtime.GOMAXPROCS(0),
	}
	if span := float64(a.to-a.from) * float64(out.GOMAXPROCS); span > 0 {
		out.RunQueueRatio = float64(a.wait) / span
		out.CPURatio = float64(a.cpu) / span
	}
	out.Violations = a.violations(out, first)
	out.Sound = len(out.Violations) == 0
	return out
}

func (a *auditor) violations(out Audit, pauseLimit int64) (list []string) {
	say := func(broken bool, format string, args ...any) {
		if broken {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	late := "the client sent too late"
	if out.Saturated {
		late = fmt.Sprintf("requests waited for maxInFlight for %v: raise it or lower the rate", time.Duration(out.SaturatedFor))
	}
	say(out.SendLagP99 > out.SendLagLimit, "send lag p99 %v is above %v: %s",
		time.Duration(out.SendLagP99).Round(time.Microsecond), time.Duration(out.SendLagLimit).Round(time.Microsecond), late)
	say(out.RunQueueRatio > out.RunQueueLimit,
		"threads waited %.1f %% of the window for a CPU, above %.1f %%: give the client more or quieter cores",
		100*out.RunQueueRatio, 100*out.RunQueueLimit)
	say(out.Throttled > 0, "the cgroup was throttled for %v: raise the client's CPU limit", time.Duration(out.Throttled))
	say(out.GCPauseMax > pauseLimit, "a garbage collection paused the client for %v, above %v",
		time.Duration(out.GCPauseMax), time.Duration(pauseLimit))
	say(out.Descriptors, "file descriptors ran out: raise the limit nofile or lower the concurrency")
	say(out.Ports, "local ports ran out: use more instances or lower the rate")
	say(a.failure != nil, "the time that threads waited for a CPU is not known: %v", a.failure)
	return list
}

package load

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAuditReadsTheMachine(t *testing.T) {
	root := machine()
	set := func(name, text string) { root[name] = &fstest.MapFile{Data: []byte(text)} }
	a := newAuditor(root, Limits{})
	a.look(1) // before begin it does nothing
	set("proc/self/task/1/schedstat", "5000 700 9\n")
	set("sys/fs/cgroup/job/cpu.stat", "throttled_usec 10\n")
	a.begin(1_000_000)
	set("proc/self/task/1/schedstat", "6000 900 10\n")
	set("proc/self/task/2/schedstat", "100 30 1\n") // it began in the window
	a.look(2_000_000)
	delete(root, "proc/self/task/2/schedstat") // and ended
	set("proc/self/task/1/schedstat", "6500 1000 11\n")
	set("sys/fs/cgroup/job/cpu.stat", "throttled_usec 13\n")
	a.look(3_000_000)
	if a.cpu != 1600 || a.wait != 330 {
		t.Errorf("on a CPU %d ns, waiting %d ns; want 1600 and 330", a.cpu, a.wait)
	}
	if a.throttled != 3000 {
		t.Errorf("throttled %d ns, want 3000", a.throttled)
	}
	if a.failure != nil {
		t.Error(a.failure)
	}
	out := a.judge(newRecorder(nil, nil, testTotals, 0, 1), 0, 0)
	if want := 330.0 / 2e6 / float64(out.GOMAXPROCS); out.RunQueueRatio != want {
		t.Errorf("run-queue ratio %v, want %v", out.RunQueueRatio, want)
	}
}

func TestCgroupStats(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		root   fstest.MapFS
		want   []string
	}{
		"v2": {
			reason: "the group and all above it",
			root: fstest.MapFS{
				"proc/self/cgroup":                          {Data: []byte("0::/slurm/job_1/step_0\n")},
				"sys/fs/cgroup/cpu.stat":                    {},
				"sys/fs/cgroup/slurm/cpu.stat":              {},
				"sys/fs/cgroup/slurm/job_1/step_0/cpu.stat": {},
			},
			want: []string{"sys/fs/cgroup/slurm/job_1/step_0/cpu.stat", "sys/fs/cgroup/slurm/cpu.stat", "sys/fs/cgroup/cpu.stat"},
		},
		"v1": {
			reason: "only the hierarchy of the cpu controller counts",
			root: fstest.MapFS{
				"proc/self/cgroup":                    {Data: []byte("4:memory:/a\n2:cpuacct,cpu:/a\n0::/\n")},
				"sys/fs/cgroup/cpu/a/cpu.stat":        {},
				"sys/fs/cgroup/memory/a/cpu.stat":     {},
				"sys/fs/cgroup/cpu/b/cpu.stat":        {},
				"sys/fs/cgroup/unified/b/cgroup.stat": {},
			},
			want: []string{"sys/fs/cgroup/cpu/a/cpu.stat"},
		},
		"none": {reason: "no cgroup, nothing to read", root: fstest.MapFS{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, cgroupStats(c.root)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestAuditViolations(t *testing.T) {
	const ms = int64(time.Millisecond)
	for name, c := range map[string]struct {
		reason   string
		limits   Limits
		headline int64
		waited   time.Duration // for maxInFlight
		change   func(a *auditor, r *recorder)
		want     string
	}{
		"quiet":             {reason: "nothing happened"},
		"lag":               {reason: "2 ms is the least limit", change: lag(3 * ms), want: "send lag p99"},
		"lag of a slow one": {reason: "2 % of a median of 200 ms are 4 ms", headline: 200 * ms, change: lag(3 * ms)},
		"tightened":         {reason: "a recipe may tighten", limits: Limits{SendLag: time.Millisecond}, change: lag(2*ms - 10_000), want: "send lag p99"},
		"loosened":          {reason: "but not loosen", limits: Limits{SendLag: time.Hour, RunQueueRatio: 1}, change: lag(3 * ms), want: "send lag p99"},
		"queue":             {reason: "the cause has a name", waited: time.Second, change: lag(3 * ms), want: "above 2ms: requests waited for maxInFlight for 1s: raise it"},
		"short queue":       {reason: "a wait within the limit limits nothing", waited: time.Second, change: lag(ms)},
		"rare lag":          {reason: "the p99 counts, not the maximum", change: rareLag},
		"run queue": {
			reason: "more than 5 % of the window of all cores",
			change: func(a *auditor, _ *recorder) { a.wait = 1 << 40 },
			want:   "for a CPU",
		},
		"throttled": {
			reason: "any throttling", change: func(a *auditor, _ *recorder) { a.throttled = 1 }, want: "throttled",
		},
		"collection": {
			reason: "a pause above the first limit", change: func(a *auditor, _ *recorder) { a.pauseMax = 3 * ms }, want: "garbage",
		},
		"descriptors": {
			reason: "they ran out", change: func(_ *auditor, r *recorder) { r.descriptors.Store(true) }, want: "nofile",
		},
		"ports": {
			reason: "they ran out", change: func(_ *auditor, r *recorder) { r.ports.Store(true) }, want: "ports",
		},
		"blind": {
			reason: "what is not known is not sound",
			change: func(a *auditor, _ *recorder) { a.root = fstest.MapFS{}; a.look(2) },
			want:   "not known",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, r := newAuditor(machine(), c.limits), newRecorder(nil, nil, testTotals, 0, 100)
			a.begin(0)
			a.look(1_000_000_000)
			if c.change != nil {
				c.change(a, r)
			}
			out := a.judge(r, c.headline, int64(c.waited))
			if out.Sound != (c.want == "") {
				t.Fatalf("%s: sound %t, violations %q", c.reason, out.Sound, out.Violations)
			}
			if out.Saturated != (c.waited > 0) || out.SaturatedFor != int64(c.waited) {
				t.Errorf("%s: saturated %t for %v", c.reason, out.Saturated, time.Duration(out.SaturatedFor))
			}
			if out.SendLagP99 > out.SendLagMax {
				t.Errorf("%s: the p99 %d of the send lag is above its maximum %d", c.reason, out.SendLagP99, out.SendLagMax)
			}
			if text := strings.Join(out.Violations, "\n"); !strings.Contains(text, c.want) {
				t.Errorf("%s: violations %q, want one with %q", c.reason, text, c.want)
			}
		})
	}
}

func lag(d int64) func(*auditor, *recorder) {
	return func(_ *auditor, r *recorder) { r.lag.add(d, 10) }
}

func rareLag(_ *auditor, r *recorder) {
	r.lag.add(1000, 1000)
	r.lag.add(int64(time.Second), 9)
}

func FuzzSchedstat(f *testing.F) {
	f.Add("1000 20 3\n")
	f.Add("")
	f.Add("x y z")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := parseSchedstat(text); err == nil && strings.Count(strings.Join(strings.Fields(text), " "), " ") < 1 {
			t.Errorf("%q gave %v", text, got)
		}
	})
}

func FuzzCPUStat(f *testing.F) {
	f.Add("nr_periods 5\nnr_throttled 2\nthrottled_usec 17\n")
	f.Add("nr_periods 5\nthrottled_time 17000\n")
	f.Add("throttled_usec")
	f.Fuzz(func(t *testing.T, text string) {
		if got := parseThrottled(text); got != 0 && !strings.Contains(text, "throttled_") {
			t.Errorf("%q gave %d", text, got)
		}
	})
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("0::/slurm/job_1/step_0\n")
	f.Add("4:memory:/a\n2:cpuacct,cpu:/a\n0::/\n")
	f.Add("0::/../../other\n1:cpu:/a//b\n")
	f.Add("cpu::")
	f.Fuzz(func(t *testing.T, text string) {
		for _, g := range parseCgroup(text) {
			if !strings.HasPrefix(g.mount, "sys/fs/cgroup") || g.group != "" && !fs.ValidPath(g.group) || !strings.Contains(text, g.group) {
				t.Errorf("%q gave %+v", text, g)
			}
			// A file that is there for every folder: what is above the group, each once.
			files := statsUpward(everywhere{}, g.mount, g.group)
			if want := 1 + len(strings.FieldsFunc(g.group, func(r rune) bool { return r == '/' })); len(files) != want || files[want-1] != g.mount+"/cpu.stat" {
				t.Errorf("%+v has the files %q, want %d up to the mount", g, files, want)
			}
		}
	})
}

// everywhere is a file system in which every path is a file.
type everywhere struct{}

func (everywhere) Open(string) (fs.File, error) { return fstest.MapFS{"f": {}}.Open("f") }

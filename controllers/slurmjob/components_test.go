package slurmjob

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// rankIn is a rank in a phase of a repeat.
func rankIn(phase string, repeat int, edit func(*rundir.Status)) rankSight {
	s := &rundir.Status{Phase: phase, Repeat: repeat, Heartbeat: 10}
	if edit != nil {
		edit(s)
	}
	return rankSight{status: s, repeats: map[int]*rundir.Exit{}}
}

func seesGPUs(state, message string) func(*rundir.Status) {
	return func(s *rundir.Status) { s.GPUs = &rundir.GPUCheck{State: state, Message: message} }
}

func closed(r rankSight, repeats ...int) rankSight {
	for _, k := range repeats {
		r.repeats[k] = &rundir.Exit{Reason: rundir.ExitReasonEnded}
	}
	return r
}

func failedWith(reason string) rankSight {
	r := rankIn(rundir.PhaseFailed, 1, func(s *rundir.Status) { s.Reason, s.Message = reason, "words" })
	r.exit = &rundir.Exit{Reason: reason, Code: 1, Message: "words"}
	return r
}

func TestMerge(t *testing.T) {
	cases := map[string]struct {
		reason string
		ranks  []rankSight
		want   v1alpha1.ComponentStatus
	}{
		"nothing yet": {"a rank that has not written waits", []rankSight{{}},
			v1alpha1.ComponentStatus{Phase: "Waiting"}},
		"one not yet": {"the rank that has not written is the furthest behind", []rankSight{rankIn("Ready", 1, func(s *rundir.Status) { s.Ready = true }), {}},
			v1alpha1.ComponentStatus{Phase: "Waiting", Heartbeat: 10}},
		"service": {"the endpoint is rank 0's, with brackets where IPv6 needs them", []rankSight{rankIn("Ready", 2, func(s *rundir.Status) {
			s.Ready, s.Endpoint, s.Scrapes = true, &rundir.Endpoint{Host: "fd00::1", Port: 8000}, &rundir.Scrapes{Due: 5, Good: 4}
		})}, v1alpha1.ComponentStatus{Phase: "Ready", Ready: true, Repeat: 2, Endpoint: "[fd00::1]:8000", Heartbeat: 10, Scrapes: &v1alpha1.Scrapes{Due: 5, Good: 4}}},
		"its GPUs": {"all are as given", []rankSight{rankIn("Ready", 1, seesGPUs(rundir.GPUVerified, "")), rankIn("Ready", 1, seesGPUs(rundir.GPUVerified, ""))},
			v1alpha1.ComponentStatus{Phase: "Ready", Repeat: 1, Heartbeat: 20, GPUs: "Verified"}},
		"GPUs unknown": {"the rank that is not sure speaks for all", []rankSight{rankIn("Ready", 1, seesGPUs(rundir.GPUVerified, "")), rankIn("Ready", 1, seesGPUs(rundir.GPUUnverified, "no nvidia-smi"))},
			v1alpha1.ComponentStatus{Phase: "Ready", Repeat: 1, Heartbeat: 20, GPUs: "Unverified: no nvidia-smi"}},
		"loads": {"rates add up, the worst latency counts", []rankSight{
			rankIn("Measuring", 1, func(s *rundir.Status) { s.Live = &rundir.Live{Rate: 7.5, P99: 0.1, Requests: 10, Errors: 1} }),
			rankIn("Warmup", 1, func(s *rundir.Status) { s.Live = &rundir.Live{Rate: 7.7, P99: 0.196, Requests: 5} }),
		}, v1alpha1.ComponentStatus{Phase: "Warmup", Repeat: 1, Heartbeat: 20, Live: &v1alpha1.Live{Rate: "15.2/s", P99: "196ms", Requests: 15, Errors: 1}}},
		"nothing has ended yet": {"a rate of nothing is no news", []rankSight{rankIn("Measuring", 1, func(s *rundir.Status) { s.Live = &rundir.Live{Requests: 4} })},
			v1alpha1.ComponentStatus{Phase: "Measuring", Repeat: 1, Heartbeat: 10, Live: &v1alpha1.Live{Requests: 4}}},
		"everything fails": {"errors are news", []rankSight{rankIn("Measuring", 1, func(s *rundir.Status) { s.Live = &rundir.Live{Requests: 4, Errors: 4} })},
			v1alpha1.ComponentStatus{Phase: "Measuring", Repeat: 1, Heartbeat: 10, Live: &v1alpha1.Live{Rate: "0.0/s", Requests: 4, Errors: 4}}},
		"repeat before phase": {"a lower repeat is further behind than an earlier phase", []rankSight{rankIn("Waiting", 2, nil), closed(rankIn("Draining", 1, nil))},
			v1alpha1.ComponentStatus{Phase: "Draining", Repeat: 1, Heartbeat: 20}},
		"repeats": {"a repeat is done when every rank closed it, without a gap", []rankSight{closed(rankIn("Measuring", 3, nil), 1, 2), closed(rankIn("Measuring", 3, nil), 1, 2, 3)},
			v1alpha1.ComponentStatus{Phase: "Measuring", Repeat: 3, RepeatsDone: 2, Heartbeat: 20}},
		"failed": {"a failure speaks for all, and a cause goes before what follows from it", []rankSight{rankIn("Measuring", 1, nil), failedWith("PeerLost"), failedWith("DiskFull")},
			v1alpha1.ComponentStatus{Phase: "Failed", Repeat: 1, Heartbeat: 30, Message: "words", Exit: &v1alpha1.ComponentExit{Code: 1, Reason: "DiskFull", Message: "words"}}},
		"not all ended": {"one good end is not the component's", []rankSight{rankIn("Ended", 1, nil), rankIn("Draining", 1, nil)},
			v1alpha1.ComponentStatus{Phase: "Draining", Repeat: 1, Heartbeat: 20}},
		"ended": {"all good", []rankSight{rankIn("Ended", 1, nil), rankIn("Ended", 1, nil)},
			v1alpha1.ComponentStatus{Phase: "Ended", Repeat: 1, Heartbeat: 20, Exit: &v1alpha1.ComponentExit{Reason: "Ended"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got v1alpha1.ComponentStatus
			merge(&got, part{name: "x", ranks: len(c.ranks), seen: c.ranks}, rundir.Repeats{First: 1, Count: 3})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestEconomy(t *testing.T) {
	one := func(edit func(*v1alpha1.ComponentStatus)) []v1alpha1.ComponentStatus {
		c := v1alpha1.ComponentStatus{Name: "x", Phase: "Measuring", Heartbeat: 1, Live: &v1alpha1.Live{Rate: "1.0/s"}}
		if edit != nil {
			edit(&c)
		}
		return []v1alpha1.ComponentStatus{c}
	}
	beat := one(func(c *v1alpha1.ComponentStatus) { c.Heartbeat = 2 })
	live := one(func(c *v1alpha1.ComponentStatus) { c.Heartbeat, c.Live = 2, &v1alpha1.Live{Rate: "2.0/s"} })
	phase := one(func(c *v1alpha1.ComponentStatus) { c.Phase = "Draining" })
	cases := map[string]struct {
		reason string
		fresh  []v1alpha1.ComponentStatus
		quiet  time.Duration
		write  bool
		after  time.Duration
	}{
		"same":       {"nothing to write", one(nil), time.Hour, false, 0},
		"beat soon":  {"a heartbeat alone waits ten seconds", beat, 4 * time.Second, false, 6 * time.Second},
		"beat later": {"and is then written", beat, 10 * time.Second, true, 0},
		"live soon":  {"live numbers wait a little", live, time.Second, false, 500 * time.Millisecond},
		"live later": {"and are then written", live, 2 * time.Second, true, 0},
		"phase":      {"a phase is written at once", phase, 0, true, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			want := one(nil)
			if c.write {
				want = c.fresh
			}
			got, after := economy(one(nil), c.fresh, c.quiet)
			if diff := cmp.Diff(want, got); diff != "" || after != c.after {
				t.Errorf("%s: look again after %s, want %s (-want +got):\n%s", c.reason, after, c.after, diff)
			}
		})
	}
}

func TestWord(t *testing.T) {
	cases := map[string]string{
		"TimeLimit": "TimeLimit", "launch failed requeued held": "launchfailedrequeuedheld", "": "Unknown", "42": "Unknown",
		"(null)": "null", "é\x00": "Unknown", "4xErr2": "xErr2", strings.Repeat("x", 70): strings.Repeat("x", 64),
	}
	for text, want := range cases {
		if got := word(text); got != want {
			t.Errorf("word(%q) = %q, want %q, which a condition's reason may be", text, got, want)
		}
	}
}

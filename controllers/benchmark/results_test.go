package benchmark

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// TestResultNamesTheModel: what a client asks for is what the node finds, in the same order.
func TestResultNamesTheModel(t *testing.T) {
	asks := func(model string) func(*JobEvidence) {
		return func(e *JobEvidence) { e.Plan.Clients[0].Inference = &rundir.Inference{Model: model} }
	}
	serves := func(e *JobEvidence) { e.Plan.Services[0].Model = "served" }
	beside := func(e *JobEvidence) {
		other := rundir.Client{Name: "other", Inference: &rundir.Inference{Model: "another"}}
		e.Plan.Clients = append([]rundir.Client{other}, e.Plan.Clients...)
	}
	fast := 50 * time.Millisecond
	apart := evidence(t, fast, asks(""))
	apart.Jobs = append(apart.Jobs, evidence(t, fast, serves).Jobs...)
	apart.Jobs[0].Plan.Services, apart.Jobs[1].Plan.Clients = nil, nil
	unread := evidence(t, fast, asks("asked"))
	unread.Jobs = append([]JobEvidence{{Name: "broken"}}, unread.Jobs...)
	for reason, tt := range map[string]struct {
		evidence *Evidence
		want     string
	}{
		"the recipe names it":                     {evidence(t, fast, serves, asks("asked")), "asked"},
		"another client asks for its own":         {evidence(t, fast, asks("asked"), beside), "asked"},
		"the service serves one":                  {evidence(t, fast, serves, asks("")), "served"},
		"the service may be in another job":       {apart, "served"},
		"a job whose plan is broken says nothing": {unread, "asked"},
		"nobody names one":                        {evidence(t, fast, asks("")), ""},
		"a workload without a model":              {evidence(t, fast, serves), ""},
		"nothing was ever planned":                {&Evidence{}, ""},
	} {
		if got := resultOf(t, tt.evidence).Clients[0].Model; got != tt.want {
			t.Errorf("%s: %q, want %q", reason, got, tt.want)
		}
	}
}

// resultOf is the result that is written of the evidence.
func resultOf(t *testing.T, e *Evidence) results.Result {
	t.Helper()
	bm := underRun()
	d := (&Kind{}).Decide(bm, world(bm, over(), found(e)), now)
	if len(d.Do) != 1 {
		t.Fatalf("%+v", summary(d))
	}
	r, err := results.Parse(d.Do[0].(WriteResult).Content)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What went wrong while a server was stopped is in the result, though its end was the one that was planned.
func TestResultWarnsOfStopsThatFailed(t *testing.T) {
	const killed = "the server did not end within 1s of TERM and was killed"
	r := resultOf(t, evidence(t, 50*time.Millisecond, func(e *JobEvidence) {
		first, second := &e.Ranks[0], e.Ranks[0]
		first.Exit, second.Exit = exit(rundir.ExitReasonEnded, ""), exit(rundir.ExitReasonEnded, "")
		first.Exit.Warnings = []string{killed, "/disk is left behind: busy"}
		second.Rank, second.Exit.Warnings = 1, []string{killed}
		e.Ranks = append(e.Ranks, second)
	}))
	var got []string
	for _, words := range r.Warnings {
		if strings.HasPrefix(words, "sim") {
			got = append(got, words)
		}
	}
	if diff := cmp.Diff([]string{"sim: " + killed, "sim: /disk is left behind: busy", "sim rank 1: " + killed}, got); diff != "" || r.Outcome != results.Passed {
		t.Errorf("outcome %s, want %s, and (-want +got):\n%s", r.Outcome, results.Passed, diff)
	}
}

// The result says of each rank of a service whether it had the GPUs that it was given.
func TestResultTellsTheGPUs(t *testing.T) {
	e := evidence(t, 50*time.Millisecond, func(e *JobEvidence) {
		e.Ranks[0].Status.GPUs = &rundir.GPUCheck{State: rundir.GPUVerified, Given: []string{"GPU-a"}, Seen: []string{"GPU-a"}}
		second := e.Ranks[0]
		second.Rank, second.Status = 1, &rundir.Status{Host: "n2", GPUs: &rundir.GPUCheck{State: rundir.GPUUnverified, Message: "why"}}
		e.Ranks = append(e.Ranks, second)
	})
	want := []results.GPUCheck{
		{Host: "n1", State: results.GPUVerified, Given: []string{"GPU-a"}, Seen: []string{"GPU-a"}},
		{Rank: 1, Host: "n2", State: results.GPUUnverified, Message: "why"},
	}
	if diff := cmp.Diff(want, resultOf(t, e).Services[0].GPUs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := resultOf(t, evidence(t, 50*time.Millisecond)).Services[0].GPUs; got != nil {
		t.Errorf("a service that asks for none has %+v", got)
	}
}

// A counter of a server of several ranks is the sum over them. One that nobody talks to has no series of the metric, which
// is zero; one whose scrapes failed has an unknown number.
func TestCheckOfSeveralRanks(t *testing.T) {
	rank := func(n int, good bool, series ...rundir.CounterSeries) rundir.Counters {
		return rundir.Counters{Service: "s", Rank: n, Repeat: 1, Targets: []rundir.CounterTarget{{Name: "server", FirstGood: true, LastGood: good, Series: series}}}
	}
	puts := func(n float64) rundir.CounterSeries { return rundir.CounterSeries{Name: "puts", Increase: n} }
	for name, c := range map[string]struct {
		reason   string
		leader   bool
		counters []rundir.Counters
		sum      float64
		known    bool
	}{
		"both count":       {"", false, []rundir.Counters{rank(0, true, puts(3)), rank(1, true, puts(4))}, 7, true},
		"one counts":       {"the clients talk to the first", false, []rundir.Counters{rank(0, true, puts(3)), rank(1, true)}, 3, true},
		"none counts":      {"the metric has another name", false, []rundir.Counters{rank(0, true), rank(1, true)}, 0, false},
		"a scrape is lost": {"what the second counted nobody knows", false, []rundir.Counters{rank(0, true, puts(3)), rank(1, false)}, 3, false},
		"one is missing":   {"", false, []rundir.Counters{rank(0, true, puts(3))}, 3, false},
		"the leader's":     {"the second has no such target", true, []rundir.Counters{rank(0, true, puts(3)), {Service: "s", Rank: 1, Repeat: 1}}, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := rundir.Service{Name: "s", Ranks: 2, Group: 2, Scrapes: []rundir.Scrape{{Name: "server", Leader: c.leader}}}
			got := JobEvidence{Counters: c.counters}.check(s, rundir.CrossCheck{Target: "server", Metric: "puts"}, 1, nil)
			if got.Increase != c.sum || got.Known != c.known {
				t.Errorf("%s: got %v, known %v; want %v, %v", c.reason, got.Increase, got.Known, c.sum, c.known)
			}
		})
	}
}

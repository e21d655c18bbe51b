package node

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// asked is a server that notes what it is asked, by the name of the request.
type asked struct {
	mu     sync.Mutex
	bodies map[string]string
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.mu.Lock()
	a.bodies[r.Header.Get("X-Request-Id")] = string(b)
	a.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, `data: {"choices":[{"text":"a"}]}`+"\n\ndata: [DONE]\n\n")
}

// repeatOf makes a short repeat as one rank of so many, and returns the prompts by name without the repeat.
func repeatOf(t *testing.T, spec rundir.Client, rankNumber, ranks, repeat int) (map[string]string, *load.Result) {
	t.Helper()
	a := &asked{bodies: map[string]string{}}
	server := httptest.NewServer(a)
	defer server.Close()
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	spec.Ranks = ranks
	c := &client{spec: &spec, rank: &rank{name: "load", number: rankNumber, job: &job{plan: &rundir.Plan{}},
		world: &World{Now: time.Now}}}
	offer, err := c.offer(repeat)
	if err != nil {
		t.Fatal(err)
	}
	clock, err := load.NewClock()
	if err != nil {
		t.Fatal(err)
	}
	defer clock.Close()
	run, err := c.prepare(repeat, offer,
		start{alone: true, t0: time.Now().Add(-time.Hour), endpoints: []*rundir.Endpoint{{Host: host, Port: number, Model: "m"}}}, clock)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	out, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if t0 := time.Unix(0, out.T0); t0.Before(before) || t0.After(time.Now()) {
		t.Errorf("a rank that is alone began at %v by its result, between %v and now in truth", t0, before)
	}
	prompts := map[string]string{}
	for id, body := range a.bodies {
		prompts[regexp.MustCompile(`^load-r\d+-`).ReplaceAllString(id, "")] = body
	}
	return prompts, out
}

// Each repeat asks for something else, at other instants, and is the same on any number of ranks.
func TestRepeatsDiffer(t *testing.T) {
	spec := rundir.Client{Name: "load", Seed: 11,
		Inference: &rundir.Inference{API: rundir.APICompletions, InputTokens: rundir.Tokens{Min: 8, Max: 8},
			OutputTokens: rundir.Tokens{Min: 1, Max: 1}},
		OpenLoop: &rundir.OpenLoop{Rate: 400, Arrival: rundir.ArrivalPoisson, MaxInFlight: 400},
		Duration: rundir.Duration(200 * time.Millisecond)}
	first, one := repeatOf(t, spec, 0, 1, 1)
	second, two := repeatOf(t, spec, 0, 1, 2)
	if len(first) < 10 || len(second) < 10 {
		t.Fatalf("%d and %d requests were made", len(first), len(second))
	}
	seen := map[string]bool{}
	for _, body := range first {
		seen[body] = true
	}
	for name, body := range second {
		if seen[body] {
			t.Errorf("repeat 2 asks in %s what repeat 1 has asked: %s", name, body)
		}
	}
	if one.ScheduleHash == two.ScheduleHash {
		t.Error("two repeats have one schedule")
	}
	if one.Seed != spec.Seed {
		t.Errorf("repeat 1 has the seed %d, the client %d", one.Seed, spec.Seed)
	}
	for n := range 2 {
		part, out := repeatOf(t, spec, n, 2, 2)
		if out.ScheduleHash != two.ScheduleHash {
			t.Errorf("rank %d of 2 has another schedule than one rank alone", n)
		}
		for name, body := range part {
			if second[name] != body {
				t.Errorf("rank %d of 2 asks in %s something else than one rank alone", n, name)
			}
		}
	}
}

// A plan is checked by the bounds of rundir: the load has the same.
func TestTheLoadTakesWhatAPlanMayAskFor(t *testing.T) {
	for rate, want := range map[float64]bool{rundir.MostRate: true, rundir.MostRate + 1: false} {
		spec := &rundir.Client{Ranks: 1, Duration: rundir.Duration(time.Millisecond),
			OpenLoop: &rundir.OpenLoop{Rate: rate, Arrival: rundir.ArrivalConstant, MaxInFlight: 1}}
		_, err := (&client{spec: spec, rank: &rank{}}).offer(1)
		if got := err == nil; got != want {
			t.Errorf("%v requests per second: %v", rate, err)
		}
	}
}

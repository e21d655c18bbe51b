package limit_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/limit"
	"assay.bench/slurmbridge/sim"
)

const (
	origin = "0123456789abcdef"
	uid    = "20000000-0000-4000-8000-000000000005"
)

// The optional interfaces, each by a part that a door may have or lack.
type (
	accounts struct{}
	asks     struct{}
	holds    struct{ until time.Time }
	dials    struct{}
)

func (accounts) Past(context.Context, time.Time, ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	return []slurmbridge.Job{{ID: "past"}}, nil
}

func (asks) Preflight(context.Context, slurmbridge.Key, slurmbridge.Script) error {
	return fmt.Errorf("%w: asked", slurmbridge.ErrRefused)
}

func (dials) Dial(_ context.Context, address string) (net.Conn, error) {
	return nil, fmt.Errorf("%w: %s", slurmbridge.ErrForwarding, address)
}

func (h holds) Token() (time.Time, error) { return h.until, nil }

// door is a simulated site, whose clock stands still.
func door(t *testing.T) (*sim.Site, *limit.Metrics, *prometheus.Registry) {
	t.Helper()
	now := func() time.Time { return time.Unix(1_000_000, 0) }
	r := prometheus.NewRegistry()
	m, err := limit.NewMetrics(r, now)
	if err != nil {
		t.Fatal(err)
	}
	return sim.New(sim.Options{Now: now}).Site(origin), m, r
}

// A door has the optional interfaces that it had before, each still its own, and no other.
func TestOptionalInterfacesStay(t *testing.T) {
	site, m, _ := door(t)
	cases := map[string]struct {
		jobs slurmbridge.Jobs
		want string
	}{
		"none": {struct{ slurmbridge.Jobs }{site}, ""},
		"accounting": {struct {
			slurmbridge.Jobs
			accounts
		}{site, accounts{}}, "Accountant"},
		"preflight": {struct {
			slurmbridge.Jobs
			asks
		}{site, asks{}}, "Preflighter"},
		"accounting, preflight": {struct {
			slurmbridge.Jobs
			accounts
			asks
		}{site, accounts{}, asks{}}, "Accountant Preflighter"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := limit.New(limit.Door{Jobs: c.jobs, Files: site}, limit.Options{Namespace: "ns", Site: name, Metrics: m})
			if got := strings.Join(answering(t, l.Jobs), " "); got != c.want {
				t.Errorf("it answers as %q, want %q", got, c.want)
			}
			if l.Prober != nil || l.Dialer != nil || l.Token != nil {
				t.Error("a prober, a dialer or a token where there was none")
			}
		})
	}
	l := limit.New(limit.Door{Jobs: site, Files: site, Prober: site, Dialer: dials{}, Token: holds{time.Unix(7, 0)}}, limit.Options{Site: "whole", Metrics: m})
	if _, err := l.Dialer.Dial(t.Context(), "n1:80"); !errors.Is(err, slurmbridge.ErrForwarding) || !strings.HasSuffix(err.Error(), "n1:80") {
		t.Errorf("the dialer is not the site's: %v", err)
	}
	if err := l.Prober.Probe(t.Context(), "relative"); err == nil {
		t.Error("the prober is not the site's")
	}
	if until, _ := l.Token.Token(); until.Unix() != 7 {
		t.Errorf("the token ends at %v", until)
	}
}

// answering names the optional interfaces of jobs, each of which has to answer as the parts above do.
func answering(t *testing.T, jobs slurmbridge.Jobs) (out []string) {
	t.Helper()
	if a, ok := jobs.(slurmbridge.Accountant); ok {
		out = append(out, "Accountant")
		if past, err := a.Past(t.Context(), time.Time{}); err != nil || len(past) != 1 || past[0].ID != "past" {
			t.Errorf("Past: %v, %v", past, err)
		}
	}
	if p, ok := jobs.(slurmbridge.Preflighter); ok {
		out = append(out, "Preflighter")
		if err := p.Preflight(t.Context(), "", slurmbridge.Script{}); !errors.Is(err, slurmbridge.ErrRefused) {
			t.Errorf("Preflight: %v", err)
		}
	}
	return out
}

// Each request to the batch system costs a turn, and none is lost; files cost none.
func TestRequestsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site, m, _ := door(t)
		l := limit.New(limit.Door{Jobs: site, Files: site, Prober: site}, limit.Options{Site: "s", Metrics: m, Rate: limit.Rate{PerSecond: 1, Burst: 1}})
		key := slurmbridge.NewKey(origin, uid, 1)
		script := slurmbridge.Script{Directory: "/work/1", Node: "/n", Parts: []slurmbridge.Part{{Nodes: 1}}}
		start := time.Now()
		var found []slurmbridge.Job
		for i, ask := range []func() error{
			func() error { return l.Jobs.Submit(t.Context(), key, script) },
			func() (err error) { found, err = l.Jobs.Find(t.Context(), key); return err },
			func() (err error) { found, err = l.Jobs.List(t.Context()); return err },
			func() error { return l.Jobs.Release(t.Context(), found[0].ID) },
			func() error { return l.Jobs.Cancel(t.Context(), found[0].ID) },
			func() error { return l.Prober.Probe(t.Context(), "/work") },
		} {
			if err := ask(); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			if took := time.Since(start).Round(time.Millisecond); took != time.Duration(i)*time.Second {
				t.Errorf("request %d came through after %s", i, took)
			}
		}
		start = time.Now()
		if err := l.Files.Write(t.Context(), map[string][]byte{"/work/f": []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Files.Read(t.Context(), "/work/f"); err != nil || time.Since(start) > 0 {
			t.Errorf("files: %v after %s", err, time.Since(start))
		}
	})
}

// several is a door whose Release is three requests of a second each, of which the last finds the door shut.
type several struct{ slurmbridge.Jobs }

func (several) Release(ctx context.Context, _ string) error {
	for range 3 {
		if err := slurmbridge.Turn(ctx); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	return slurmbridge.ErrUnreachable
}

// A call of several requests takes a turn for each of them, and each is counted: the site's limit is one of requests.
func TestEachRequestOfACallTakesATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site, m, registry := door(t)
		l := limit.New(limit.Door{Jobs: several{site}, Files: site}, limit.Options{Site: "s", Metrics: m, Rate: limit.Rate{PerSecond: 0.1, Burst: 1}})
		start := time.Now()
		for range 2 {
			if err := l.Jobs.Release(t.Context(), "1"); !errors.Is(err, slurmbridge.ErrUnreachable) {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 51*time.Second {
			t.Errorf("six requests took %s, want one each 10 s and a second for the last", took)
		}
		short, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if err := l.Jobs.Release(short, "1"); err == nil || !strings.Contains(err.Error(), "the site's limit of requests let nothing through in time") {
			t.Errorf("given up while it waits for its second turn: %v", err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			switch m := f.GetMetric(); f.GetName() {
			case "slurmbridge_rpc_duration_seconds":
				if h := m[0].GetHistogram(); len(m) != 1 || h.GetSampleCount() != 7 || h.GetSampleSum() != 7 {
					t.Errorf("%v, want seven requests of a second each", m)
				}
			case "slurmbridge_rpc_errors_total":
				if len(m) != 1 || m[0].GetCounter().GetValue() != 2 {
					t.Errorf("%v, want two errors", m)
				}
			}
		}
	})
}

// A limit that holds up a call between two of its requests is no silence of the site.
func TestWaitingIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site, m, _ := door(t)
		l := limit.New(limit.Door{Jobs: several{site}, Files: site}, limit.Options{Site: "s", Metrics: m, Rate: limit.Rate{PerSecond: 0.001, Burst: 1}})
		if err := l.Jobs.Release(t.Context(), "1"); !errors.Is(err, slurmbridge.ErrUnreachable) {
			t.Errorf("%v, want the door's own word after half an hour of waiting", err)
		}
	})
}

// use makes every kind of request, with and without an error, and every event.
func use(t *testing.T, m *limit.Metrics, site *sim.Site) *limit.Limited {
	t.Helper()
	jobs := struct {
		slurmbridge.Jobs
		accounts
		asks
	}{site, accounts{}, asks{}}
	l := limit.New(limit.Door{Jobs: jobs, Files: site, Prober: site, Dialer: dials{}, Token: holds{time.Unix(2_000_000, 0)}},
		limit.Options{Namespace: "ns", Site: "s", Metrics: m})
	for range 2 {
		for _, ask := range []func() error{
			func() error {
				return l.Jobs.Submit(t.Context(), slurmbridge.NewKey(origin, uid, 1), slurmbridge.Script{Directory: "/work/1", Node: "/n", Parts: []slurmbridge.Part{{}}})
			},
			func() (err error) { _, err = l.Jobs.Find(t.Context()); return err },
			func() (err error) { _, err = l.Jobs.List(t.Context()); return err },
			func() error { return l.Jobs.Release(t.Context(), "1") },
			func() error { return l.Jobs.Cancel(t.Context(), "1") },
			func() error { return l.Prober.Probe(t.Context(), "/work") },
			func() (err error) { _, err = l.Files.Read(t.Context(), "/f"); return err },
			func() error { return l.Files.Write(t.Context(), map[string][]byte{"/f": nil}) },
			func() (err error) { _, err = l.Files.Open(t.Context(), "/g", 0); return err },
			func() (err error) { _, err = l.Dialer.Dial(t.Context(), "n1:80"); return err },
		} {
			_ = ask() // the outage makes each fail the second time
		}
		answering(t, l.Jobs)
		site.Cluster().Outage(true)
	}
	m.DuplicatesPrevented("ns", "s", 2)
	m.OrphanCancelled("ns", "s")
	m.Lost("ns", "s")
	m.Queued("ns", "s", time.Minute)
	m.Jobs("ns", "s", map[string]int{"Waiting": 1, "Intended": 1, "Submitted": 1, "Queued": 1, "Running": 2, "Ending": 1, "Ended": 1, "Failed": 1}, 2)
	return l
}

// The metrics are named and documented as Prometheus asks, are labelled by nothing that grows, and go with their site.
func TestMetrics(t *testing.T) {
	site, m, registry := door(t)
	l := use(t, m, site)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	allowed := map[string]bool{"namespace": true, "site": true, "verb": true, "state": true}
	got, series := map[string]float64{}, 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "slurmbridge_") {
			t.Errorf("%s is not named after the bridge", f.GetName())
		}
		for _, metric := range f.GetMetric() {
			name := f.GetName()
			for _, label := range metric.GetLabel() {
				if !allowed[label.GetName()] {
					t.Errorf("%s has the label %s", f.GetName(), label.GetName())
				}
				if label.GetName() == "verb" || label.GetName() == "state" {
					name += " " + label.GetValue()
				}
			}
			got[name] = value(metric)
			series += 1 + len(metric.GetHistogram().GetBucket()) + min(2, 2*len(metric.GetHistogram().GetBucket()))
		}
	}
	if series > 200 {
		t.Errorf("%d series of one site, want at most 200", series)
	}
	for name, want := range map[string]float64{
		"slurmbridge_rpc_duration_seconds list": 2, "slurmbridge_rpc_errors_total list": 1,
		"slurmbridge_rpc_duration_seconds past": 2, "slurmbridge_rpc_errors_total past": 0,
		"slurmbridge_rpc_duration_seconds preflight": 2, "slurmbridge_rpc_errors_total preflight": 2,
		"slurmbridge_rpc_duration_seconds read": 2, "slurmbridge_rpc_errors_total read": 1,
		"slurmbridge_rpc_duration_seconds dial": 2, "slurmbridge_rpc_errors_total dial": 2,
		"slurmbridge_rpc_turn_wait_seconds": 16, "slurmbridge_queue_wait_seconds": 1,
		"slurmbridge_duplicates_prevented_total": 2, "slurmbridge_orphans_cancelled_total": 1, "slurmbridge_jobs_lost_total": 1,
		"slurmbridge_jobs Running": 2, "slurmbridge_poll_age_seconds": 1e-9, "slurmbridge_token_expiry_timestamp_seconds": 2_000_000,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	m.Jobs("ns", "s", map[string]int{"Ended": 1}, 0)
	if _, ok := gathered(t, registry)["slurmbridge_poll_age_seconds"]; ok {
		t.Error("no job, no list that is due, and yet an age")
	}
	l.Close()
	if diff := cmp.Diff(map[string]bool{}, gathered(t, registry)); diff != "" {
		t.Errorf("series of a site that is shut (-want +got):\n%s", diff)
	}
}

// The door of a site is opened anew before the old one is shut: what was counted stays, and the token is that of the newest.
func TestMetricsOutliveADoor(t *testing.T) {
	site, m, registry := door(t)
	at := limit.Options{Namespace: "ns", Site: "s", Metrics: m}
	open := func(until int64) *limit.Limited {
		return limit.New(limit.Door{Jobs: site, Files: site, Token: holds{time.Unix(until, 0)}}, at)
	}
	expires := func() (found float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "slurmbridge_token_expiry_timestamp_seconds" {
				found = value(f.GetMetric()[0])
			}
		}
		return found
	}
	old := open(1)
	m.Jobs("ns", "s", map[string]int{"Running": 1}, 1)
	refused := open(2)
	if got := expires(); got != 2 {
		t.Errorf("the token ends at %v, want that of the newest door", got)
	}
	refused.Close()
	refused.Close()
	if got := expires(); got != 1 {
		t.Errorf("the token ends at %v, want that of the door that stays", got)
	}
	fresh := open(3)
	old.Close()
	if _, err := fresh.Jobs.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := gathered(t, registry); !got["slurmbridge_jobs"] || !got["slurmbridge_poll_age_seconds"] || expires() != 3 {
		t.Errorf("left of the site: %v", got)
	}
	fresh.Close()
	if diff := cmp.Diff(map[string]bool{}, gathered(t, registry)); diff != "" {
		t.Errorf("series of a site that is shut (-want +got):\n%s", diff)
	}
}

// The counters of a site are there before anything happens, so that the first event shows as an increase.
func TestCountersBeginAtZero(t *testing.T) {
	site, m, registry := door(t)
	limit.New(limit.Door{Jobs: site, Files: site}, limit.Options{Namespace: "ns", Site: "s", Metrics: m})
	want := map[string]bool{"slurmbridge_duplicates_prevented_total": true, "slurmbridge_orphans_cancelled_total": true, "slurmbridge_jobs_lost_total": true}
	if diff := cmp.Diff(want, gathered(t, registry)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func value(m *dto.Metric) float64 {
	switch {
	case m.GetHistogram() != nil:
		return float64(m.GetHistogram().GetSampleCount())
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	}
	return m.GetGauge().GetValue()
}

// gathered are the names of what a registry tells.
func gathered(t *testing.T, r *prometheus.Registry) map[string]bool {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range families {
		out[f.GetName()] = true
	}
	return out
}

package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
	"assay.bench/internal/series"
)

func TestParse(t *testing.T) {
	const text = `# TYPE a counter
a{x="1"} 3
# TYPE g gauge
g 2.5
# TYPE h histogram
h_bucket{le="0.1"} 1
h_bucket{le="+Inf"} 2
h_sum 0.5
h_count 2
# TYPE s summary
s{quantile="0.5"} 1
s_sum 7
s_count 8
plain_total 4
plain 5
# TYPE minio_s3_ttfb_seconds_distribution gauge
minio_s3_ttfb_seconds_distribution{le="0.05"} 9
`
	const openMetrics = `# TYPE a counter
# UNIT a seconds
# HELP a it has "quotes"
a_total{x="with } and # and \"q\""} 3 1700000000.123 # {trace_id="z"} 1 1700000000.1
a_created{x="1"} 1.6e9
# TYPE u unknown
u 1 1700000000
# TYPE i info
i_info{v="1"} 1
# TYPE h histogram
h_bucket{le="+Inf"} 2 # {trace_id="q"} 0.2
h_count 2
h_sum 0.5
# EOF
this is behind the end
`
	cases := map[string]struct {
		body string
		open bool
		want map[string]float64 // a counter's name begins with +
	}{
		"text": {text, false, map[string]float64{
			`+a{x="1"}`: 3, "g{}": 2.5, `+h_bucket{le="0.1"}`: 1, `+h_bucket{le="+Inf"}`: 2, "+h_sum{}": 0.5, "+h_count{}": 2,
			`s{quantile="0.5"}`: 1, "+s_sum{}": 7, "+s_count{}": 8, "+plain_total{}": 4, "plain{}": 5,
			`+minio_s3_ttfb_seconds_distribution{le="0.05"}`: 9}},
		"OpenMetrics": {openMetrics, true, map[string]float64{
			`+a_total{x="with } and # and \"q\""}`: 3, `a_created{x="1"}`: 1.6e9, "u{}": 1, `i_info{v="1"}`: 1,
			`+h_bucket{le="+Inf"}`: 2, "+h_sum{}": 0.5, "+h_count{}": 2}},
		"empty": {"", false, map[string]float64{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := parse([]byte(c.body), c.open)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, s := range p.samples {
				got[key(s)] = s.value
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if name == "text" && len(p.repairs) != 1 {
				t.Errorf("repairs %v, want one", p.repairs)
			}
		})
	}
}

func key(s sample) string {
	var labels []string
	for _, l := range s.labels {
		if l.Name != series.NameLabel {
			labels = append(labels, fmt.Sprintf("%s=%q", l.Name, l.Value))
		}
	}
	out := s.labels.Get(series.NameLabel) + "{" + strings.Join(labels, ",") + "}"
	if s.counter {
		return "+" + out
	}
	return out
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# TYPE a counter\na_total{x=\"}\"} 1 2 # {} 3\n# EOF\n"), true)
	f.Add([]byte("h_bucket{le=\"+Inf\"} NaN\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, open bool) {
		p, err := parse(b, open)
		if err == nil && len(p.samples) > 3*len(b) {
			t.Errorf("%d samples of %d bytes", len(p.samples), len(b))
		}
	})
}

// server answers what its handler is now.
type server struct {
	*httptest.Server
	handler atomic.Value
	asked   atomic.Int64
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.handler.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) says(body string) {
	s.handler.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
}

func (s *server) does(h http.HandlerFunc) { s.handler.Store(h) }

// watch is a monitor and the events that it told.
type watch struct {
	*Monitor
	dir string
	mu  sync.Mutex
	log []string
}

func newWatch(t *testing.T, interval time.Duration, targets ...Target) *watch {
	t.Helper()
	w := &watch{dir: t.TempDir()}
	m, err := New(Config{Targets: targets, Interval: interval, Directory: w.dir, Now: time.Now, EdgeTimeout: time.Second,
		Event: func(event string, fields ...any) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.log = append(w.log, event+fmt.Sprint(fields...))
		},
		WriteFailed: func(err error) { t.Errorf("write: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	w.Monitor = m
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *watch) told(word string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.log {
		if strings.Contains(e, word) {
			n++
		}
	}
	return n
}

// reaches waits until the server was asked n more times.
func (s *server) reaches(t *testing.T, n int64) {
	t.Helper()
	want := s.asked.Load() + n
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.asked.Load() < want {
		select {
		case <-deadline:
			t.Fatalf("asked %d times, want %d", s.asked.Load(), want)
		case <-tick.C:
		}
	}
}

const never = time.Hour // an interval: only the first and the last scrape

func TestCountersOfARepeat(t *testing.T) {
	s := newServer(t)
	w := newWatch(t, 20*time.Millisecond, Target{Name: "engine", URL: s.URL})
	s.says("# TYPE c counter\nc 10\n")
	w.Begin(t.Context())
	s.says("# TYPE c counter\nc 15\n# TYPE late counter\nlate 2\n")
	s.reaches(t, 2)
	s.says("# TYPE c counter\nc 4\n") // a restart, or a reset
	s.reaches(t, 2)
	s.says("# TYPE c counter\nc 9\n")
	got := w.End(t.Context())
	want := []rundir.CounterTarget{{Name: "engine", FirstGood: true, LastGood: true, Series: []rundir.CounterSeries{
		{Name: "c", First: 10, Last: 9, Resets: 1, Increase: 14},
		{Name: "late", First: 0, Last: 2, Increase: 2}}}}
	want[0].Due, want[0].Good = got[0].Due, got[0].Good
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got[0].Due < 6 || got[0].Good != got[0].Due {
		t.Errorf("%d of %d scrapes were good", got[0].Good, got[0].Due)
	}
	if w.told("CounterReset") != 1 {
		t.Errorf("events %q, want one reset", w.log)
	}

	s.says("# TYPE c counter\nc 1\n")
	w.Begin(t.Context())
	s.says("# TYPE c counter\nc 3\n")
	if got := w.End(t.Context()); got[0].Series[0].Increase != 2 || got[0].Series[0].Resets != 0 {
		t.Errorf("the next repeat begins anew, got %+v", got[0].Series[0])
	}
	if got := w.End(t.Context()); got != nil {
		t.Errorf("an End without a Begin returned %v", got)
	}
}

// What a target may do wrong: the scrape fails with clear words, and the run goes on.
func TestFailingTargets(t *testing.T) {
	cases := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"HTML by type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "Text/HTML; charset=utf-8")
			fmt.Fprint(w, "hello")
		}, "an HTML page instead of metrics"},
		"HTML by content": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "\n <!DOCTYPE html><html></html>")
		}, "an HTML page instead of metrics"},
		"404": {http.NotFound, "answered HTTP 404"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		}, "301"},
		"JSON": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"a": 1}`) }, "not in the text format"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			line := strings.Repeat("x", 1000) + " 1\n"
			for range MaxBody/len(line) + 2 {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		}, "more than 10 MiB"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "a 1\n")
		}, "the answer broke off"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.does(c.handler)
			w := newWatch(t, never, Target{Name: "engine", URL: s.URL})
			w.cfg.EdgeTimeout = 200 * time.Millisecond
			if name == "too large" {
				w.cfg.EdgeTimeout = 10 * time.Second
			}
			w.Begin(t.Context())
			got := w.End(t.Context())[0]
			if !strings.Contains(got.Error, c.want) || got.Good != 0 || got.Due != 2 || got.FirstGood || got.LastGood {
				t.Errorf("got %+v, want %q", got, c.want)
			}
			want := int64(2 * edgeTries)
			if name == "slow" {
				want = 2
			}
			if n := s.asked.Load(); n != want {
				t.Errorf("the first and the last scrape asked %d times, want %d: who hangs is not asked again", n, want)
			}
			if w.told("ScrapeFailed") != 1 {
				t.Errorf("the same failure twice is told %d times, want once: %q", w.told("ScrapeFailed"), w.log)
			}
		})
	}
}

func TestSamplesOfATargetThatComesAndGoes(t *testing.T) {
	s := newServer(t)
	w := newWatch(t, never, Target{Name: "engine", URL: s.URL})
	s.says("a 1\nb 2\n")
	w.Begin(t.Context())
	tg := w.targets[0]
	scrape := func() {
		p, err := tg.ask(t.Context(), time.Second)
		if err != nil {
			tg.failed(err, false, false)
			return
		}
		tg.worked(p, false, false)
	}
	s.says("a 3\n") // b has gone
	scrape()
	s.does(http.NotFound)
	scrape()
	scrape()
	s.says("a 5\n")
	w.End(t.Context())
	stale := "stale"
	want := []map[string]any{
		{"up": 1.0, "a": 1.0, "b": 2.0},
		{"up": 1.0, "a": 3.0, "b": stale},
		{"up": 0.0, "a": stale},
		{"up": 0.0},
		{"up": 1.0, "a": 5.0},
		{"a": stale},
	}
	var got []map[string]any
	for _, b := range read(t, filepath.Join(w.dir, "engine.series")) {
		m := map[string]any{}
		for _, s := range b.Samples {
			switch name := s.Labels.Get(series.NameLabel); {
			case name == "scrape_duration_seconds" && !series.IsStaleNaN(s.Value):
			case series.IsStaleNaN(s.Value):
				m[name] = stale
			default:
				m[name] = s.Value
			}
		}
		got = append(got, m)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := w.Counts(); c != (rundir.Scrapes{Due: 5, Good: 3}) {
		t.Errorf("counts %+v, want 3 of 5", c)
	}
	if w.told("ScrapeWorks") != 1 {
		t.Errorf("events %q, want one ScrapeWorks", w.log)
	}
}

func read(t *testing.T, path string) []series.Block {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []series.Block
	for r := series.NewReader(f); ; {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
}

// A slow scrape does not move the grid, and an End during a scrape does not spoil it.
func TestGridIsFixed(t *testing.T) {
	s := newServer(t)
	var n atomic.Int64
	s.does(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 0 {
			select {
			case <-time.After(30 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		fmt.Fprint(w, "a 1\n")
	})
	const interval = 50 * time.Millisecond
	w := newWatch(t, interval, Target{Name: "engine", URL: s.URL})
	w.Begin(t.Context())
	s.reaches(t, 10)
	got := w.End(t.Context())[0]
	if got.Good < 10 || got.Due > got.Good+3 {
		t.Errorf("%d of %d", got.Good, got.Due)
	}
	blocks := read(t, filepath.Join(w.dir, "engine.series"))
	from, to := blocks[1].Time, blocks[9].Time
	if off := math.Abs(float64(to.Sub(from)-8*interval)) / float64(interval); off > 0.8 && got.Due == got.Good {
		t.Errorf("8 steps of %s took %s", interval, to.Sub(from))
	}
}

func TestProxyAndToken(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	s := newServer(t)
	s.does(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tok" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "a 1\n")
	})
	w := newWatch(t, never, Target{Name: "with", URL: s.URL, Token: "tok"}, Target{Name: "without", URL: s.URL})
	w.Begin(context.Background())
	got := w.End(context.Background())
	if got[0].Good != 2 || got[1].Good != 0 || !strings.Contains(got[1].Error, "401") {
		t.Errorf("got %+v", got)
	}
}

func TestMove(t *testing.T) {
	a, b := newServer(t), newServer(t)
	a.says("a 1\n")
	b.says("a 2\n")
	w := newWatch(t, never, Target{Name: "engine", URL: a.URL})
	w.Begin(t.Context())
	w.End(t.Context())
	w.Move([]Target{{Name: "engine", URL: b.URL}})
	w.Begin(t.Context())
	w.End(t.Context())
	if a.asked.Load() != 2 || b.asked.Load() != 2 {
		t.Errorf("asked %d and %d, want 2 and 2", a.asked.Load(), b.asked.Load())
	}
}

func TestIntervalTooShort(t *testing.T) {
	if _, err := New(Config{Interval: time.Millisecond}); err == nil {
		t.Error("an interval of 1 ms was taken")
	}
}

//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"assay.bench/test/user"
)

// scraped is a simulator whose metrics have a target that works, its own, and others.
const scraped = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: scraped}
spec:
  site: local
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}, metrics: {interval: 200ms, targets: [%s]}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1}
    duration: 6s
`

// badTarget is a target of scrapes, and what is said of it. Of one that dies some scrapes were good.
type badTarget struct {
	handler http.HandlerFunc
	words   string
	dies    bool
}

func badTargets() map[string]badTarget {
	says := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	return map[string]badTarget{
		"error":   {handler: says(500, "text/plain", "oops"), words: "answered HTTP 500"},
		"page":    {handler: says(200, "text/html", "<html>Welcome</html>"), words: "answered an HTML page instead of metrics (HTTP 200): is this the right port and path?"},
		"garbage": {handler: says(200, "text/plain", "\x00\xff{{{ 1 2 3"), words: "/metrics: "},
		"hangs":   {handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, words: "no answer in time"},
		"dies":    {handler: says(200, "text/plain", "some_total 1\n"), words: "connection refused", dies: true},
	}
}

// "Monitor resilience → continues on scrape failures": whatever a target does, the run goes on to its end. It says how
// much of the metrics it has, and the counters of the target that works are compared as ever.
func TestMonitorResilience(t *testing.T) {
	t.Parallel()
	u, targets, bad := user.New(t), []string{}, badTargets()
	for name, target := range bad {
		targets = append(targets, fmt.Sprintf("{name: %s, port: %s, path: /metrics}", name, target.serve(t)))
	}
	u.Up()
	path := u.Write("recipe.yaml", fmt.Sprintf(scraped, strings.Join(targets, ", ")))
	run := u.Start("assay", "run", path, "--context", "default", "--output", "out")
	// assay run deletes the objects at its end, so the conditions are awaited while it runs.
	u.Await("scraped", "load", user.Loads)
	watch := u.Start("assay", "kubectl", "wait", "--for=condition=Monitored=False", "bm/scraped", "bsvc/scraped-sim", "--timeout=60s")
	if w := watch.Wait(); w.Code != 0 {
		t.Errorf("Monitored did not become False: %s%s", w.Stdout, w.Stderr)
	}
	a := run.Wait()
	r := u.Result(u.Path("out"))
	endedWell(t, a, r)
	u.Whole(r, 1)
	if len(r.CrossChecks) == 0 {
		t.Error("no counter was compared")
	}

	due, good := int64(0), int64(0)
	counters := u.Counters(u.Rank(u.Path("out", "run"), "sim"), 1)
	for name, c := range counters {
		due, good = due+c.Due, good+c.Good
		target, isBad := bad[name]
		switch {
		case !isBad && (c.Good != c.Due || !c.FirstGood || !c.LastGood || c.Error != ""):
			t.Errorf("the target that works: %d of %d scrapes were good: %s", c.Good, c.Due, c.Error)
		case isBad && (c.Good > 0 != target.dies || c.Good == c.Due || c.FirstGood != target.dies || c.LastGood || !strings.Contains(c.Error, target.words)):
			t.Errorf("the target %s: %d of %d scrapes were good, the first %t, the last %t, %q, want %q", name, c.Good, c.Due, c.FirstGood, c.LastGood, c.Error, target.words)
		}
		t.Logf("%-8s %2d of %2d good: %s", name, c.Good, c.Due, c.Error)
	}
	s := r.Services[0]
	if len(counters) != 1+len(bad) || s.ScrapesDue != due || s.ScrapesGood != good || s.Coverage != float64(good)/float64(due) || s.Coverage >= 0.95 {
		t.Errorf("of %d targets %d of %d scrapes were good; the result says %+v", len(counters), good, due, s)
	}
	contains(t, "the summary", a.Stdout, fmt.Sprintf("! sim: only %d of %d scrapes were good", good, due), "of the scrapes of sim good")
	u.Must("assay", "down")
}

// serve serves a target until the end of the test, and returns its port. One that dies does so at the third scrape.
func (b badTarget) serve(t *testing.T) string {
	t.Helper()
	var scrapes atomic.Int64
	var server *httptest.Server
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if scrapes.Add(1) == 3 && b.dies {
			_ = server.Listener.Close()
			panic(http.ErrAbortHandler)
		}
		b.handler(w, r)
	}))
	server.Start()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

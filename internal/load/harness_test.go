package load

import (
	"context"
	"io/fs"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// machine is a file system of a machine on which nothing happens.
func machine() fstest.MapFS {
	return fstest.MapFS{
		"proc/self/cgroup":             {Data: []byte("0::/job\n")},
		"proc/self/task/1/schedstat":   {Data: []byte("1000 0 1\n")},
		"sys/fs/cgroup/job/cpu.stat":   {Data: []byte("usage_usec 1\nthrottled_usec 0\n")},
		"sys/fs/cgroup/cpu.stat":       {Data: []byte("usage_usec 1\n")},
		"sys/fs/cgroup/cgroup.procs":   {Data: []byte("1\n")},
		"sys/fs/cgroup/job/cpu.weight": {Data: []byte("100\n")},
	}
}

// server is a workload whose requests are answered by a function.
type server struct {
	clock   Clock
	metrics []string
	serve   func(ctx context.Context, op *Op)

	mu    sync.Mutex
	seen  []Request
	made  int
	ended int
}

func (s *server) Metrics() []string    { return s.metrics }
func (s *server) Headline() string     { return MetricE2E }
func (s *server) Operations() []string { return nil }
func (s *server) Totals() []string     { return testTotals }

// testTotals are what the workloads of these tests count.
var testTotals = []string{"in", "out"}

func (s *server) Worker(ctx context.Context, _ int) (Worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return &stub{server: s, ctx: ctx}, nil
}

type stub struct {
	server *server
	ctx    context.Context
}

func (w *stub) Do(op *Op) {
	s := w.server
	s.mu.Lock()
	s.seen = append(s.seen, op.Request)
	s.mu.Unlock()
	op.Sent = s.clock.Now()
	s.serve(w.ctx, op)
}

func (w *stub) Close() {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.server.ended++
}

// takes answers each request after a time.
func takes(clock Clock, d time.Duration) func(context.Context, *Op) {
	return func(ctx context.Context, op *Op) {
		if !clock.WaitUntil(clock.Now()+int64(d), ctx.Done()) {
			op.Fail(Reset, 0, "stopped")
		}
	}
}

// base are options of a short run on fake time.
func base(clock Clock) Options {
	return Options{
		Ranks: 1, Seed: 1, Clock: clock, Root: fs.FS(machine()),
		Lengths: Lengths{Warmup: time.Second, Measure: 10 * time.Second, Cooldown: time.Second},
	}
}

// run makes a load to its end.
func run(t *testing.T, o Options, s *server) *Result {
	t.Helper()
	r, err := New(o, s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.made != s.ended {
		t.Errorf("%d workers were made and %d closed", s.made, s.ended)
	}
	return out
}

func metric(t *testing.T, out *Result, name string) Metric {
	t.Helper()
	for _, m := range out.Metrics {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no metric %s in the result", name)
	return Metric{}
}

func percentile(t *testing.T, m Metric, p float64) time.Duration {
	t.Helper()
	h, err := hdr.Decode([]byte(m.Histogram))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(h.ValueAtPercentile(p))
}

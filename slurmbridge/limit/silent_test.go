package limit_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/limit"
)

// silent is a door that takes requests and never answers.
type silent struct{ accounts }

func never(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (silent) List(ctx context.Context) ([]slurmbridge.Job, error) { return nil, never(ctx) }
func (silent) Find(ctx context.Context, _ ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	return nil, never(ctx)
}

func (silent) Submit(ctx context.Context, _ slurmbridge.Key, _ slurmbridge.Script) error {
	return never(ctx)
}
func (silent) Release(ctx context.Context, _ string) error { return never(ctx) }
func (silent) Cancel(ctx context.Context, _ string) error  { return never(ctx) }

func (silent) Read(ctx context.Context, _ ...string) (map[string][]byte, error) {
	return nil, never(ctx)
}
func (silent) Write(ctx context.Context, _ map[string][]byte) error { return never(ctx) }
func (silent) Open(ctx context.Context, _ string, _ int64) (io.ReadCloser, error) {
	return nil, never(ctx)
}

// A site that takes a request and never answers holds nobody up for ever. The wait for a turn is not the site's doing.
func TestSilentSiteIsGivenUp(t *testing.T) {
	for name, ask := range map[string]func(context.Context, *limit.Limited) error{
		"list":    func(ctx context.Context, l *limit.Limited) error { _, err := l.Jobs.List(ctx); return err },
		"find":    func(ctx context.Context, l *limit.Limited) error { _, err := l.Jobs.Find(ctx); return err },
		"submit":  func(ctx context.Context, l *limit.Limited) error { return l.Jobs.Submit(ctx, "", slurmbridge.Script{}) },
		"release": func(ctx context.Context, l *limit.Limited) error { return l.Jobs.Release(ctx, "1") },
		"cancel":  func(ctx context.Context, l *limit.Limited) error { return l.Jobs.Cancel(ctx, "1") },
		"read":    func(ctx context.Context, l *limit.Limited) error { _, err := l.Files.Read(ctx, "/f"); return err },
		"write":   func(ctx context.Context, l *limit.Limited) error { return l.Files.Write(ctx, nil) },
		"open":    func(ctx context.Context, l *limit.Limited) error { _, err := l.Files.Open(ctx, "/f", 0); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, m, registry := door(t)
				hour := limit.Rate{PerSecond: 1.0 / 3600, Burst: 1}
				l := limit.New(limit.Door{Jobs: silent{}, Files: silent{}}, limit.Options{Site: "s", Metrics: m, Rate: hour})
				wait := 2 * limit.AnswerWithin
				if name != "read" && name != "write" && name != "open" {
					wait += time.Hour - limit.AnswerWithin
				}
				start := time.Now()
				for range 2 {
					err := ask(t.Context(), l)
					if err == nil || err.Error() != "there was no answer within 2m0s" {
						t.Errorf("it ended with %v", err)
					}
				}
				if took := time.Since(start).Round(time.Second); took != wait {
					t.Errorf("two of them took %s, want %s", took, wait)
				}
				if failed := failures(t, registry, name); failed != 2 {
					t.Errorf("%v failed, want 2", failed)
				}
			})
		})
	}
}

// failures counts the requests of a verb that failed.
func failures(t *testing.T, r *prometheus.Registry, verb string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			if f.GetName() == "slurmbridge_rpc_errors_total" && slices.ContainsFunc(metric.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == verb }) {
				sum += value(metric)
			}
		}
	}
	return sum
}

// lasting is a file that is there as long as its context.
type lasting struct {
	silent

	ended *<-chan struct{} // of the context
}

func (l lasting) Open(ctx context.Context, _ string, _ int64) (io.ReadCloser, error) {
	*l.ended = ctx.Done()
	return io.NopCloser(strings.NewReader("log")), nil
}

// A log may be followed for hours.
func TestOpenFileLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, m, _ := door(t)
		var ended <-chan struct{}
		l := limit.New(limit.Door{Jobs: silent{}, Files: lasting{ended: &ended}}, limit.Options{Site: "s", Metrics: m})
		r, err := l.Files.Open(t.Context(), "/f", 0)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			t.Error("it was ended")
		case <-time.After(2 * limit.AnswerWithin):
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		<-ended // a context that stays holds the test up for ever
	})
}

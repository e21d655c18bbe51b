// Package monitor scrapes the metric targets of a service on a fixed grid of time, keeps every sample, and counts how
// much each counter grew over a repeat. A scrape that fails is a sample too, and stops nothing.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/internal/series"
)

// Target is where metrics are read.
type Target struct {
	Name string
	URL  string
	// Token is sent as a bearer token; "" for none.
	Token string
}

// Config says what to scrape.
type Config struct {
	Targets []Target
	// Interval of the grid; at least rundir.LeastScrapeEvery.
	Interval time.Duration
	// Timeout of a scrape on the grid; 0, or not below Interval, takes 9/10 of Interval.
	Timeout time.Duration
	// EdgeTimeout of one try of a first or a last scrape, of which there are up to three; 0 takes 5 s.
	EdgeTimeout time.Duration
	// Directory gets <target>.series; it must exist.
	Directory string
	Now       func() time.Time
	// Event is told of what a reader of the run may want to know: ScrapeFailed, ScrapeWorks, CounterReset,
	// ScrapeRepaired.
	Event func(event string, fields ...any)
	// WriteFailed is told when samples cannot be stored.
	WriteFailed func(error)
}

// Monitor watches the targets of one service. Begin and End take turns; Counts may be called at any time.
type Monitor struct {
	cfg     Config
	client  *http.Client
	targets []*target
	stop    context.CancelFunc
	running sync.WaitGroup
}

// New opens the files of all targets.
func New(cfg Config) (*Monitor, error) {
	if cfg.Interval < rundir.LeastScrapeEvery {
		return nil, fmt.Errorf("scrape interval %s: at least %s", cfg.Interval, rundir.LeastScrapeEvery)
	}
	if cfg.Timeout <= 0 || cfg.Timeout >= cfg.Interval {
		cfg.Timeout = cfg.Interval * 9 / 10
	}
	if cfg.EdgeTimeout <= 0 {
		cfg.EdgeTimeout = 5 * time.Second
	}
	m := &Monitor{cfg: cfg, client: newClient()}
	for _, t := range cfg.Targets {
		w, err := series.Open(filepath.Join(cfg.Directory, t.Name+".series"))
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.targets = append(m.targets, &target{Target: t, cfg: &m.cfg, client: m.client, writer: w})
	}
	return m, nil
}

// Begin starts a repeat: it takes the first scrape of every target and returns when all are done; from then on the
// targets are scraped on the grid until End, or until ctx ends.
func (m *Monitor) Begin(ctx context.Context) {
	m.each(func(t *target) { t.begin(); t.edge(ctx, true) })
	ctx, m.stop = context.WithCancel(ctx)
	start := time.Now()
	for _, t := range m.targets {
		m.running.Go(func() { t.grid(ctx, start) })
	}
}

// End ends a repeat: it stops the grid, takes the last scrape of every target, marks all series as ended, and returns
// what the counters did. Without a Begin it returns nil.
func (m *Monitor) End(ctx context.Context) []rundir.CounterTarget {
	if m.stop == nil {
		return nil
	}
	m.stop()
	m.stop = nil
	m.running.Wait()
	m.each(func(t *target) { t.edge(ctx, false); t.end() })
	out := make([]rundir.CounterTarget, 0, len(m.targets))
	for _, t := range m.targets {
		out = append(out, t.counters())
	}
	return out
}

func (m *Monitor) each(f func(*target)) {
	var all sync.WaitGroup
	for _, t := range m.targets {
		all.Go(func() { f(t) })
	}
	all.Wait()
}

// Counts returns the scrapes of all repeats so far.
func (m *Monitor) Counts() rundir.Scrapes {
	var s rundir.Scrapes
	for _, t := range m.targets {
		due, good := t.counts()
		s.Due += due
		s.Good += good
	}
	return s
}

// Close closes the files.
func (m *Monitor) Close() error {
	var errs []error
	for _, t := range m.targets {
		errs = append(errs, t.writer.Close())
	}
	m.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// Move gives the targets new addresses, in the order of Config.Targets: a server that was started anew has other ports.
// It must not be called between Begin and End.
func (m *Monitor) Move(targets []Target) {
	for i, t := range targets {
		m.targets[i].Target = t
	}
}

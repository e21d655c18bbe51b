package monitor

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/internal/series"
)

// edgeTries is how often a first or a last scrape is tried: on these two the counters of a repeat rest.
const edgeTries = 3

// target is a target and what is known of it.
type target struct {
	Target
	cfg    *Config
	client *http.Client
	writer *series.Writer
	live   map[string]series.Labels // the series of the last good scrape

	mu        sync.Mutex
	due, good int64 // over all repeats
	repeat    tally
}

// begin forgets the last repeat.
func (t *target) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.repeat = newTally()
}

// grid scrapes at start + n × interval until ctx ends. A point of the grid that was missed counts as a failed scrape.
func (t *target) grid(ctx context.Context, start time.Time) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for n := int64(1); ; n++ {
		if late := time.Since(start)/t.cfg.Interval - time.Duration(n); late > 0 {
			t.missed(int64(late))
			n += int64(late)
		}
		timer.Reset(time.Until(start.Add(time.Duration(n) * t.cfg.Interval)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// The scrape has its own time, so that the end of a repeat does not turn a good scrape into a failed one.
		if p, err := t.ask(context.WithoutCancel(ctx), t.cfg.Timeout); err != nil {
			t.failed(err, false, false)
		} else {
			t.worked(p, false, false)
		}
	}
}

// edge takes the first or the last scrape of a repeat.
func (t *target) edge(ctx context.Context, first bool) {
	var err error
	for range edgeTries {
		var p answer
		if p, err = t.ask(ctx, t.cfg.EdgeTimeout); err == nil {
			t.worked(p, first, !first)
			return
		}
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			break // who hangs is not waited for again: the clients wait for this scrape
		}
	}
	t.failed(err, first, !first)
}

// answer is a page and when and how fast it came.
type answer struct {
	page
	at   time.Time
	took time.Duration
}

func (t *target) ask(ctx context.Context, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := answer{at: t.cfg.Now()}
	begin := time.Now()
	var err error
	a.page, err = fetch(ctx, t.client, t.Target)
	a.took = time.Since(begin)
	return a, err
}

func (t *target) worked(a answer, first, last bool) {
	live := make(map[string]series.Labels, len(a.samples))
	block := make([]series.Sample, 0, len(a.samples)+2)
	block = append(block, up(1), series.Sample{
		Labels: series.NewLabels("scrape_duration_seconds", nil), Value: a.took.Seconds()})
	for _, s := range a.samples {
		live[s.labels.Key()] = s.labels
		block = append(block, series.Sample{Labels: s.labels, Value: s.value})
	}
	for key, labels := range t.live {
		if _, ok := live[key]; !ok {
			block = append(block, series.Sample{Labels: labels, Value: series.StaleNaN()})
		}
	}
	t.live = live
	t.store(a.at, block)

	t.mu.Lock()
	t.due++
	t.good++
	recovered := t.repeat.lastError != "" && t.repeat.failing
	resets := t.repeat.add(a.page, first, last)
	t.mu.Unlock()
	if recovered {
		t.cfg.Event("ScrapeWorks", "target", t.Name)
	}
	for _, r := range resets {
		t.cfg.Event("CounterReset", "target", t.Name, "series", r.name, "labels", r.labels)
	}
	if first {
		for _, r := range a.repairs {
			t.cfg.Event("ScrapeRepaired", "target", t.Name, "metric", r, "repair", "its type gauge is read as counter")
		}
	}
}

func (t *target) failed(err error, first, last bool) {
	block := []series.Sample{up(0)}
	t.store(t.cfg.Now(), append(block, t.stale()...))
	t.mu.Lock()
	t.due++
	news := !t.repeat.failing || t.repeat.lastError != err.Error()
	t.repeat.fail(err, first, last)
	t.mu.Unlock()
	if news {
		t.cfg.Event("ScrapeFailed", "target", t.Name, "url", t.URL, "error", err)
	}
}

func (t *target) missed(n int64) {
	t.mu.Lock()
	t.due += n
	t.repeat.due += n
	t.mu.Unlock()
	t.cfg.Event("ScrapesMissed", "target", t.Name, "count", n)
}

// end marks every series as ended.
func (t *target) end() {
	if stale := t.stale(); len(stale) > 0 {
		t.store(t.cfg.Now(), stale)
	}
	if err := t.writer.Sync(); err != nil {
		t.cfg.WriteFailed(err)
	}
}

// stale returns a marker for each live series and forgets them.
func (t *target) stale() []series.Sample {
	out := make([]series.Sample, 0, len(t.live))
	for _, labels := range t.live {
		out = append(out, series.Sample{Labels: labels, Value: series.StaleNaN()})
	}
	t.live = nil
	return out
}

func (t *target) store(at time.Time, block []series.Sample) {
	if err := t.writer.Append(at, block); err != nil {
		t.cfg.WriteFailed(err)
	}
}

func up(v float64) series.Sample { return series.Sample{Labels: series.NewLabels("up", nil), Value: v} }

func (t *target) counts() (due, good int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.due, t.good
}

func (t *target) counters() rundir.CounterTarget {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.repeat.result(t.Name)
}

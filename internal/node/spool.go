package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
	"assay.bench/internal/series"
)

const (
	// spoolFile and requestsFile are a client's files in samples/.
	spoolFile    = "load.series"
	requestsFile = "requests.jsonl"
	sampleEvery  = time.Second
	// shareEvery is how often samples go from the node's disk to the run directory.
	shareEvery = 5 * time.Second
)

// spool keeps samples, and the result so far of the repeat under way, on the node's own disk, where a write is cheap, and
// carries them to the run directory in larger pieces.
type spool struct {
	local string // the folder on the node's disk
	dir   string // the rank's in the run directory
	// sharing is held while something goes to the run directory: what is older never replaces what is newer.
	sharing  sync.Mutex
	writer   *series.Writer
	requests *buffered
}

// localSpool is the folder on the node's disk.
func localSpool(w *World, j *job, name string, rank int) string {
	return filepath.Join(w.TempDir, "assay-"+strconv.Itoa(os.Getuid())+"-"+j.plan.Key+"-"+name+"-"+strconv.Itoa(rank))
}

func openSpool(w *World, j *job, name string, rank int) (*spool, error) {
	s := &spool{local: localSpool(w, j, name, rank), dir: rundir.Rank(j.dir, name, rank)}
	// Mkdir refuses a folder that is there already: it could be another user's trap.
	if err := os.Mkdir(s.local, 0o700); err != nil {
		return nil, fmt.Errorf("samples need a new folder on the node's disk, which TMPDIR names: %w", err)
	}
	var err error
	if s.writer, err = series.Open(filepath.Join(s.local, spoolFile)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.local))
	}
	f, err := os.OpenFile(filepath.Join(s.local, requestsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errors.Join(err, s.writer.Close(), os.RemoveAll(s.local))
	}
	s.requests = &buffered{file: f, fill: make([]byte, 0, usual), spare: make([]byte, 0, usual)}
	return s, nil
}

// buffered is a file for lines that come in the middle of a measurement: who writes one never waits for the disk, unless it
// falls behind by far.
type buffered struct {
	file *os.File

	mu   sync.Mutex // of fill
	fill []byte

	writing sync.Mutex // of what follows, and of the file
	spare   []byte
}

const (
	// usual is what the lines of a second need, most is when a line waits until those before it are on the disk.
	usual = 1 << 20
	most  = 64 << 20
)

// Write is for concurrent use.
func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	b.fill = append(b.fill, p...)
	full := len(b.fill) >= most
	b.mu.Unlock()
	if full {
		return len(p), b.flush()
	}
	return len(p), nil
}

// flush writes what has come.
func (b *buffered) flush() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	b.fill, b.spare = b.spare[:0], b.fill
	b.mu.Unlock()
	_, err := b.file.Write(b.spare)
	return err
}

// second writes what came in the last second to the node's disk.
func (s *spool) second(at time.Time, samples []series.Sample) error {
	return errors.Join(s.writer.Append(at, samples), s.requests.flush())
}

// keep replaces a file of a repeat: the result so far, or what was stored.
func (s *spool) keep(repeat int, name string, content []byte) error {
	dir := rundir.Repeat(s.local, repeat)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return rundir.Replace(filepath.Join(dir, name), content)
}

// drop forgets what was kept of a repeat.
func (s *spool) drop(repeat int) error { return os.RemoveAll(rundir.Repeat(s.local, repeat)) }

// share brings the run directory up to date.
func (s *spool) share() error {
	s.sharing.Lock()
	defer s.sharing.Unlock()
	return carryAll(s.local, s.dir)
}

func (s *spool) close() error {
	return errors.Join(s.requests.flush(), s.requests.file.Close(), s.writer.Close(), s.share(), os.RemoveAll(s.local))
}

// sample keeps what the load does each second, and tells the status of each new phase, until ctx ends.
func (c *client) sample(ctx context.Context, k int, run *load.Run) {
	second := time.NewTicker(sampleEvery)
	defer second.Stop()
	edge := time.NewTimer(0)
	defer edge.Stop()
	for {
		select {
		case <-ctx.Done():
			c.check(c.spool.second(c.world.Now(), loadSamples(k, run.Live())))
			c.check(c.spool.share())
			return
		case <-second.C:
			c.check(c.spool.second(c.world.Now(), loadSamples(k, run.Live())))
			c.check(c.keep(k, run))
			if st := c.stage.Load(); st != nil {
				c.check(c.tell(k, st.objects.Manifest(true)))
			}
		case <-edge.C:
			c.status.must(c.live)
			edge.Reset(c.nextEdge(run.Live()))
		}
	}
}

// share carries to the run directory what is on the node's disk, until ctx ends. A file system that is slow must not keep
// the node's own waiting.
func (c *client) share(ctx context.Context) {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.check(c.spool.share())
		}
	}
}

// check ends the rank when something could not be written.
func (c *client) check(err error) {
	if err != nil {
		c.log("SamplesFailed", "error", err)
		c.stop(asEnding(err))
	}
}

// nextEdge is the time until a load changes its phase.
func (c *client) nextEdge(l load.Live) time.Duration {
	const late = 5 * time.Millisecond // a look just before the edge would have to be repeated
	var at time.Duration
	for _, length := range []rundir.Duration{c.spec.Warmup, c.spec.Duration, c.spec.Cooldown} {
		if at += length.D(); l.Elapsed < at {
			return at - l.Elapsed + late
		}
	}
	return beatFast
}

func loadSamples(repeat int, l load.Live) []series.Sample {
	labels := map[string]string{"repeat": strconv.Itoa(repeat)}
	one := func(name string, v float64) series.Sample {
		return series.Sample{Labels: series.NewLabels("assay_load_"+name, labels), Value: v}
	}
	return []series.Sample{
		one("requests_total", float64(l.Requests)), one("succeeded_total", float64(l.Succeeded)),
		one("failed_total", float64(l.Failed)), one("in_flight", float64(l.InFlight)), one("queued", float64(l.Queued)),
		one("rate", l.Rate), one("e2e_p99_seconds", l.P99.Seconds()), one("elapsed_seconds", l.Elapsed.Seconds()),
	}
}

package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// spool keeps samples on the node's own disk, where a write is cheap, and carries them to the run directory in larger
// pieces.
type spool struct {
	local, shared string // folders
	writer        *series.Writer
	requests      *buffered
}

// localSpool is the folder on the node's disk, sharedSpool the one in the run directory.
func localSpool(w *World, j *job, name string, rank int) string {
	return filepath.Join(w.TempDir, "assay-"+strconv.Itoa(os.Getuid())+"-"+j.plan.Key+"-"+name+"-"+strconv.Itoa(rank))
}

func sharedSpool(j *job, name string, rank int) string {
	return filepath.Join(rundir.Rank(j.dir, name, rank), rundir.SamplesDir)
}

func openSpool(w *World, j *job, name string, rank int) (*spool, error) {
	s := &spool{local: localSpool(w, j, name, rank), shared: sharedSpool(j, name, rank)}
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
	s.requests = &buffered{file: f, out: bufio.NewWriterSize(f, 1<<20)}
	return s, nil
}

// buffered is a file that is written in large pieces, for lines that come in the middle of a measurement.
type buffered struct {
	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
}

// Write is for concurrent use.
func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *buffered) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Flush()
}

// second writes what came in the last second to the node's disk.
func (s *spool) second(at time.Time, samples []series.Sample) error {
	return errors.Join(s.writer.Append(at, samples), s.requests.flush())
}

// share appends to the run directory what it does not have yet.
func (s *spool) share() error { return carryAll(s.local, s.shared) }

func (s *spool) close() error {
	return errors.Join(s.requests.flush(), s.requests.file.Close(), s.writer.Close(), s.share(), os.RemoveAll(s.local))
}

// rescue carries what a killed client left on the node's disk.
func rescue(w *World, j *job, name string, rank int) error {
	local := localSpool(w, j, name, rank)
	if _, err := os.Stat(local); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(carryAll(local, sharedSpool(j, name, rank)), os.RemoveAll(local))
}

func carryAll(from, to string) error {
	return errors.Join(carry(filepath.Join(from, spoolFile), filepath.Join(to, spoolFile)),
		carry(filepath.Join(from, requestsFile), filepath.Join(to, requestsFile)))
}

// carry appends to one file what another, of which it is the beginning, has more.
func carry(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil || st.Size() == 0 {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size, err := out.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = in.Seek(size, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(out, in)
	}
	return errors.Join(err, out.Close())
}

// sample keeps what the load does each second, and tells the status of each new phase, until ctx ends.
func (c *client) sample(ctx context.Context, k int, run *load.Run) {
	second, fifth := time.NewTicker(sampleEvery), time.NewTicker(shareEvery)
	defer second.Stop()
	defer fifth.Stop()
	edge := time.NewTimer(0)
	defer edge.Stop()
	check := func(err error) {
		if err != nil {
			c.log("SamplesFailed", "error", err)
			c.stop(asEnding(err))
		}
	}
	for {
		select {
		case <-ctx.Done():
			check(c.spool.second(c.world.Now(), loadSamples(k, run.Live())))
			check(c.spool.share())
			return
		case <-fifth.C:
			check(c.spool.share())
		case <-second.C:
			check(c.spool.second(c.world.Now(), loadSamples(k, run.Live())))
		case <-edge.C:
			c.status.must(c.live)
			edge.Reset(c.nextEdge(run.Live()))
		}
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

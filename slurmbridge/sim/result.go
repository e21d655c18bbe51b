package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"assay.bench/internal/rundir"
)

// rankResult is the file that package results reads as a Rank: the same fields in the same order, for its SHA-256 is
// over them. A test reads it with that package.
type rankResult struct {
	Version      int     `json:"version"`
	Client       string  `json:"client"`
	Rank         int     `json:"rank"`
	Ranks        int     `json:"ranks"`
	Repeat       int     `json:"repeat"`
	Workload     string  `json:"workload"`
	Mode         string  `json:"mode"`
	Concurrency  int     `json:"concurrency,omitempty"`
	Rate         float64 `json:"rate,omitempty"`
	Seed         uint64  `json:"seed"`
	ScheduleHash string  `json:"scheduleHash,omitempty"`
	T0           int64   `json:"t0"`
	Warmup       int64   `json:"warmup"`
	Window       int64   `json:"window"`
	Cooldown     int64   `json:"cooldown"`
	Batch        int64   `json:"batch"`
	Truncated    bool    `json:"truncated,omitempty"`
	Reason       string  `json:"reason,omitempty"`
	Measured     counts  `json:"measured"`
	All          counts  `json:"all"`
	Operations   []kind  `json:"operations"`
	Totals       []total `json:"totals,omitempty"`
	Metrics      []meter `json:"metrics"`
	Audit        audit   `json:"audit"`
	SHA256       string  `json:"sha256"`
	End          bool    `json:"end"`
}

type counts struct {
	Offered   int64 `json:"offered"`
	Sent      int64 `json:"sent"`
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	Attempts  int64 `json:"attempts"`
	Completed int64 `json:"completed"`
}

// kind is one kind of requests: all of them, without a name, where the workload has one kind.
type kind struct {
	Name      string `json:"name,omitempty"`
	Succeeded int64  `json:"succeeded"`
	Failed    int64  `json:"failed"`
}

type total struct {
	Name   string `json:"name"`
	All    int64  `json:"all"`
	Window int64  `json:"window"`
}

type meter struct {
	Name      string  `json:"name"`
	Unit      string  `json:"unit"`
	Count     int64   `json:"count"`
	Sum       int64   `json:"sum"`
	Min       int64   `json:"min"`
	Max       int64   `json:"max"`
	Histogram string  `json:"histogram"`
	Batches   []batch `json:"batches,omitempty"`
}

type batch struct {
	Count     int64  `json:"count"`
	Sum       int64  `json:"sum"`
	Histogram string `json:"histogram,omitempty"`
}

type audit struct {
	Sound         bool    `json:"sound"`
	SendLagP99    int64   `json:"sendLagP99"`
	SendLagMax    int64   `json:"sendLagMax"`
	SendLagLimit  int64   `json:"sendLagLimit"`
	RunQueueRatio float64 `json:"runQueueRatio"`
	RunQueueLimit float64 `json:"runQueueLimit"`
	CPURatio      float64 `json:"cpuRatio"`
	Throttled     int64   `json:"throttled"`
	GCPauseMax    int64   `json:"gcPauseMax"`
	GOMAXPROCS    int     `json:"gomaxprocs"`
}

// What a simulated request is like.
const (
	batchCount   = 64
	mostRequests = 4000
	simTTFT      = 40 * time.Millisecond
	simE2E       = 240 * time.Millisecond
	simOutput    = 32
	variants     = 16
)

// rateOf is the requests per second of one rank.
func (c *Cluster) rateOf(r *rank) float64 {
	rate := 1 / simE2E.Seconds()
	switch {
	case r.client.OpenLoop != nil:
		rate = r.client.OpenLoop.Rate / float64(r.client.Ranks)
	case r.client.ClosedLoop != nil:
		each := simE2E + r.client.ClosedLoop.ThinkTime.D()
		rate = float64(shareOf(r.client.ClosedLoop.Concurrency, r)) / each.Seconds()
	}
	return min(rate, mostRequests/max(r.client.Duration.D().Seconds(), 1))
}

// shareOf is a rank's part of a total.
func shareOf(total int, r *rank) int {
	share := total / r.client.Ranks
	if r.n < total%r.client.Ranks {
		share++
	}
	return share
}

// resultOf is result.json of the present repeat, as far as the load has come.
func (c *Cluster) resultOf(r *rank, e rundir.Exit) []byte {
	cl := r.client
	window := min(cl.Duration.D(), max(0, c.unscaled(c.now.Sub(r.t0))-cl.Warmup.D()))
	rate := c.rateOf(r)
	n := int64(rate * window.Seconds())
	warm := int64(rate * (cl.Warmup.D() + cl.Cooldown.D()).Seconds())
	out := rankResult{
		Version: 1, Client: cl.Name, Rank: r.n, Ranks: cl.Ranks, Repeat: r.repeat, Workload: "sim", Mode: "closed",
		Seed: cl.Seed, T0: r.t0.UnixNano(), Warmup: int64(cl.Warmup), Window: int64(window), Cooldown: int64(cl.Cooldown),
		Batch: int64(window) / batchCount, Truncated: e.Truncated,
		Measured: countsOf(n), All: countsOf(n + warm), Operations: []kind{{Succeeded: n}}, Totals: totalsOf(cl, n, n+warm),
		Audit: audit{Sound: true, SendLagP99: 50_000, SendLagMax: 200_000, SendLagLimit: 2_000_000, RunQueueLimit: 0.05, CPURatio: 0.02, GOMAXPROCS: 2},
		End:   true,
	}
	if e.Truncated {
		out.Reason = e.Reason
	}
	if cl.OpenLoop != nil {
		out.Mode, out.Rate = "open", cl.OpenLoop.Rate/float64(cl.Ranks)
	} else if cl.ClosedLoop != nil {
		out.Concurrency = shareOf(cl.ClosedLoop.Concurrency, r)
	}
	sum := sha256.Sum256([]byte(cl.Name))
	out.ScheduleHash = hex.EncodeToString(sum[:])
	variant := draw(c.o.Seed, cl.Seed, cl.Name, r.n, r.repeat) % variants
	if cl.S3 != nil {
		c.fillS3(&out, cl, n, n+warm, variant)
	} else {
		set := c.histograms(int(n), variant)
		out.Metrics = set[:]
	}
	r.totals[r.repeat] = append(slices.Clone(out.Totals), total{Name: "requests", All: out.All.Attempts})
	b, err := json.Marshal(out)
	if err != nil {
		panic(err) // our own type, without anything that JSON cannot write
	}
	digest := sha256.Sum256(b)
	out.SHA256 = hex.EncodeToString(digest[:])
	return c.encode(out)
}

func countsOf(n int64) counts {
	return counts{Offered: n, Sent: n, Succeeded: n, Attempts: n, Completed: n}
}

// totalsOf is what a workload counts over so many requests, of which some are in the window.
func totalsOf(cl *rundir.Client, window, all int64) []total {
	if cl.Inference == nil {
		return nil
	}
	of := func(name string, t rundir.Tokens) total {
		mean := int64(t.Min+t.Max) / 2
		return total{Name: name, All: all * mean, Window: window * mean}
	}
	return []total{of("input_tokens", cl.Inference.InputTokens), of("output_tokens", cl.Inference.OutputTokens)}
}

// histKey and histSet: equal numbers of requests share one of a few seeded sets, for encoding is most of the work.
type histKey struct {
	n       int
	variant uint64
}

type histSet [3]meter

func (c *Cluster) histograms(n int, variant uint64) histSet {
	key := histKey{n, variant}
	if set, ok := c.cache[key]; ok {
		return set
	}
	random := rand.New(rand.NewPCG(c.o.Seed, variant))
	lot := math.Exp(0.05 * random.NormFloat64()) // a repeat has its own level
	meters := [3]*meterMaker{newMeter("ttft"), newMeter("e2e"), newMeter("tpot")}
	for i := range n {
		ttft := int64(float64(simTTFT) * lot * math.Exp(0.3*random.NormFloat64()))
		rest := int64(float64(simE2E-simTTFT) * lot * math.Exp(0.1*random.NormFloat64()))
		part := i * batchCount / n
		meters[0].add(part, ttft)
		meters[1].add(part, ttft+rest)
		meters[2].add(part, rest/(simOutput-1))
	}
	var set histSet
	for i, m := range meters {
		set[i] = m.done()
	}
	c.cache[key] = set
	return set
}

// meterMaker gets values in the order of their parts, so that one histogram serves all parts.
type meterMaker struct {
	meter
	whole, part *hdrhistogram.Histogram
	at          int
}

func newMeter(name string) *meterMaker {
	return &meterMaker{
		meter: meter{Name: name, Unit: "ns", Batches: make([]batch, batchCount)}, whole: newHistogram(), part: newHistogram(),
	}
}

// newHistogram covers 1 ns to an hour with 3 significant digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Hour), 3) }

func (m *meterMaker) add(part int, v int64) {
	if part != m.at {
		m.closePart()
		m.at = part
	}
	if m.Count == 0 || v < m.Min {
		m.Min = v
	}
	m.Max = max(m.Max, v)
	m.Count++
	m.Sum += v
	m.Batches[part].Count++
	m.Batches[part].Sum += v
	// Both errors are about values beyond an hour.
	_ = m.whole.RecordValue(v)
	_ = m.part.RecordValue(v)
}

func (m *meterMaker) closePart() {
	if m.Batches[m.at].Count > 0 {
		m.Batches[m.at].Histogram = encodeHistogram(m.part)
		m.part.Reset()
	}
}

func (m *meterMaker) done() meter {
	m.closePart()
	m.Histogram = encodeHistogram(m.whole)
	return m.meter
}

func encodeHistogram(h *hdrhistogram.Histogram) string {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // an encoding into memory
	}
	return string(b)
}

// countersOf says that every counter of a service agrees with what its clients counted.
func (c *Cluster) countersOf(r *rank) rundir.Counters {
	out := rundir.Counters{Version: rundir.Version, Service: r.name, Rank: r.n, Repeat: r.repeat}
	length := int64(c.unscaled(c.now.Sub(r.busy)) / time.Second)
	for _, s := range r.scrapes() {
		t := rundir.CounterTarget{Name: s.Name, Due: length + 1, Good: length + 1, FirstGood: true, LastGood: true, Series: []rundir.CounterSeries{}}
		for _, check := range r.service.CrossChecks {
			if check.Target != s.Name {
				continue
			}
			total := c.totalOf(r, check.Total)
			if s.Leader {
				total *= float64(max(1, r.service.Group))
			}
			t.Series = append(t.Series, rundir.CounterSeries{Name: check.Metric, Labels: check.Labels, Last: total, Increase: total})
		}
		out.Targets = append(out.Targets, t)
	}
	return out
}

// totalOf is a total of the clients of a service over its present repeat, as this rank of the service sees its part: one of
// as many equal ones as there are ranks.
func (c *Cluster) totalOf(s *rank, name string) float64 {
	var sum int64
	for _, comp := range s.job.clients() {
		for n := range comp.Ranks {
			dir := c.dirOf(s.job, comp, n)
			client := c.ranks[dir]
			if client == nil {
				continue
			}
			for _, t := range client.totals[s.repeat] {
				if t.Name == name {
					sum += t.All
				}
			}
		}
	}
	return float64(sum) / float64(s.service.Ranks)
}

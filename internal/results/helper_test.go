package results

import (
	"encoding/base64"
	"encoding/binary"
	"hash/adler32"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// request is one that a fake load measured: its latencies in ns by metric, or that it failed.
type request struct {
	batch  int
	failed bool
	values map[string][]int64
}

// rankOf makes a rank's result from its requests, with the histograms that the client writes: 1 µs to 1 h in ns, three
// digits.
func rankOf(t testing.TB, head Rank, requests []request) Rank {
	t.Helper()
	r := head
	r.Version, r.Workload = RankVersion, "inference"
	r.Batch = r.Window / Batches
	failed := make([]int64, Batches)
	for _, q := range requests {
		r.Measured.Offered++
		if q.failed {
			r.Measured.Failed++
			failed[q.batch]++
			continue
		}
		r.Measured.Succeeded++
	}
	c := &r.Measured
	c.Sent, c.Attempts, c.Completed = c.Offered, c.Offered, c.Succeeded
	r.Totals = []Total{{"input_tokens", 32 * c.Offered, 32 * c.Succeeded}, {"output_tokens", 32 * c.Succeeded, 32 * c.Succeeded}}
	if c.Failed == 0 {
		failed = nil
	}
	r.Operations = []Operation{{Succeeded: c.Succeeded, Failed: c.Failed, FailedBatches: failed}}
	r.All = r.Measured
	for _, name := range latencies() {
		if m := metricOf(t, name, requests); m.Count > 0 {
			r.Metrics = append(r.Metrics, m)
		}
	}
	return r
}

func metricOf(t testing.TB, name string, requests []request) Metric {
	t.Helper()
	m := Metric{Name: name, Unit: "ns", Batches: make([]Batch, Batches)}
	var all []int64
	byBatch := make([][]int64, Batches)
	for _, q := range requests {
		byBatch[q.batch] = append(byBatch[q.batch], q.values[name]...)
		all = append(all, q.values[name]...)
	}
	for i, values := range byBatch {
		if len(values) > 0 {
			m.Batches[i] = Batch{Count: int64(len(values)), Sum: total64(values), Histogram: encode(t, values)}
		}
	}
	if len(all) > 0 {
		m.Count, m.Sum, m.Min, m.Max, m.Histogram = int64(len(all)), total64(all), slices.Min(all), slices.Max(all), encode(t, all)
	}
	return m
}

func total64(values []int64) (out int64) {
	for _, v := range values {
		out += v
	}
	return out
}

// encode writes a histogram as the client does: 1 µs to 1 h in ns, three digits. The library does the same, many times
// slower; a test compares the two.
func encode(t testing.TB, values []int64) string {
	t.Helper()
	const unit = 9
	var counters []int // one entry for each value
	for _, v := range values {
		v = min(v, int64(time.Hour))
		bucket := max(0, bits.Len64(uint64(v))-unit-halfMagnitude-1)
		counters = append(counters, bucket<<halfMagnitude+int(v>>(bucket+unit)))
	}
	slices.Sort(counters)
	var payload []byte
	for next := 0; len(counters) > 0; {
		at, n := counters[0], 1
		for n < len(counters) && counters[n] == at {
			n++
		}
		if at > next {
			payload = binary.AppendUvarint(payload, uint64(at-next)<<1-1) // zigzag of a negative number
		}
		payload = binary.AppendUvarint(payload, uint64(n)<<1)
		next, counters = at+1, counters[n:]
	}
	head := binary.BigEndian.AppendUint32(nil, payloadCookie|0x10)
	head = binary.BigEndian.AppendUint32(head, uint32(len(payload)))
	head = binary.BigEndian.AppendUint32(head, 0)
	head = binary.BigEndian.AppendUint32(head, histDigits)
	head = binary.BigEndian.AppendUint64(head, uint64(time.Microsecond))
	head = binary.BigEndian.AppendUint64(head, uint64(time.Hour))
	head = binary.BigEndian.AppendUint64(head, math.Float64bits(1))
	return packed(t, append(head, payload...))
}

// packed wraps a histogram's head and payload, not compressed but in the format: a compressor costs 1 MB each.
func packed(t testing.TB, plain []byte) string {
	t.Helper()
	if len(plain) > math.MaxUint16 {
		t.Fatalf("%d bytes do not fit into one block", len(plain))
	}
	z := []byte{0x78, 0x01, 1} // zlib's head, and that of a last block as it is
	z = binary.LittleEndian.AppendUint16(z, uint16(len(plain)))
	z = binary.LittleEndian.AppendUint16(z, ^uint16(len(plain)))
	z = append(z, plain...)
	z = binary.BigEndian.AppendUint32(z, adler32.Checksum(plain))
	out := binary.BigEndian.AppendUint32(nil, packedCookie|0x10)
	out = binary.BigEndian.AppendUint32(out, uint32(len(z)))
	return base64.StdEncoding.EncodeToString(append(out, z...))
}

// fake is a load of which every rank and repeat has requests of its own, drawn from a seed.
type fake struct {
	ranks, repeats, requests int
	seed                     uint64
	// ttft is the mean time to first token in ms; failures the share of requests that fail.
	ttft, failures float64
	mode           string
	change         func(*Rank)
}

func (f fake) results(t testing.TB) []Rank {
	t.Helper()
	var out []Rank
	for k := 1; k <= f.repeats; k++ {
		for n := range f.ranks {
			random := rand.New(rand.NewPCG(f.seed, uint64(1000*k+n)))
			level := 1 + 0.01*random.NormFloat64()
			var requests []request
			for i := range f.requests {
				requests = append(requests, f.request(random, i*Batches/f.requests, level))
			}
			head := Rank{
				Client: "loadgen", Rank: n, Ranks: f.ranks, Repeat: k, Mode: "closed", Concurrency: 4, Seed: f.seed,
				ScheduleHash: "a0", T0: 1_700_000_000_000_000_000 + int64(k), Warmup: 1_500_000_000, Window: int64(f.requests) * 39_000_000,
				Audit: Audit{Sound: true, SendLagP99: 50_000, SendLagMax: 90_000, SendLagLimit: 2_000_000, RunQueueLimit: 0.05, GOMAXPROCS: 2},
			}
			if f.mode == "open" {
				head.Mode, head.Concurrency, head.Rate = "open", 0, 25
			}
			r := rankOf(t, head, requests)
			if r.Measured.Failed > 0 {
				r.Errors = []ErrorCount{{Kind: "http_5xx", Code: 503, Count: r.Measured.Failed, Sample: "overloaded: try again"}}
			}
			if f.change != nil {
				f.change(&r)
			}
			out = append(out, r)
		}
	}
	return out
}

func (f fake) request(random *rand.Rand, batch int, level float64) request {
	ms := func(x float64) int64 { return int64(max(0.01, x) * 1e6) }
	first := ms(level * f.ttft * math.Exp(0.1*random.NormFloat64()))
	q := request{batch: batch, failed: random.Float64() < f.failures, values: map[string][]int64{}}
	if q.failed {
		return q
	}
	var rest int64
	for range 31 {
		gap := ms(4 + 0.5*random.NormFloat64())
		rest += gap
		q.values["itl_token"] = append(q.values["itl_token"], gap)
	}
	lag := ms(0.05 * random.ExpFloat64())
	q.values["ttft"], q.values["e2e"], q.values["tpot"] = []int64{first}, []int64{first + rest}, []int64{rest / 31}
	q.values["send_lag"] = []int64{lag}
	return q
}

// head is a result without its numbers.
func head(repeats int) Result {
	at := time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)
	return Result{
		Benchmark: "quickstart", Namespace: "default", Run: "g1", Started: at, Ended: at.Add(62 * time.Second), Seed: 42,
		Site: "local", Directory: "/scratch/run", Jobs: []Job{{Name: "quickstart-g1", ID: "4711", Attempt: 1, Nodes: "node1", Reason: "Ended"}},
		RepeatsPlanned: repeats, Restart: "Process", SpecHash: "b1", Version: "v0.1.0",
		Services: []ServiceResult{{Name: "sim", Engine: "llmsim", Endpoint: "127.0.0.1:8000", Outcome: "Ended", ScrapesDue: 480, ScrapesGood: 480, Coverage: 1}},
	}
}

func input(t testing.TB, f fake, slos ...SLO) Input {
	t.Helper()
	return Input{
		Head:    head(f.repeats),
		Clients: []ClientInput{{Name: "loadgen", Target: "sim", Ranks: f.ranks, Results: f.results(t)}},
		SLOs:    slos,
	}
}

func build(t testing.TB, in Input) Result {
	t.Helper()
	r, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func atMost(metric, statistic string, limit float64) SLO {
	return SLO{Client: "loadgen", Metric: metric, Statistic: statistic, AtMost: &limit}
}

func atLeast(metric string, limit float64) SLO {
	return SLO{Client: "loadgen", Metric: metric, Statistic: "value", AtLeast: &limit}
}

package results

import (
	"math"
	"math/rand/v2"
	"testing"
)

// loaded is a rank that measured so many requests of 32 tokens, with every metric, encoded as the client does.
func loaded(b *testing.B, seed uint64, requests int) Rank {
	b.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	var all []request
	for i := range requests {
		q := request{batch: i * Batches / requests, values: map[string][]int64{}}
		for _, name := range latencies() {
			n := 1
			if isPerGap(name) {
				n = 31
			}
			for range n {
				q.values[name] = append(q.values[name], int64(30e6*math.Exp(0.3*random.NormFloat64())))
			}
		}
		all = append(all, q)
	}
	r := rankOf(b, Rank{Client: "loadgen", Mode: "closed", Concurrency: 4, Window: 120 * second, Audit: Audit{Sound: true}}, all)
	for i, name := range latencies() {
		var whole []int64
		for k := range Batches {
			var values []int64
			for _, q := range all {
				if q.batch == k {
					values = append(values, q.values[name]...)
				}
			}
			whole = append(whole, values...)
			r.Metrics[i].Batches[k].Histogram = library(b, 1000, values)
		}
		r.Metrics[i].Histogram = library(b, 1000, whole)
	}
	return r
}

// A client of 16 ranks and six repeats of 120 s at 50 requests/s each: what a controller does once at the end of a run.
func BenchmarkBuild(b *testing.B) {
	some := []Rank{loaded(b, 1, 6000), loaded(b, 2, 6000)}
	client := ClientInput{Name: "loadgen", Target: "sim", Ranks: 16}
	for k := range 6 {
		for n := range 16 {
			r := some[(n+k)%len(some)]
			r.Rank, r.Repeat = n, k+1
			client.Results = append(client.Results, r)
		}
	}
	in := Input{Head: head(6), Clients: []ClientInput{client}, SLOs: []SLO{atMost("ttft", "p99", 0.06), atMost("e2e", "p99.9", 0.06)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(in); err != nil {
			b.Fatal(err)
		}
	}
}

// One metric of 16 ranks: its histogram and its 64 batches.
func BenchmarkMerge(b *testing.B) {
	r := loaded(b, 1, 6000)
	var ranks []Rank
	for n := range 16 {
		r.Rank = n
		ranks = append(ranks, r)
		ranks[n].Metrics = r.Metrics[1:2]
	}
	var d decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mergeRanks(&d, ranks); err != nil {
			b.Fatal(err)
		}
	}
}

// Reading one rank's file.
func BenchmarkParseRank(b *testing.B) {
	file, err := Seal(loaded(b, 1, 6000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRank(file); err != nil {
			b.Fatal(err)
		}
	}
}

// Writing one rank's file, at the end of a repeat and each second before it.
func BenchmarkSeal(b *testing.B) {
	for name, seal := range map[string]func(Rank) ([]byte, error){"indented": Seal, "compact": SealCompact} {
		b.Run(name, func(b *testing.B) {
			r := loaded(b, 1, 6000)
			b.ReportAllocs()
			for b.Loop() {
				file, err := seal(r)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(file)))
			}
		})
	}
}

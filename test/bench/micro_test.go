//go:build bench

package bench

import (
	"bytes"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// recording is what the client does for one operation: its counts, tokens and latencies, from any goroutine. The library
// keeps the latencies alone.
func recording(t *testing.T, r *rows, s size) {
	found := goBench(t, "../../internal/load", "^BenchmarkRecord(HDR)?$", s.repeats)
	ns, baseline := found["Record"]["sec/op"], found["RecordHDR"]["sec/op"]
	r.atMostBeside("record one operation, beside its latencies in HDR histograms", "µs", 0.2, micro(ns), micro(baseline))
	r.atMost("record one operation, allocations", "", 0, found["Record"]["allocs/op"]...)
}

// merging compares the p99.9 of merged parts with that of all values.
func merging(t *testing.T, r *rows, s size) {
	found := goBench(t, "../../internal/results", "^BenchmarkMergedTail$", s.repeats)
	r.atMost("p99.9 of 8 merged parts, off that of the union", "%", 0.1, found["MergedTail"]["%-off"]...)
}

func micro(seconds []float64) []float64 {
	out := make([]float64, len(seconds))
	for i, s := range seconds {
		out[i] = s * 1e6
	}
	return out
}

// goBench runs benchmarks of a package and returns their values by name and unit.
func goBench(t *testing.T, folder, pattern string, count int) map[string]map[string][]float64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-count", strconv.Itoa(count), ".")
	cmd.Dir = folder
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s in %s: %v\n%s", cmd, folder, err, text)
	}
	found := map[string]map[string][]float64{}
	for reader := benchfmt.NewReader(bytes.NewReader(text), folder); reader.Scan(); {
		result, is := reader.Result().(*benchfmt.Result)
		if !is {
			continue
		}
		name := string(result.Name.Base())
		if found[name] == nil {
			found[name] = map[string][]float64{}
		}
		for _, v := range result.Values {
			found[name][v.Unit] = append(found[name][v.Unit], v.Value)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s in %s: no benchmark\n%s", cmd, folder, text)
	}
	return found
}

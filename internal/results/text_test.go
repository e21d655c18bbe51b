package results

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func text(t testing.TB, r Result) string {
	t.Helper()
	var out bytes.Buffer
	if err := Summary(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// ends are runs as people meet them, one for each outcome.
func ends(t testing.TB) map[string]Input {
	t.Helper()
	six := fake{ranks: 1, repeats: 6, requests: 152, seed: 1, ttft: 30}
	slos := []SLO{atMost("ttft", "p95", 0.06), atLeast("success_ratio", 0.99)}
	checks := func(in Input) Input {
		for k := 1; k <= in.Head.RepeatsPlanned; k++ {
			in.Checks = append(in.Checks, CheckInput{
				Service: "sim", Repeat: k, Metric: "vllm:generation_tokens_total", Total: "output_tokens", Increase: 4864, Known: true, Clients: []string{"loadgen"},
			})
		}
		return in
	}
	passed := checks(input(t, six, slos...))
	passed.Head.SharedNode = true
	passed.Head.Services[0].GPUs = []GPUCheck{{Host: "mel2001", State: GPUVerified, Given: []string{"GPU-a"}, Seen: []string{"GPU-a"}}}

	failing := fake{ranks: 2, repeats: 6, requests: 400, seed: 1, ttft: 30, failures: 0.02}
	violated := input(t, failing, atMost("ttft", "p99", 0.036), atMost("ttft", "p50", 0.05), atLeast("success_ratio", 0.99))

	limited := six
	limited.change = func(r *Rank) {
		if r.Repeat == 4 {
			r.Audit.Sound, r.Audit.Violations = false, []string{"send lag p99 3.1ms > limit 2ms", "ports ran out: use fewer connections, or more client nodes"}
		}
	}
	invalid := checks(input(t, limited, slos...))
	invalid.Checks[2].Increase = 4800

	partial := input(t, fake{ranks: 2, repeats: 3, requests: 152, seed: 1, ttft: 30}, slos...)
	partial.Clients[0].Results = slices.Delete(partial.Clients[0].Results, 5, 6)

	partial.Head.Services[0].GPUs = []GPUCheck{
		{Host: "mel2001", State: GPUVerified, Given: []string{"GPU-a"}, Seen: []string{"GPU-a"}},
		{Rank: 1, Host: "mel2002", State: GPUUnverified, Message: "nvidia-smi is not in the PATH of mel2002"},
	}

	failed := Input{Head: head(6), Clients: []ClientInput{{Name: "loadgen", Target: "sim", Ranks: 1}}, SLOs: slos,
		Failure: &Failure{Outcome: Failed, Message: "service sim: ServiceDied: the server ended with exit code 137 before it was ready; the last lines of its log are in sim/0/log, and the node had 2 GiB of memory left"}}
	failed.Head.Services[0] = ServiceResult{Name: "sim", Engine: "llmsim", Outcome: "ServiceDied",
		GPUs: []GPUCheck{{Host: "mel2001", State: GPUWrong, Message: "in words"}}}

	undecided := input(t, fake{ranks: 1, repeats: 3, requests: 100, seed: 1, ttft: 30, mode: "open"},
		atMost("ttft", "p99", 0.06), atLeast("output_token_throughput", 700), atMost("ttft", "p50", 0.0601))
	undecided.Head.TimeScale = "0.1"
	return map[string]Input{"passed": passed, "violated": violated, "invalid": invalid, "partial": partial, "failed": failed, "undecided": undecided}
}

func TestSummary(t *testing.T) {
	for name, in := range ends(t) {
		got := text(t, build(t, in))
		path := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (write anew with -update):\n%s", name, diff)
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width || strings.HasSuffix(line, " \n") {
				t.Errorf("%s: a line of %d characters: %q", name, n, line)
			}
		}
	}
}

func TestSummarySaysWhenItCannotWrite(t *testing.T) {
	if err := Summary(full{}, Result{}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestQuantity(t *testing.T) {
	tests := []struct {
		x    float64
		unit string
		want string
	}{
		{0, "s", "0 µs"}, {0.000_000_5, "s", "0.500 µs"}, {0.000_012_34, "s", "12.3 µs"}, {0.000_999_4, "s", "999 µs"},
		{0.000_999_6, "s", "1.00 ms"}, {0.0012, "s", "1.20 ms"}, {0.4125, "s", "412 ms"}, {0.999_6, "s", "1.00 s"},
		{1.5, "s", "1.50 s"}, {75.25, "s", "75.2 s"}, {3661, "s", "3,661 s"}, {-0.002, "s", "-2.00 ms"},
		{25.31, "1/s", "25.3/s"}, {811, "1/s", "811/s"}, {1234.5, "1/s", "1,234/s"}, {12_345_678, "1/s", "12,345,678/s"}, {0.0123, "1/s", "0.0123/s"},
		{1, "1", "100 %"}, {0.9997, "1", "99.97 %"}, {0.999_99, "1", "99.999 %"}, {0.999_999_999_999, "1", "99.9999999 %"},
		{0.9949, "1", "99.5 %"}, {0.5, "1", "50.0 %"}, {0.00031, "1", "0.0310 %"}, {0, "1", "0 %"}, {0.97, "%", "97.0 %"},
		{1e20, "", "1e+20"}, {1e-12, "", "1e-12"}, {42, "", "42.0"}, {-1234567, "", "-1,234,567"},
	}
	for _, tc := range tests {
		if got := Quantity(tc.x, tc.unit); got != tc.want {
			t.Errorf("%v %s: got %q, want %q", tc.x, tc.unit, got, tc.want)
		}
	}
}

func TestBound(t *testing.T) {
	for _, tc := range []struct {
		x    float64
		unit string
		want string
	}{
		{0.06, "s", "60 ms"}, {0.5, "s", "500 ms"}, {1.25, "s", "1.25 s"}, {0.99, "1", "99 %"}, {0.9995, "1", "99.95 %"}, {1, "1", "100 %"},
		{700, "1/s", "700/s"}, {12_500, "1/s", "12,500/s"}, {0.000_3, "s", "300 µs"}, {0, "s", "0 µs"}, {1e300, "1/s", "1e+300/s"},
	} {
		if got := bound(tc.x, tc.unit); got != tc.want {
			t.Errorf("%v %s: got %q, want %q", tc.x, tc.unit, got, tc.want)
		}
	}
}

// A number on one side of a limit must not read as the limit.
func TestApart(t *testing.T) {
	for _, tc := range []struct {
		x, limit float64
		want     string
	}{
		{0.0351, 0.06, "35.1 ms"}, {0.060_04, 0.06, "60.04 ms"}, {0.059_999_7, 0.06, "59.9997 ms"}, {0.06, 0.06, "60.0 ms"}, {0.06, 1.5, "60.0 ms"},
	} {
		if got := apart(tc.x, tc.limit, "s"); got != tc.want {
			t.Errorf("%v against %v: got %q, want %q", tc.x, tc.limit, got, tc.want)
		}
	}
}

func TestValueString(t *testing.T) {
	tests := map[string]Value{
		"35.1 ms (34.8–35.9 ms over 6 runs)":            {Unit: "s", Value: new(0.0351), Low: new(0.0348), High: new(0.0359), Interval: OverRuns, Runs: 6},
		"≥ 34.8 ms (too few requests for an upper end)": {Unit: "s", Value: new(0.0351), Low: new(0.0348), Interval: OverRequests, AtLeast: true, Note: "too few requests for an upper end"},
		"none (everything failed)":                      {Unit: "s", Interval: NoInterval, Note: "everything failed"},
		"99.97 % (99.9–99.99 % over 10,000 requests)":   {Unit: "1", Value: new(0.9997), Low: new(0.9991), High: new(0.9999), Interval: OverRequests, Requests: 10_000},
		"4.00 ms (3.998–4.002 ms over 28,272 gaps)":     {Unit: "s", Value: new(0.004), Low: new(0.003998), High: new(0.004002), Interval: OverRequests, Requests: 912, Samples: 28_272},
		"25.3/s (an interval needs 6 repeats)":          {Unit: "1/s", Value: new(25.3), Interval: NoInterval, Note: "an interval needs 6 repeats"},
	}
	for _, want := range slices.Sorted(maps.Keys(tests)) {
		if got := tests[want].String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWords(t *testing.T) {
	s := summary{}
	s.words("  ! ", strings.Repeat("word ", 30))
	s.words("", strings.Repeat("x", 150))
	s.words("  ", "")
	want := "  ! " + strings.TrimSpace(strings.Repeat("word ", 19)) + "\n    " + strings.TrimSpace(strings.Repeat("word ", 11)) + "\n" + strings.Repeat("x", 150) + "\n\n"
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Error(diff)
	}
}

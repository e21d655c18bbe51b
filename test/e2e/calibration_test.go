//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.bench/internal/llmsim"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// The client's times against those that the simulator logged: both stamp with CLOCK_MONOTONIC, which all processes of
// a machine share.
func TestQuickstartAgreesWithTheSimulator(t *testing.T) {
	agree(t, "the simulator's", user.Cores(t)[0], func(t *testing.T, u *user.User) (string, bool) {
		r := pinnedQuickstart(t, u)
		u.Whole(r, 6)
		run := u.Path("out", "run")
		pairs := matched(t, run)
		exactTokens(t, r, run)
		return calibrate(r, pairs)
	})
}

// agree compares the client's times with another's, which an attempt does. Where the host took the client's core away, a
// p99 is the host's and not the client's.
func agree(t *testing.T, whose string, core int, attempt func(*testing.T, *user.User) (table string, agrees bool)) {
	t.Helper()
	attempts(t, 12, []int{core}, comparing(t), func(t *testing.T, u *user.User) bool {
		table, agrees := attempt(t, u)
		t.Logf("the client's times agree with %s: %t\n%s", whose, agrees, table)
		return agrees
	})
}

// pinnedQuickstart runs the quickstart with a core for the client's process alone, one for the server, and the others
// for the rest. With two cores the rest is beside the server: the simulator stamps a token just before it sends it, so
// that a server that is late makes no difference between the two clocks.
func pinnedQuickstart(t *testing.T, u *user.User) results.Result {
	t.Helper()
	all := user.Cores(t)
	client, server, rest := all[0], all[min(1, len(all)-1)], all[min(2, len(all)-1):]
	var c *user.Command
	user.StartedOn(t, rest, func() {
		c = u.Start("assay", "run", recipe(t, "quickstart.yaml"), "--output", u.Path("out"), "--time-scale", "0.4")
	})
	// Both processes live over all repeats; each new server is a child of the second.
	known := func(s rundir.Status) bool { return s.PID > 0 }
	user.Own(t, u.Await("quickstart", "sim", known).PID, server)
	s := u.Await("quickstart", "loadgen", known)
	user.Own(t, s.PID, client)
	if user.Loads(s) {
		t.Log("the client was moved to its core after the load began")
	}
	if a := c.Wait(); a.Code != 0 && a.Code != 4 && a.Code != 7 {
		t.Fatalf("exit code %d, want 0, 4 or 7\n%s%s", a.Code, a.Stdout, a.Stderr)
	}
	return u.Result(u.Path("out"))
}

// request is a line of requests.jsonl; all times are in ns on CLOCK_MONOTONIC, Tokens has one for each token.
type request struct {
	ID        string  `json:"id"`
	Phase     string  `json:"phase"`
	Scheduled int64   `json:"scheduled"`
	Sent      int64   `json:"sent"`
	Outcome   string  `json:"outcome"`
	Tokens    []int64 `json:"tokens"`
}

// pair is one request as both sides saw it.
type pair struct {
	request
	emitted []int64
}

// matched joins the client's requests to the simulator's emissions by request id. Each must have its counterpart, but
// for the requests of the probes, which the service makes.
func matched(t *testing.T, run string) []pair {
	t.Helper()
	emissions, err := llmsim.ReadEmissions(bytes.NewReader(only(t, run, "sim", "emissions.jsonl")))
	if err != nil {
		t.Fatal(err)
	}
	var pairs []pair
	for _, r := range requests(t, run) {
		emitted, found := emissions[r.ID]
		switch {
		case r.Outcome != "ok":
			t.Errorf("request %s: %s", r.ID, r.Outcome)
		case !found:
			t.Errorf("request %s: the simulator logged no emission", r.ID)
		case len(emitted) != len(r.Tokens):
			t.Errorf("request %s: %d tokens were emitted, %d arrived", r.ID, len(emitted), len(r.Tokens))
		default:
			pairs = append(pairs, pair{r, emitted})
		}
		delete(emissions, r.ID)
	}
	for id := range emissions {
		if strings.HasPrefix(id, "loadgen-") {
			t.Errorf("request %s: emitted, but the client has no line for it", id)
		}
	}
	return pairs
}

func requests(t *testing.T, run string) []request {
	t.Helper()
	var out []request
	seen := map[string]bool{}
	for line := range bytes.Lines(only(t, run, "loadgen", "samples", "requests.jsonl")) {
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("requests.jsonl: %q: %v", line, err)
		}
		if seen[r.ID] {
			t.Errorf("request %s occurs twice", r.ID)
		}
		seen[r.ID] = true
		out = append(out, r)
	}
	return out
}

// only reads a file of a component's only rank.
func only(t *testing.T, run, component string, file ...string) []byte {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(append([]string{run, "*", "1", component, "0"}, file...)...))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s of %s: %v %v", filepath.Join(file...), component, found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exactTokens compares, for each repeat with its warm-up, the tokens that arrived with the server's own counter.
func exactTokens(t *testing.T, r results.Result, run string) {
	t.Helper()
	arrived := map[string]int{}
	for _, q := range requests(t, run) {
		repeat, _, _ := strings.Cut(strings.TrimPrefix(q.ID, "loadgen-r"), "-")
		arrived[repeat] += len(q.Tokens)
	}
	checked := 0
	for _, c := range r.CrossChecks {
		if c.Metric != "vllm:generation_tokens_total" {
			continue
		}
		checked++
		if n := arrived[fmt.Sprint(c.Repeat)]; c.Server == nil || n == 0 || *c.Server != float64(n) {
			t.Errorf("repeat %d: %d tokens arrived, the server's counter says %v", c.Repeat, n, c.Server)
		}
	}
	if checked != r.RepeatsPlanned {
		t.Errorf("%s was compared in %d repeats, want %d", "vllm:generation_tokens_total", checked, r.RepeatsPlanned)
	}
}

// calibrate compares the measured requests. For TTFT and for ITL it takes the size of the difference of each pair of
// times, whose p50 and p99 must be within 2 ms and 2 % of what the simulator did. The same bound holds for the medians
// that the result reports.
func calibrate(r results.Result, pairs []pair) (table string, agrees bool) {
	var ttft, itl comparison
	for _, p := range pairs {
		if p.Phase != "measure" {
			continue
		}
		ttft.add(p.Tokens[0]-p.Scheduled, p.emitted[0]-p.Scheduled)
		for i := 1; i < len(p.Tokens); i++ {
			itl.add(p.Tokens[i]-p.Tokens[i-1], p.emitted[i]-p.emitted[i-1])
		}
	}
	out := &strings.Builder{}
	fmt.Fprintf(out, "%-6s %7s  %-9s %12s %12s %12s\n", "", "pairs", "", "simulator", "difference", "limit")
	agrees = true
	for _, c := range []struct {
		name, metric string
		comparison
	}{{"TTFT", "ttft", ttft}, {"ITL", "itl_token", itl}} {
		for _, q := range []float64{0.50, 0.99} {
			truth, difference := quantile(c.truth, q), quantile(c.differences, q)
			agrees = row(out, c.name, len(c.truth), fmt.Sprintf("p%.0f", 100*q), truth, difference) && agrees
		}
		truth, reported := quantile(c.truth, 0.50), reportedMedian(r, c.metric)
		agrees = row(out, c.name, len(c.truth), "result", truth, (reported-truth).Abs()) && agrees
	}
	return out.String(), agrees && len(ttft.truth) > 0
}

func row(out *strings.Builder, name string, pairs int, what string, truth, difference time.Duration) bool {
	limit := 2*time.Millisecond + truth/50
	fmt.Fprintf(out, "%-6s %7d  %-9s %12s %12s %12s\n", name, pairs, what, truth.Round(time.Microsecond),
		difference.Round(time.Microsecond), limit.Round(time.Microsecond))
	return difference <= limit
}

// comparison holds lengths of time by the simulator's log, and how far the client's were from them.
type comparison struct{ truth, differences []time.Duration }

func (c *comparison) add(client, simulator int64) {
	c.truth = append(c.truth, time.Duration(simulator))
	c.differences = append(c.differences, time.Duration(client-simulator).Abs())
}

// quantile is the smallest value that a share q of the values does not exceed; 0 without values.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// reportedMedian is the p50 of a metric in the result; a length beyond every limit when it has none.
func reportedMedian(r results.Result, metric string) time.Duration {
	if v := results.Find(r.Clients[0].Values, metric, "p50"); v != nil && v.Value != nil {
		return time.Duration(*v.Value * float64(time.Second))
	}
	return time.Hour
}

package inference

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/llmsim"
	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// locked is a buffer for two writers.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) reader() *bytes.Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.NewReader(bytes.Clone(l.b.Bytes()))
}

func simulator(t *testing.T, c llmsim.Config) *httptest.Server {
	t.Helper()
	sim, err := llmsim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	return server
}

func systemClock(t *testing.T) *load.SystemClock {
	t.Helper()
	clock, err := load.NewClock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := clock.Close(); err != nil {
			t.Error(err)
		}
	})
	return clock
}

// overLoopback is a load on a real clock and loopback.
func overLoopback(t *testing.T, server *httptest.Server, o Options, lo load.Options) *load.Result {
	t.Helper()
	clock := systemClock(t)
	o.URL, o.Client, o.Repeat, o.Clock = server.URL, "c", 1, clock
	lo.Ranks, lo.Clock, lo.Root = 1, clock, os.DirFS("/")
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := load.New(lo, w)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Each token of each request is stamped after the simulator emitted it, on the same clock, and none is missing.
func TestAgainstEmissions(t *testing.T) {
	for _, api := range []string{rundir.APICompletions, rundir.APIChatCompletions} {
		t.Run(api, func(t *testing.T) {
			var emitted, seen locked
			server := simulator(t, llmsim.Config{TTFT: llmsim.Latency{Mean: 20 * time.Millisecond},
				ITL: llmsim.Latency{Mean: 5 * time.Millisecond}, EmissionLog: &emitted, APIKey: "key"})
			p := rundir.Inference{API: api, Model: llmsim.DefaultModel, InputTokens: rundir.Tokens{Min: 8, Max: 16},
				OutputTokens: rundir.Tokens{Min: 4, Max: 12}}
			out := overLoopback(t, server, Options{Plan: p, Token: "key", Events: &seen}, load.Options{
				Open:    &load.OpenLoop{Rate: 40, Arrival: load.Poisson, MaxInFlight: 64},
				Lengths: load.Lengths{Warmup: 300 * time.Millisecond, Measure: 700 * time.Millisecond},
			})
			server.Close()
			if out.All.Offered == 0 || out.All.Succeeded != out.All.Offered {
				t.Fatalf("%d of %d succeeded: %v", out.All.Succeeded, out.All.Offered, out.AllErrors)
			}
			emissions, err := llmsim.ReadEmissions(emitted.reader())
			if err != nil {
				t.Fatal(err)
			}
			compareStamps(t, emissions, seen.reader(), out.Total(OutputTokens).All)
		})
	}
}

func compareStamps(t *testing.T, emissions map[string][]int64, seen *bytes.Reader, tokens int64) {
	t.Helper()
	for _, times := range emissions {
		tokens -= int64(len(times))
	}
	if tokens != 0 {
		t.Errorf("the client counts %d tokens more than the simulator", tokens)
	}
	var late []int64
	for d := json.NewDecoder(seen); d.More(); {
		var line struct {
			ID     string
			Tokens []int64
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		times := emissions[line.ID]
		if len(times) != len(line.Tokens) || len(times) == 0 {
			t.Fatalf("request %s: %d tokens seen, %d emitted", line.ID, len(line.Tokens), len(times))
		}
		for i := range times {
			late = append(late, line.Tokens[i]-times[i])
		}
	}
	slices.Sort(late)
	if late[0] < 0 {
		t.Errorf("a token was seen %v before it was emitted", time.Duration(-late[0]))
	}
	// The machine may be busy; half of the tokens being later than this is a fault of ours.
	if median := time.Duration(late[len(late)/2]); median > 20*time.Millisecond {
		t.Errorf("half of the tokens were seen more than %v after they were emitted", median)
	}
	t.Logf("seen after emission: p50 %v p99 %v", time.Duration(late[len(late)/2]), time.Duration(late[len(late)*99/100]))
}

// Every fault of the simulator is named for what it is, and the tokens until then are those that it counts, as vLLM does.
func TestSimulatorFaults(t *testing.T) {
	for fault, want := range map[llmsim.FaultType]load.ErrorCount{
		llmsim.RateLimit:   {Kind: "http_4xx", Code: 429},
		llmsim.ServerError: {Kind: "http_5xx", Code: 500},
		llmsim.Reset:       {Kind: "reset"},
		llmsim.Truncate:    {Kind: "truncated"},
		llmsim.StreamError: {Kind: "stream_error"},
		llmsim.Empty:       {Kind: "empty"},
		llmsim.HTML:        {Kind: "stream_error"},
	} {
		t.Run(string(fault), func(t *testing.T) {
			server := simulator(t, llmsim.Config{Faults: []llmsim.Fault{{Type: fault, Ratio: 1}}})
			out := overLoopback(t, server, Options{Plan: rundir.Inference{API: rundir.APICompletions, Model: llmsim.DefaultModel,
				InputTokens: rundir.Tokens{Min: 8, Max: 8}, OutputTokens: rundir.Tokens{Min: 8, Max: 8}}},
				load.Options{Open: &load.OpenLoop{Rate: 50, Arrival: load.Constant, MaxInFlight: 4},
					Lengths: load.Lengths{Measure: 100 * time.Millisecond}})
			want.Count = 5
			for i := range out.Errors {
				if out.Errors[i].Sample == "" {
					t.Error("the failure has no sample")
				}
				out.Errors[i].Sample = ""
			}
			if diff := cmp.Diff([]load.ErrorCount{want}, out.Errors); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			for total, metric := range map[string]string{InputTokens: "vllm:prompt_tokens_total", OutputTokens: "vllm:generation_tokens_total"} {
				if got, counted := out.Total(total).All, counter(t, server.URL, metric); float64(got) != counted {
					t.Errorf("the client counts %d %s, the simulator %v", got, total, counted)
				}
			}
		})
	}
}

// counter is the sum of a counter's series.
func counter(t *testing.T, address, name string) float64 {
	t.Helper()
	answer, err := http.Get(address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	sum, found := 0.0, false
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if base, _, _ := strings.Cut(series, "{"); base != name {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum, found = sum+n, true
	}
	if !found {
		t.Fatalf("there is no counter %s", name)
	}
	return sum
}

func answerOne(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = w.Write([]byte(text("a", "1") + done))
}

func TestNetworkFailures(t *testing.T) {
	p := plan(1)
	shot := load.Options{Open: &load.OpenLoop{Rate: 1, Arrival: load.Constant, MaxInFlight: 1}, Lengths: load.Lengths{Measure: time.Millisecond}}
	kind := func(t *testing.T, address string, o Options) string {
		t.Helper()
		o.Plan = p
		out := overLoopback(t, &httptest.Server{URL: address}, o, shot)
		if len(out.Errors) != 1 {
			t.Fatalf("errors %v, want one", out.Errors)
		}
		return out.Errors[0].Kind
	}
	t.Run("connect", func(t *testing.T) {
		gone := httptest.NewServer(http.HandlerFunc(answerOne))
		gone.Close()
		if got := kind(t, gone.URL, Options{}); got != "connect" {
			t.Errorf("a closed port is %s, want connect", got)
		}
	})
	t.Run("dns", func(t *testing.T) {
		missing := func(_ context.Context, _, address string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}}
		}
		if got := kind(t, "http://no-such-host", Options{Dial: missing}); got != "dns" {
			t.Errorf("a name that nobody knows is %s, want dns", got)
		}
	})
	secure := httptest.NewUnstartedServer(http.HandlerFunc(answerOne))
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // that a client refuses its certificate
	secure.StartTLS()
	t.Run("tls", func(t *testing.T) {
		if got := kind(t, secure.URL, Options{}); got != "tls" {
			t.Errorf("a certificate that nobody trusts is %s, want tls", got)
		}
	})
	t.Run("trusted", func(t *testing.T) {
		config := secure.Client().Transport.(*http.Transport).TLSClientConfig
		out := overLoopback(t, secure, Options{Plan: p, TLS: &tls.Config{RootCAs: config.RootCAs, MinVersion: tls.VersionTLS12}}, shot)
		if out.Measured.Succeeded != 1 {
			t.Errorf("over TLS: %v", out.Errors)
		}
	})
}

// A connection that the server closed while it was idle is not used again, so no request is lost to it.
func TestServerClosesIdleConnections(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(answerOne))
	server.Config.IdleTimeout = 20 * time.Millisecond
	server.Start()
	out := overLoopback(t, server, Options{Plan: plan(1)}, load.Options{
		Closed:  &load.ClosedLoop{Concurrency: 1, ThinkTime: 100 * time.Millisecond},
		Lengths: load.Lengths{Measure: 550 * time.Millisecond},
	})
	if out.Measured.Failed != 0 || out.Measured.Succeeded < 2 {
		t.Errorf("%d succeeded, %d failed: %v", out.Measured.Succeeded, out.Measured.Failed, out.Errors)
	}
	server.Close()
}

package llmsim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// countTokens reads a stream to its end and returns its number of tokens and whether [DONE] was there.
func countTokens(r io.Reader) (n int, done bool, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		switch {
		case lines.Text() == "data: [DONE]":
			done = true
		case strings.Contains(lines.Text(), `"text":"`) && !strings.Contains(lines.Text(), `"text":""`):
			n++
		}
	}
	return n, done, lines.Err()
}

// knock makes a request whose answer does not matter.
func knock(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func TestServeLetsRequestsEndAndCutsLateOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := steady()
		c.Grace, c.EmissionLog = 100*ms, &log
		s := newServer(t, c)
		l := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		server := s
		go func() { served <- server.Serve(ctx, l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}}

		type result struct {
			tokens int
			done   bool
			failed bool
		}
		results := map[string]chan result{"20": make(chan result, 1), "1000": make(chan result, 1)}
		for n, got := range results {
			go func() {
				r := streamed("n"+n, n)
				r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", "sim"
				resp, err := client.Do(r)
				if err != nil {
					got <- result{failed: true}
					return
				}
				defer resp.Body.Close()
				tokens, done, err := countTokens(resp.Body)
				got <- result{tokens, done, err != nil}
			}()
		}
		time.Sleep(50 * ms)
		stop()
		synctest.Wait()
		if err := knock(client, "http://sim/health"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new connection after the stop: %v, want it refused", err)
		}
		// 20 tokens end at 106 ms; of the 1000, those until 150 ms leave: 30, 34, ... 146, 150.
		if got := <-results["20"]; got != (result{tokens: 20, done: true}) {
			t.Errorf("the short request got %+v, want all of it", got)
		}
		long := <-results["1000"]
		if long.done || !long.failed || long.tokens < 29 || long.tokens > 31 {
			t.Errorf("the long request got %+v, want about 30 tokens and a broken stream", long)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
		emissions, err := ReadEmissions(&log)
		if err != nil || len(emissions["n20"]) != 20 || len(emissions["n1000"]) != long.tokens {
			t.Errorf("log after Serve has %d and %d tokens, %v, want 20 and %d",
				len(emissions["n20"]), len(emissions["n1000"]), err, long.tokens)
		}
	})
}

func TestServeReportsErrors(t *testing.T) {
	l := newPipes()
	_ = l.Close()
	if err := newServer(t, Config{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve on a closed listener = %v, want net.ErrClosed", err)
	}
	s := newServer(t, Config{EmissionLog: &fullDisk{writes: 1}})
	do(s, streamed("a", "1"))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Serve(ctx, newPipes()); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Serve with a full disk = %v, want the error of the emission log", err)
	}
}

// serveLoopback runs a server on a real socket until the test ends.
func serveLoopback(t *testing.T, c Config) (s *Server, url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(t, c)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return server, "http://" + l.Addr().String()
}

// answerOf is what a client sees of an answer.
type answerOf struct {
	Status  int
	Type    string
	Tokens  int
	Done    bool
	Error   bool   // an error object in the answer
	Failure string // reset, EOF or nothing
}

func ask(url, body string) answerOf {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Post(url+"/v1/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return answerOf{Failure: failure(err)}
	}
	defer resp.Body.Close()
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	b, err := io.ReadAll(resp.Body)
	tokens, done, _ := countTokens(bytes.NewReader(b))
	return answerOf{resp.StatusCode, kind, tokens, done, bytes.Contains(b, []byte(`{"error":{`)), failure(err)}
}

func failure(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "EOF"
	}
	return err.Error()
}

func TestFaultsOnARealConnection(t *testing.T) {
	const sse, js = "text/event-stream", "application/json"
	tests := map[FaultType]struct{ stream, whole answerOf }{
		"":          {answerOf{200, sse, 9, true, false, ""}, answerOf{200, js, 1, false, false, ""}},
		RateLimit:   {answerOf{429, js, 0, false, true, ""}, answerOf{429, js, 0, false, true, ""}},
		ServerError: {answerOf{500, js, 0, false, true, ""}, answerOf{500, js, 0, false, true, ""}},
		Reset:       {answerOf{Failure: "reset"}, answerOf{Failure: "reset"}},
		Truncate:    {answerOf{200, sse, 4, false, false, ""}, answerOf{200, js, 1, false, false, "EOF"}},
		StreamError: {answerOf{200, sse, 4, true, true, ""}, answerOf{200, js, 0, false, true, ""}},
		Empty:       {answerOf{200, sse, 0, true, false, ""}, answerOf{200, js, 0, false, false, ""}},
		HTML:        {answerOf{200, "text/html", 0, false, false, ""}, answerOf{200, "text/html", 0, false, false, ""}},
	}
	finished := map[FaultType]string{
		"": "length", Truncate: "error", StreamError: "error", Empty: "stop",
	}
	for fault, tt := range tests {
		t.Run("fault="+string(fault), func(t *testing.T) {
			c := Config{}
			if fault != "" {
				c.Faults = []Fault{{fault, 1}}
			}
			s, url := serveLoopback(t, c)
			got := ask(url, `{"prompt":"a","max_tokens":9,"ignore_eos":true,"stream":true}`)
			if diff := cmp.Diff(tt.stream, got); diff != "" {
				t.Errorf("stream (-want +got):\n%s", diff)
			}
			metrics := scrape(t, s)
			if n := metrics["vllm:generation_tokens_total"]; n != float64(got.Tokens) {
				t.Errorf("generation_tokens_total = %g, but the client got %d", n, got.Tokens)
			}
			if reason := finished[fault]; reason != "" && metrics["vllm:request_success_total/"+reason] != 1 {
				t.Errorf("no answer is counted as %s", reason)
			}
			if diff := cmp.Diff(tt.whole, ask(url, `{"prompt":"a","max_tokens":9,"ignore_eos":true}`)); diff != "" {
				t.Errorf("whole answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRateLimitSaysWhenToRetry(t *testing.T) {
	w := do(newServer(t, Config{Faults: []Fault{{RateLimit, 1}}}), streamed("a", "1"))
	if got := w.header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After = %q, want 1", got)
	}
}

func TestTokensAgreeOnARealConnection(t *testing.T) {
	var log bytes.Buffer
	c := Config{TTFT: Latency{10 * ms, 3 * ms}, ITL: Latency{ms, ms / 4}, MaxNumSeqs: 8, EmissionLog: &log}
	t.Run("load", func(t *testing.T) {
		s, url := serveLoopback(t, c)
		var mu sync.Mutex
		var wg sync.WaitGroup
		sum := 0
		for i := range 24 {
			wg.Go(func() {
				body := `{"prompt":[[1,2],[3]],"min_tokens":3,"max_tokens":` + strconv.Itoa(20+i) + `,"stream":true}`
				got := ask(url, body)
				if !got.Done || got.Failure != "" {
					t.Errorf("request %d got %+v, want a whole stream", i, got)
				}
				mu.Lock()
				defer mu.Unlock()
				sum += got.Tokens
			})
		}
		wg.Wait()
		if got := scrape(t, s)["vllm:generation_tokens_total"]; got != float64(sum) {
			t.Errorf("generation_tokens_total = %g, but the clients got %d", got, sum)
		}
	})
	emissions, err := ReadEmissions(&log)
	if err != nil || len(emissions) != 48 {
		t.Fatalf("log has %d records, %v, want 48", len(emissions), err)
	}
	for id, at := range emissions {
		for i := 1; i < len(at); i++ {
			if at[i] < at[i-1] {
				t.Errorf("%s: token %d left before the one ahead of it", id, i)
			}
		}
	}
}

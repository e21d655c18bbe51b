package inference

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, answer: always(answered(step{time.Second, text("a", "1") + done}))}
		o := options(s, load.NewTimerClock(), 1)
		o.URL, o.Token = "http://server:8000/base/v1/", "secret"
		o.Plan.Temperature = 0.25
		o.Plan.Model = `a "model"`
		once(t, o)

		r := s.requests[0]
		got := []string{r.Method, r.RequestURI, r.Host, r.Header.Get("Authorization"), r.Header.Get("X-Request-Id"),
			r.Header.Get("Content-Type")}
		want := []string{"POST", "/base/v1/completions", "server:8000", "Bearer secret", "c-r2-0", "application/json"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("head (-want +got):\n%s", diff)
		}
		body := decode(t, s.bodies[0])
		prompt := body["prompt"].([]any)
		for _, id := range prompt {
			if n, err := strconv.Atoi(string(id.(json.Number))); err != nil || n < firstToken || n > lastToken {
				t.Errorf("token id %v is outside %d to %d", id, firstToken, lastToken)
			}
		}
		if len(prompt) != 5 {
			t.Errorf("%d token ids, want 5", len(prompt))
		}
		delete(body, "prompt")
		delete(body, "seed")
		if diff := cmp.Diff(map[string]any{
			"model": `a "model"`, "max_tokens": json.Number("1"), "min_tokens": json.Number("1"), "stream": true,
			"temperature": json.Number("0.25"), "ignore_eos": true,
			"stream_options": map[string]any{"include_usage": true, "continuous_usage_stats": true},
		}, body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	})
}

func TestChatRequest(t *testing.T) {
	w, err := New(Options{Plan: rundir.Inference{API: rundir.APIChatCompletions, Model: "m",
		InputTokens: rundir.Tokens{Min: 40, Max: 40}, OutputTokens: rundir.Tokens{Min: 2, Max: 2}},
		URL: "http://[::1]", Clock: load.NewTimerClock(), Client: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(w.head), "POST /v1/chat/completions HTTP/1.1\r\nHost: [::1]\r\n") || w.http.Address != "[::1]:80" {
		t.Errorf("head %q, address %s", w.head, w.http.Address)
	}
	body := decode(t, string(w.appendBody(nil, w.request(7))))
	message := body["messages"].([]any)[0].(map[string]any)
	if n := len(strings.Fields(message["content"].(string))); n != 40 || message["role"] != "user" {
		t.Errorf("role %v, %d words; want user and 40", message["role"], n)
	}
}

// What is sent is a function of seed and key; warm-up and measurement share no prompt.
func TestPrompts(t *testing.T) {
	p := plan(1)
	p.InputTokens, p.OutputTokens = rundir.Tokens{Min: 3, Max: 9}, rundir.Tokens{Min: 10, Max: 12}
	body := func(seed, key uint64) string {
		w, err := New(Options{Plan: p, URL: "http://h", Clock: load.NewTimerClock(), Seed: seed, Client: "c"})
		if err != nil {
			t.Fatal(err)
		}
		return string(w.appendBody(nil, w.request(key)))
	}
	seen := map[string]string{}
	inputs, outputs := map[int]int{}, map[string]int{}
	for _, phase := range []load.Phase{load.Warmup, load.Measure} {
		for i := range uint64(300) {
			key := load.Request{Phase: phase, Index: i}.Key()
			b := body(1, key)
			if b != body(1, key) {
				t.Fatalf("request %v %d differs from itself", phase, i)
			}
			prompt := fmt.Sprint(decode(t, b)["prompt"])
			if other, twice := seen[prompt]; twice {
				t.Fatalf("%v %d has the prompt of %s", phase, i, other)
			}
			seen[prompt] = fmt.Sprint(phase, i)
			inputs[len(strings.Fields(prompt))]++
			outputs[fmt.Sprint(decode(t, b)["max_tokens"])]++
		}
	}
	if len(inputs) != 7 || len(outputs) != 3 {
		t.Errorf("lengths %v and %v, want every one from 3 to 9 and from 10 to 12", inputs, outputs)
	}
	if body(1, 5) == body(2, 5) {
		t.Error("two seeds have the same request")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no scheme": {func(o *Options) { o.URL = "server:8000" }, "use a URL such as http://host:8000"},
		"no model":  {func(o *Options) { o.Plan.Model = "" }, "no model is named"},
		"api":       {func(o *Options) { o.Plan.API = "Chat" }, "use Completions or ChatCompletions"},
		"no input":  {func(o *Options) { o.Plan.InputTokens.Min = 0 }, "input tokens from 0 to 5"},
		"range":     {func(o *Options) { o.Plan.OutputTokens.Max = 0 }, "output tokens from 1 to 0"},
		"token":     {func(o *Options) { o.Token = "a\r\nX: y" }, "control characters"},
		"no clock":  {func(o *Options) { o.Clock = nil }, "no clock"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Plan: plan(1), URL: "http://h", Clock: load.NewTimerClock()}
			c.change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestConnections(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		think  time.Duration
		keep   bool
		head   string
		dials  int
	}{
		"reuse":     {"a fresh connection is used again", time.Second, true, streamHead, 1},
		"idle":      {"one that was idle for four seconds is not", 4 * time.Second, true, streamHead, 4},
		"just idle": {"one that was idle for a little less is", 4*time.Second - time.Millisecond, true, streamHead, 1},
		"close": {"one that the server is about to close is not", time.Second, true,
			strings.Replace(streamHead, "\r\n", "\r\nConnection: close\r\n", 1), 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := []step{{time.Second, c.head + framed(text("a", "1")+done) + "0\r\n\r\n"}}
				s := &script{t: t, answer: func(int) ([]step, bool) { return answer, c.keep }}
				out := once(t, options(s, load.NewTimerClock(), 1), func(o *load.Options) {
					o.Open, o.Closed = nil, &load.ClosedLoop{Concurrency: 1, ThinkTime: c.think}
					o.Lengths.Measure = 3*(time.Second+c.think) + 1
				})
				if out.Measured.Succeeded != 4 || s.dials != c.dials {
					t.Errorf("%s: %d of 4 succeeded over %d connections, want %d; errors %v", c.reason,
						out.Measured.Succeeded, s.dials, c.dials, out.Errors)
				}
			})
		})
	}
}

func TestRetryHasItsOwnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, answer: func(n int) ([]step, bool) {
			if n == 0 {
				return []step{{time.Second, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"}}, true
			}
			return answered(step{time.Second, text("a", "1") + done}), true
		}}
		out := once(t, options(s, load.NewTimerClock(), 1), func(o *load.Options) { o.Retries, o.BackOff = 1, time.Second })
		if got, want := sums(out)["ttft"], [2]int64{1, 3000 * ms}; got != want {
			t.Errorf("ttft %v, want %v: it runs from the first scheduled instant", got, want)
		}
		if got := s.requests[1].Header.Get("X-Request-Id"); got != "c-r2-0-a1" {
			t.Errorf("the retry's id is %q", got)
		}
		if s.dials != 1 {
			t.Errorf("%d connections, want 1: a refusal that was read to its end keeps it", s.dials)
		}
	})
}

// A server that does not even read fails by the limit that comes first.
func TestWriteThatBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		reason       string
		first, total time.Duration
		want         load.Kind
		after        time.Duration
	}{
		"first": {"the first token cannot come in time any more", 3 * time.Second, 30 * time.Second, load.TimeoutFirst, 3 * time.Second},
		"total": {"nor can the whole answer", 0, 30 * time.Second, load.TimeoutTotal, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t}
				clock := load.NewTimerClock()
				began := clock.Now()
				o := options(s, clock, 1)
				o.TimeoutFirst, o.TimeoutTotal = c.first, c.total
				o.Dial = func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					t.Cleanup(func() { _ = server.Close() })
					return client, nil
				}
				out := once(t, o)
				if len(out.Errors) != 1 || out.Errors[0].Kind != string(c.want) {
					t.Errorf("%s: errors %v, want %s", c.reason, out.Errors, c.want)
				}
				if got := time.Duration(clock.Now() - began); got != c.after {
					t.Errorf("%s: failed after %v, want %v", c.reason, got, c.after)
				}
			})
		})
	}
}

// The end of the run's context ends what is in flight at once.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, answer: always([]step{{time.Hour, ""}})}
		clock := load.NewTimerClock()
		began := clock.Now()
		o := options(s, clock, 1)
		o.TimeoutFirst, o.TimeoutIdle, o.TimeoutTotal = 0, 0, 0
		out := once(t, o, func(o *load.Options) { o.DrainTimeout = 7 * time.Second })
		if got := time.Duration(clock.Now() - began); got != 7*time.Second+1 {
			t.Errorf("ended after %v, want 7s after the end of the schedule", got)
		}
		if len(out.Errors) != 1 || out.Errors[0].Kind != string(load.TimeoutTotal) {
			t.Errorf("errors %v, want timeout_total", out.Errors)
		}
	})
}

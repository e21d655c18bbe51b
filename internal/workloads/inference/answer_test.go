package inference

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
)

const ms = int64(time.Millisecond)

func text(s, usage string) string {
	u := ""
	if usage != "" {
		u = `,"usage":{"prompt_tokens":5,"completion_tokens":` + usage + `}`
	}
	return event(`{"id":"x","choices":[{"index":0,"text":"` + s + `"}]` + u + `}`)
}

func delta(fields string) string {
	return event(`{"choices":[{"index":0,"delta":{` + fields + `},"finish_reason":null}],"usage":null}`)
}

const done = "data: [DONE]\n\n"

func usage(n string) string {
	return event(`{"choices":[],"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":` + n + `}}`)
}

// What counts as a token, and when. Each answer starts at 0.
func TestAnatomy(t *testing.T) {
	const after = 10 * time.Millisecond
	for name, c := range map[string]struct {
		reason string
		asked  int
		steps  []step
		// want has the sums in ms by count; e2e and ttft have one value each.
		ttft, e2e int64
		chunks    [2]int64 // itl_chunk: count, sum in ms
		tokens    [2]int64 // itl_token
		tpot      int64
		output    int64
	}{
		"completions": {
			reason: "one token a chunk, usage in each",
			asked:  3,
			steps:  []step{{5 * after, text("a", "1")}, {after, text("b", "2")}, {2 * after, text("c", "3")}, {after, usage("3") + done}},
			ttft:   50, e2e: 80, chunks: [2]int64{2, 30}, tokens: [2]int64{2, 30}, tpot: 15, output: 3,
		},
		"chat": {
			reason: "role, empty, comment and usage chunks never count",
			asked:  3,
			steps: []step{
				{after, delta(`"role":"assistant","content":""`)}, {after, ": ping\n\n"}, {3 * after, delta(`"content":"a"`)},
				{after, delta(`"content":"b"`)}, {after, delta(`"content":"c"`)}, {after, delta(``)},
				{after, event(`{"choices":[{"delta":{"content":null},"finish_reason":"length"}]}`)}, {after, usage("3") + done},
			},
			ttft: 50, e2e: 70, chunks: [2]int64{2, 20}, tokens: [2]int64{2, 20}, tpot: 10, output: 3,
		},
		"reasoning": {
			reason: "reasoning and tool calls are output",
			asked:  3,
			steps: []step{{after, delta(`"reasoning_content":"a"`)}, {after, delta(`"reasoning":"b","content":null`)},
				{after, delta(`"tool_calls":[{"index":0}]`) + usage("3") + done}},
			ttft: 10, e2e: 30, chunks: [2]int64{2, 20}, tokens: [2]int64{2, 20}, tpot: 10, output: 3,
		},
		"several tokens a chunk": {
			reason: "k tokens share a gap",
			asked:  9,
			steps:  []step{{5 * after, text("a", "1")}, {4 * after, text("bcde", "5")}, {2 * after, text("fghi", "9") + done}},
			ttft:   50, e2e: 110, chunks: [2]int64{2, 60}, tokens: [2]int64{8, 60}, tpot: 60 / 8, output: 9,
		},
		"a token without text": {
			reason: "its gap goes to the chunk in which its text comes",
			asked:  4,
			steps:  []step{{after, text("a", "1")}, {after, text("", "2")}, {after, text("bc", "3")}, {after, text("d", "4") + done}},
			ttft:   10, e2e: 40, chunks: [2]int64{2, 30}, tokens: [2]int64{3, 30}, tpot: 10, output: 4,
		},
		"usage at the end": {
			reason: "the tokens are spread over the gaps",
			asked:  7,
			steps:  []step{{after, text("a", "")}, {2 * after, text("bcd", "")}, {2 * after, text("efg", "")}, {0, usage("7") + done}},
			ttft:   10, e2e: 50, chunks: [2]int64{2, 40}, tokens: [2]int64{6, 39}, tpot: 40 / 6, output: 7,
		},
		"no usage": {
			reason: "each chunk with content is a token",
			asked:  2,
			steps:  []step{{after, text("a", "")}, {after, text("b", "") + done}},
			ttft:   10, e2e: 20, chunks: [2]int64{1, 10}, tokens: [2]int64{1, 10}, tpot: 10, output: 2,
		},
		"one read": {
			reason: "chunks that arrive together have no gap",
			asked:  2,
			steps:  []step{{after, text("a", "1") + text("b", "2") + done}},
			ttft:   10, e2e: 10, chunks: [2]int64{1, 0}, tokens: [2]int64{1, 0}, tpot: 0, output: 2,
		},
		"one token": {
			reason: "there is no time per output token",
			asked:  1,
			steps:  []step{{after, text("a", "1") + done}},
			ttft:   10, e2e: 10, tpot: -1, output: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, answer: always(answered(c.steps...))}
				out := once(t, options(s, load.NewTimerClock(), c.asked))
				want := map[string][2]int64{
					"send_lag": {1, 0}, "e2e": {1, c.e2e}, "e2e_from_send": {1, c.e2e}, "ttft": {1, c.ttft},
					"ttft_from_send": {1, c.ttft}, "tpot": {1, c.tpot}, "itl_chunk": c.chunks, "itl_token": c.tokens,
				}
				for metric, w := range want {
					if w[0] == 0 || w[1] < 0 {
						delete(want, metric)
					}
				}
				got := sums(out)
				for metric, g := range got {
					got[metric] = [2]int64{g[0], g[1] / ms}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: count and sum in ms (-want +got):\n%s\nerrors %v", c.reason, diff, out.Errors)
				}
				if out.Total(OutputTokens).All != c.output || out.Total(InputTokens).All != 5 {
					t.Errorf("%s: %d tokens in and %d out, want 5 and %d", c.reason, out.Total(InputTokens).All,
						out.Total(OutputTokens).All, c.output)
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	body := func(status, kind, text string) []step {
		return []step{{0, "HTTP/1.1 " + status + "\r\nContent-Type: " + kind + "\r\nTransfer-Encoding: chunked\r\n\r\n" +
			framed(text) + "0\r\n\r\n"}}
	}
	const first = 10 * time.Second
	for name, c := range map[string]struct {
		reason string
		steps  []step
		kind   load.Kind
		code   int
		sample string
		tokens int64
	}{
		"429": {"a refusal with its body", body("429 Too Many Requests", "application/json", `{"error":"slow"}`),
			load.HTTP4xx, 429, `{"error":"slow"}`, 0},
		"404": {"the message stands first, whatever the form of the rest", body("404 Not Found", "application/json", `{"error": {"message": "no \"x\/y\" here", "code"`),
			load.HTTP4xx, 404, "no \"x/y\" here\n" + `{"error": {"message": "no \"x\/y\" here", "code"`, 0},
		"half a message": {"of a body that was cut", body("400 No", "application/json", `{"message":"half`), load.HTTP4xx, 400, `{"message":"half`, 0},
		"500":            {"a server's error", body("500 Oops", "text/plain", "oops"), load.HTTP5xx, 500, "oops", 0},
		"redirect":       {"it is not followed", body("307 Elsewhere", "text/plain", ""), load.HTTP4xx, 307, "", 0},
		"long body": {"of the body 512 bytes are kept", body("503 Busy", "text/plain", strings.Repeat("x", 9000)),
			load.HTTP5xx, 503, strings.Repeat("x", 512), 0},
		"html": {"a web page is no stream", body("200 OK", "text/html; charset=utf-8", "<html>Login</html>"),
			load.StreamError, 0, "answered HTML instead of a stream of events: <html>Login</html>", 0},
		"json": {"stream was ignored", body("200 OK", "application/json", "{}"),
			load.StreamError, 0, "answered JSON instead of a stream of events: {}", 0},
		"error in 200": {"an error after the stream began", answered(step{0, text("a", "1") + event(`{"error":{"message":"out of memory"}}`)}),
			load.StreamError, 0, "out of memory\n" + `{"error":{"message":"out of memory"}}`, 1},
		"old error in 200": {"as older servers write it", answered(step{0, event(`{"object":"error","message":"no"}`)}),
			load.StreamError, 0, "no\n" + `{"object":"error","message":"no"}`, 0},
		"not json": {"an event that nobody can read", answered(step{0, event("what?")}), load.StreamError, 0, "what?", 0},
		"long event": {"an event without end", answered(step{0, text("a", "1") + "data: " + strings.Repeat("x", 1<<20)}),
			load.StreamError, 0, "an event of the answer is longer than 1024 KiB", 1},
		"no end mark": {"the body ends without [DONE]", answered(step{0, text("a", "1") + text("b", "2")}),
			load.Truncated, 0, "the answer ended without [DONE]", 2},
		"cut": {"the connection ends inside the body", []step{{0, streamHead + framed(text("a", "1"))}},
			load.Truncated, 0, "the server closed the connection", 1},
		"gone":       {"the connection ends before the answer", nil, load.Reset, 0, "the server closed the connection", 0},
		"empty":      {"an answer without content", answered(step{0, text("", "0") + done}), load.Empty, 0, "no content; 0 tokens by usage", 0},
		"short":      {"fewer tokens than asked", answered(step{0, text("a", "1") + done}), load.Short, 0, "1 tokens of 2", 1},
		"not http":   {"another protocol", []step{{0, "SSH-2.0-OpenSSH_9.9\r\n"}}, load.StreamError, 0, "the answer is not HTTP/1.1", 0},
		"bad chunks": {"broken framing", []step{{0, streamHead + "zz\r\n"}}, load.StreamError, 0, `the answer is not HTTP/1.1: chunk size "zz"`, 0},
		"timeout_first": {"the first token takes too long", []step{{0, streamHead + framed(": ping\n\n")}, {first + 1, ""}},
			load.TimeoutFirst, 0, "no answer in time: timeout_first", 0},
		"timeout_idle": {"the next token takes too long; comments are no tokens",
			[]step{{0, streamHead + framed(text("a", "1"))}, {3 * time.Second, framed(": ping\n\n")}, {2*time.Second + 1, ""}},
			load.TimeoutIdle, 0, "no answer in time: timeout_idle", 1},
		"timeout_total": {"the whole answer takes too long", slow(20), load.TimeoutTotal, 0, "no answer in time: timeout_total", 7},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, answer: func(int) ([]step, bool) { return c.steps, false }}
				clock := load.NewTimerClock()
				began := clock.Now()
				out := once(t, options(s, clock, 2))
				want := []load.ErrorCount{{Kind: string(c.kind), Code: c.code, Count: 1, Sample: c.sample}}
				if diff := cmp.Diff(want, out.Errors); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.reason, diff)
				}
				if len(out.Metrics) != 0 {
					t.Errorf("%s: a failure was measured: %v", c.reason, sums(out))
				}
				if out.Total(OutputTokens).All != c.tokens {
					t.Errorf("%s: %d tokens arrived, want %d", c.reason, out.Total(OutputTokens).All, c.tokens)
				}
				took := time.Duration(clock.Now() - began).Truncate(time.Microsecond) // the window is one nanosecond long
				limit := map[load.Kind]time.Duration{load.TimeoutFirst: first, load.TimeoutIdle: 5 * time.Second,
					load.TimeoutTotal: 30 * time.Second}[c.kind]
				if took != limit {
					t.Errorf("%s: failed after %v, want %v", c.reason, took, limit)
				}
			})
		})
	}
}

// slow is n chunks four seconds apart, none of which is too late by itself.
func slow(n int) (steps []step) {
	steps = []step{{0, streamHead}}
	for range n {
		steps = append(steps, step{4 * time.Second, framed(text("a", ""))})
	}
	return steps
}

// However the bytes are cut into reads, the answer is the same.
func TestBytewise(t *testing.T) {
	whole := ""
	for _, st := range answered(step{0, text("a", "1")}, step{0, "event: x\r\nid: 1\r\n" + text("b", "2") + usage("2") + done}) {
		whole += st.write
	}
	synctest.Test(t, func(t *testing.T) {
		var steps []step
		for _, b := range []byte(whole) {
			steps = append(steps, step{0, string(b)})
		}
		s := &script{t: t, answer: always(steps)}
		out := once(t, options(s, load.NewTimerClock(), 2))
		if out.Measured.Succeeded != 1 || out.Total(OutputTokens).All != 2 {
			t.Errorf("succeeded %d with %d tokens, errors %v", out.Measured.Succeeded, out.Total(OutputTokens).All, out.Errors)
		}
	})
}

func TestOtherBodies(t *testing.T) {
	content := text("a", "1") + done
	for name, c := range map[string]struct{ reason, answer string }{
		"length": {"a body of a given length", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: " +
			itoa(len(content)) + "\r\n\r\n" + content},
		"close":    {"a body that ends with the connection", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content},
		"interim":  {"interim answers are passed over", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + content},
		"no blank": {"the last event is not closed by a blank line", "HTTP/1.0 200 OK\r\n\r\n" + strings.TrimRight(content, "\n")},
		"trailers": {"fields after the last chunk", streamHead + "a;x=y\r\n" + content[:10] + "\r\n" + framed(content[10:]) + "0\r\nX: y\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, answer: func(int) ([]step, bool) { return []step{{0, c.answer}}, false }}
				out := once(t, options(s, load.NewTimerClock(), 1))
				if out.Measured.Succeeded != 1 {
					t.Errorf("%s: errors %v", c.reason, out.Errors)
				}
			})
		})
	}
}

func TestEventLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &script{t: t, answer: always(answered(step{time.Second, text("a", "1")}, step{time.Second, text("bc", "3") + done}))}
		o := options(s, load.NewTimerClock(), 3)
		o.Events = &log
		once(t, o)
		const want = `{"id":"c-r2-0","phase":"measure","scheduled":1000000000,"sent":1000000000,"outcome":"ok",` +
			`"tokens":[2000000000,3000000000,3000000000]}` + "\n"
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

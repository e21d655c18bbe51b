package llmsim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// steady has latencies without chance, so that every instant is known.
func steady() Config { return Config{TTFT: Latency{Mean: 30 * ms}, ITL: Latency{Mean: 4 * ms}} }

// every returns n instants, the first at start and the others step apart.
func every(n int, start, step time.Duration) []time.Duration {
	at := make([]time.Duration, n)
	for i := range at {
		at[i] = start + time.Duration(i)*step
	}
	return at
}

func TestTokensLeaveWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := do(newServer(t, steady()), streamed("a", "20"))
		if diff := cmp.Diff(every(20, 30*ms, 4*ms), w.tokens()); diff != "" {
			t.Errorf("instants (-want +got):\n%s", diff)
		}
	})
}

func TestALateTokenDoesNotDelayTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRecorder()
		w.block = 10 * ms
		doTo(newServer(t, steady()), w, streamed("a", "6"))
		want := []time.Duration{30 * ms, 40 * ms, 40 * ms, 42 * ms, 46 * ms, 50 * ms}
		if diff := cmp.Diff(want, w.tokens()); diff != "" {
			t.Errorf("instants (-want +got):\n%s", diff)
		}
	})
}

func TestDistributionsOfAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{TTFT: Latency{30 * ms, 6 * ms}, ITL: Latency{4 * ms, ms}, Seed: 11}
		s := newServer(t, c)
		var first, gaps []time.Duration
		for i := range 400 {
			at := do(s, streamed(fmt.Sprint("r", i), "50")).tokens()
			first = append(first, at[0])
			for j := 1; j < len(at); j++ {
				gaps = append(gaps, at[j]-at[j-1])
			}
		}
		check := func(what string, got []time.Duration, want Latency) {
			sum := 0.0
			for _, d := range got {
				if d < want.Mean*3/10 || d > want.Mean*17/10 {
					t.Errorf("seed 11: %s %s is outside 30 %% to 170 %% of %s", what, d, want.Mean)
				}
				sum += float64(d)
			}
			n := float64(len(got))
			if mean := sum / n; math.Abs(mean-float64(want.Mean)) > 4*float64(want.Deviation)/math.Sqrt(n) {
				t.Errorf("seed 11: mean %s = %s, want %s within four standard errors", what, time.Duration(mean), want.Mean)
			}
		}
		check("ttft", first, c.TTFT)
		check("itl", gaps, c.ITL)
	})
}

func TestDrawsDependOnSeedAndID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{TTFT: Latency{30 * ms, 6 * ms}, ITL: Latency{4 * ms, ms}, Seed: 1}
		get := func(s *Server, id string) string {
			w := do(s, streamed(id, "10"))
			return fmt.Sprint(w.tokens()) + strings.ReplaceAll(w.body(), w.header.Get("X-Request-Id"), "")
		}
		s, again := newServer(t, c), newServer(t, c)
		c.Seed = 2
		other := newServer(t, c)
		a, b := get(s, "a"), get(s, "b")
		_ = get(again, "") // a request without an id does not shift those that have one
		if got := get(again, "b"); diffTimes(got, b) {
			t.Errorf("the same seed and id, in another order, gave\n%s\nand\n%s", b, got)
		}
		if got := get(again, "a"); diffTimes(got, a) {
			t.Errorf("the same seed and id gave\n%s\nand\n%s", a, got)
		}
		if !diffTimes(a, b) || !diffTimes(a, get(other, "a")) {
			t.Error("another id or another seed gave the same times and words")
		}
		if !diffTimes(get(s, ""), get(s, "")) {
			t.Error("two requests without an id got the same draws")
		}
	})
}

// diffTimes compares all but the time of creation.
func diffTimes(a, b string) bool {
	strip := func(s string) string {
		out := ""
		for part := range strings.SplitSeq(s, `"created":`) {
			out += strings.TrimLeft(part, "0123456789")
		}
		return out
	}
	return strip(a) != strip(b)
}

func TestTextFollowsSeedAndPromptAtTemperature0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{})
		text := func(id, fields string) string {
			body := do(s, post("/v1/completions", id, `{"ignore_eos":true,`+fields+`}`)).body()
			_, rest, _ := strings.Cut(body, `"text":"`)
			text, _, _ := strings.Cut(rest, `"`)
			return text
		}
		greedy := text("a", `"prompt":"x y","temperature":0`)
		if got := text("b", `"prompt":"x y","temperature":0`); got != greedy {
			t.Errorf("temperature 0 gave %q and %q for one prompt", greedy, got)
		}
		if got := text("a", `"prompt":"x z","temperature":0`); got == greedy {
			t.Errorf("temperature 0 gave %q for two prompts", got)
		}
		if a, b := text("a", `"prompt":"x","seed":5`), text("b", `"prompt":"x","seed":5`); a != b {
			t.Errorf("one seed gave %q and %q", a, b)
		}
		if a, b := text("a", `"prompt":"x"`), text("b", `"prompt":"x"`); a == b {
			t.Errorf("two requests without a seed gave %q", a)
		}
	})
}

// many runs the same request n times side by side, one starting each step, and returns the responses in that order.
func many(s *Server, n int, step time.Duration, r func(i int) *http.Request) []*recorder {
	all := make([]*recorder, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * step)
			all[i] = do(s, r(i))
		})
	}
	wg.Wait()
	return all
}

func TestQueueIsFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := steady()
		c.MaxNumSeqs = 2
		s := newServer(t, c)
		// A request takes 30 + 4 = 34 ms. Two run; the third waits for the first, and so on.
		all := many(s, 6, ms, func(i int) *http.Request { return streamed(strconv.Itoa(i), "2") })
		var got []time.Duration
		for i, w := range all {
			got = append(got, time.Duration(i)*ms+w.tokens()[0])
		}
		want := []time.Duration{30 * ms, 31 * ms, 64 * ms, 65 * ms, 98 * ms, 99 * ms}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("first tokens (-want +got):\n%s", diff)
		}
		if l := s.queue.load(); l != (load{}) {
			t.Errorf("queue after all = %+v, want it empty", l)
		}
	})
}

func TestWhoLeavesTheQueueTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := steady()
		c.MaxNumSeqs = 1
		s := newServer(t, c)
		gone := make(chan struct{})
		go func() { do(s, streamed("runs", "2")) }()
		synctest.Wait()
		go func() {
			defer close(gone)
			r, cancel := withCancel(streamed("leaves", "2"))
			time.AfterFunc(5*ms, cancel)
			if w := do(s, r); len(w.tokens()) != 0 {
				t.Errorf("the request that left got %d tokens", len(w.tokens()))
			}
		}()
		synctest.Wait()
		if l := s.queue.load(); l.running != 1 || l.waiting != 1 {
			t.Errorf("queue = %+v, want one running and one waiting", l)
		}
		<-gone
		time.Sleep(ms)
		w := do(s, streamed("last", "1")) // at 6 ms; its turn comes at 34 ms
		if got, want := w.tokens()[0], 58*ms; got != want {
			t.Errorf("first token of the last = %s, want %s", got, want)
		}
		if l := s.queue.load(); l != (load{}) {
			t.Errorf("queue after all = %+v, want it empty", l)
		}
	})
}

func TestSlowdownUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := steady()
		c.MaxNumSeqs, c.Slowdown = 3, 2
		s := newServer(t, c)
		// At most three run, so the last one sees the full factor; all gaps are drawn while three run.
		all := many(s, 3, ms, func(i int) *http.Request { return streamed(strconv.Itoa(i), "5") })
		want := []time.Duration{30 * ms, 45 * ms, 60 * ms}
		for i, w := range all {
			at := w.tokens()
			if at[0] != want[i] {
				t.Errorf("first token with %d before it = %s, want %s", i, at[0], want[i])
			}
		}
		if gap := all[0].tokens()[1] - all[0].tokens()[0]; gap != 8*ms {
			t.Errorf("gap at full load = %s, want 8ms", gap)
		}
		if alone := do(s, streamed("x", "2")).tokens(); alone[1]-alone[0] != 4*ms {
			t.Errorf("gap of a prompt that is alone = %s, want 4ms", alone[1]-alone[0])
		}
	})
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := steady()
		c.Stall = &Stall{After: 40 * ms, Length: 100 * ms}
		s := newServer(t, c)
		all := many(s, 2, 50*ms, func(i int) *http.Request { return streamed(strconv.Itoa(i), "30") })
		// The first runs from 0: tokens at 30, 34, 38, then those of 42 to 138 at 140, then on time again.
		want := append(every(3, 30*ms, 4*ms), every(25, 140*ms, 0)...)
		want = append(want, every(2, 142*ms, 4*ms)...)
		if diff := cmp.Diff(want, all[0].tokens()); diff != "" {
			t.Errorf("request under way at the stall (-want +got):\n%s", diff)
		}
		// The second comes at 50: not even its header leaves before 140, then it has as many tokens as are due.
		if first := all[1].writes[0].at; first != 90*ms {
			t.Errorf("first byte of a request that comes in the stall = %s, want 90ms", first)
		}
		if after := do(s, streamed("x", "2")).tokens(); after[0] != 30*ms {
			t.Errorf("first token after the stall = %s, want 30ms: there is only one stall", after[0])
		}
	})
}

func TestRoleLeavesAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := do(newServer(t, steady()), post("/v1/chat/completions", "a",
			`{"messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":2,"ignore_eos":true}`))
		if first := w.writes[0]; first.at != 0 || !strings.Contains(first.text, `"delta":{"role":"assistant","content":""}`) {
			t.Errorf("first chunk = %q at %s, want the role at 0", first.text, first.at)
		}
		if at := w.tokens(); at[0] != 30*ms {
			t.Errorf("first token = %s, want 30ms", at[0])
		}
	})
}

func TestWholeAnswerComesAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := do(newServer(t, steady()), post("/v1/completions", "a", `{"prompt":"a","max_tokens":6,"ignore_eos":true}`))
		if at := w.writes[0].at; at != 50*ms {
			t.Errorf("answer = %s, want 50ms", at)
		}
	})
}

func TestStartup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{Startup: time.Second})
		codes := func() (got []int) {
			for _, r := range []*http.Request{get("/health"), get("/ping"), get("/v1/models"), streamed("", "1"), get("/version"), get("/metrics")} {
				got = append(got, status(do(s, r)))
			}
			return got
		}
		if diff := cmp.Diff([]int{503, 503, 503, 503, 200, 200}, codes()); diff != "" {
			t.Errorf("during the start (-want +got):\n%s", diff)
		}
		time.Sleep(time.Second)
		if diff := cmp.Diff([]int{200, 200, 200, 200, 200, 200}, codes()); diff != "" {
			t.Errorf("after the start (-want +got):\n%s", diff)
		}
	})
}

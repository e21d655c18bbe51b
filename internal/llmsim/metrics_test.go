package llmsim

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape reads /metrics as Prometheus does. Values are keyed by name and the labels beside model_name and engine;
// histograms give _count and _sum.
func scrape(t *testing.T, s *Server) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(do(s, get("/metrics")).body()))
	if err != nil {
		t.Fatalf("/metrics: %v", err)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "model_name":
					if l.GetValue() != s.c.Model {
						t.Errorf("%s: model_name = %q", name, l.GetValue())
					}
				case "engine":
					if l.GetValue() != "0" {
						t.Errorf("%s: engine = %q", name, l.GetValue())
					}
				default:
					key += "/" + l.GetValue()
				}
			}
			switch f.GetType().String() {
			case "COUNTER":
				out[key] = m.GetCounter().GetValue()
			case "GAUGE":
				out[key] = m.GetGauge().GetValue()
			case "HISTOGRAM":
				out[key+"_count"] = float64(m.GetHistogram().GetSampleCount())
				out[key+"_sum"] = m.GetHistogram().GetSampleSum()
			default:
				t.Errorf("%s is a %s", name, f.GetType())
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := steady()
		c.MaxNumSeqs, c.MaxModelLen = 1, 100
		start := time.Now()
		s := newServer(t, c)
		go do(s, streamed("a", "3")) // 3 tokens in, first at 30 ms, ends at 38 ms
		synctest.Wait()
		time.Sleep(ms)
		go do(s, streamed("b", "2")) // waits until 38 ms, first token at 68 ms, ends at 72 ms
		time.Sleep(34 * ms)
		got := scrape(t, s)
		want := map[string]float64{
			"vllm:num_requests_running": 1, "vllm:num_requests_waiting": 1, "vllm:kv_cache_usage_perc": 0.05,
			"vllm:generation_tokens_total": 2, "vllm:prompt_tokens_total": 3, "vllm:request_success_total/length": 0,
		}
		for name, v := range want {
			if got[name] != v {
				t.Errorf("at 35 ms: %s = %g, want %g", name, got[name], v)
			}
		}
		time.Sleep(time.Second)
		want = map[string]float64{
			"vllm:num_requests_running": 0, "vllm:num_requests_waiting": 0, "vllm:kv_cache_usage_perc": 0,
			"vllm:generation_tokens_total": 5, "vllm:prompt_tokens_total": 6, "vllm:num_preemptions_total": 0,
			"vllm:request_success_total/length": 2, "vllm:request_success_total/stop": 0,
			"vllm:request_success_total/abort": 0, "vllm:request_success_total/error": 0,
			"vllm:time_to_first_token_seconds_count": 2, "vllm:time_to_first_token_seconds_sum": 0.030 + 0.067,
			"vllm:inter_token_latency_seconds_count": 3, "vllm:inter_token_latency_seconds_sum": 0.012,
			"vllm:e2e_request_latency_seconds_count": 2, "vllm:e2e_request_latency_seconds_sum": 0.038 + 0.071,
			"vllm:request_queue_time_seconds_count": 2, "vllm:request_queue_time_seconds_sum": 0.037,
			"vllm:request_prompt_tokens_count": 2, "vllm:request_prompt_tokens_sum": 6,
			"vllm:request_generation_tokens_count": 2, "vllm:request_generation_tokens_sum": 5,
			"process_start_time_seconds": float64(start.Unix()),
		}
		near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
		if diff := cmp.Diff(want, scrape(t, s), near); diff != "" {
			t.Errorf("after all (-want +got):\n%s", diff)
		}
	})
}

func TestMetricsLint(t *testing.T) {
	s := newServer(t, Config{Model: `a"b\c`})
	do(s, streamed("a", "2"))
	body := do(s, get("/metrics")).body()
	problems, err := promlint.New(bytes.NewReader([]byte(body))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.Contains(p.Text, "':'") { // vLLM's prefix
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestTokensOfCutStreamsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := steady()
		c.EmissionLog = &log
		s := newServer(t, c)
		r, cancel := withCancel(streamed("cancelled", "10"))
		time.AfterFunc(45*ms, cancel) // after the tokens of 30, 34, 38 and 42 ms
		if w := newRecorder(); !doTo(s, w, r) || len(w.tokens()) != 4 {
			t.Errorf("the cancelled request got %d tokens, want 4 and a cut connection", len(w.tokens()))
		}
		w := newRecorder()
		w.fail = 3
		if !doTo(s, w, streamed("broken", "10")) || len(w.tokens()) != 3 {
			t.Errorf("the broken connection took %d tokens, want 3", len(w.tokens()))
		}
		got := scrape(t, s)
		if got["vllm:generation_tokens_total"] != 7 || got["vllm:request_success_total/abort"] != 2 {
			t.Errorf("tokens = %g, aborted = %g, want 7 and 2", got["vllm:generation_tokens_total"], got["vllm:request_success_total/abort"])
		}
		emissions, err := ReadEmissions(&log)
		if err != nil || len(emissions["cancelled"]) != 4 || len(emissions["broken"]) != 3 {
			t.Errorf("emissions = %v, %v, want 4 and 3 tokens", emissions, err)
		}
	})
}

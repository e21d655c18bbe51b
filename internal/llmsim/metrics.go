package llmsim

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The reasons why an answer ended, as vLLM counts them.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishAbort  = "abort"
	finishError  = "error"
)

// metrics has the names and labels of vLLM's V1 engine. Buckets are vLLM's, with finer ones below for small models.
type metrics struct {
	registry         *prometheus.Registry
	promptTokens     prometheus.Counter
	generationTokens prometheus.Counter
	success          *prometheus.CounterVec
	ttft             prometheus.Histogram
	itl              prometheus.Histogram
	e2e              prometheus.Histogram
	queueTime        prometheus.Histogram
	requestPrompt    prometheus.Histogram
	requestAnswer    prometheus.Histogram
}

func newMetrics(model string, maxModelLen int, started time.Time) *metrics {
	ttft := []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}
	itl := []float64{.001, .002, .003, .004, .005, .0075, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5,
		7.5, 10, 20, 40, 80}
	whole := []float64{.01, .025, .05, .1, .2, .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480,
		960, 1920, 7680}
	labels := prometheus.Labels{"model_name": model, "engine": "0"}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "vllm:" + name, Help: help, ConstLabels: labels})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vllm:" + name, Help: help, ConstLabels: labels, Buckets: buckets,
		})
	}
	m := &metrics{
		registry:         prometheus.NewRegistry(),
		promptTokens:     counter("prompt_tokens_total", "Number of prefill tokens processed."),
		generationTokens: counter("generation_tokens_total", "Number of tokens written to clients."),
		success: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vllm:request_success_total", Help: "Count of ended requests by reason.", ConstLabels: labels,
		}, []string{"finished_reason"}),
		ttft:          histogram("time_to_first_token_seconds", "Time from arrival to the first token.", ttft),
		itl:           histogram("inter_token_latency_seconds", "Time between two tokens of a request.", itl),
		e2e:           histogram("e2e_request_latency_seconds", "Time from arrival to the end.", whole),
		queueTime:     histogram("request_queue_time_seconds", "Time spent waiting.", whole),
		requestPrompt: histogram("request_prompt_tokens", "Number of prefill tokens of a request.", steps125(maxModelLen)),
		requestAnswer: histogram("request_generation_tokens", "Number of generated tokens of a request.", steps125(maxModelLen)),
	}
	for _, reason := range []string{finishStop, finishLength, finishAbort, finishError} {
		m.success.WithLabelValues(reason)
	}
	start := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "process_start_time_seconds", Help: "Start time of the process since unix epoch in seconds.",
	})
	start.Set(float64(started.UnixNano()) / 1e9)
	m.registry.MustRegister(m.promptTokens, m.generationTokens, m.success, m.ttft, m.itl, m.e2e, m.queueTime,
		m.requestPrompt, m.requestAnswer, start, counter("num_preemptions_total", "Number of preemptions: never any."))
	return m
}

// watch adds the gauges that look at a queue, of which capacity tokens are a full cache.
func (m *metrics) watch(q *queue, model string, capacity float64) {
	gauge := func(name, help string, value func(load) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "vllm:" + name, Help: help, ConstLabels: prometheus.Labels{"model_name": model, "engine": "0"},
		}, func() float64 { return value(q.load()) }))
	}
	gauge("num_requests_running", "Number of requests that are answered.",
		func(l load) float64 { return float64(l.running) })
	gauge("num_requests_waiting", "Number of requests that wait.",
		func(l load) float64 { return float64(l.waiting) })
	gauge("kv_cache_usage_perc", "Used share of the cache, from 0 to 1.",
		func(l load) float64 { return float64(l.held) / capacity })
}

// steps125 returns 1, 2, 5, 10, 20, ... up to limit.
func steps125(limit int) []float64 {
	var out []float64
	for scale := 1; ; scale *= 10 {
		for _, m := range []int{1, 2, 5} {
			if m*scale > limit {
				return out
			}
			out = append(out, float64(m*scale))
		}
	}
}

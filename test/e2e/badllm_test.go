//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/test/user"
)

// asked is a load of an inference server at a URL that serves the model m. What it asks for is drawn from the seed.
const asked = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: ask}
spec:
  site: local
  clients:
  - name: load
    target: {url: %q}
    inference: {model: m, inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    openLoop: {rate: "200", arrival: Constant, maxInFlight: 64}
    duration: 5s
    seed: 7
`

// asks is the recipe asked for a URL, with texts replaced.
func asks(url string, texts ...string) string {
	return strings.NewReplacer(texts...).Replace(fmt.Sprintf(asked, url))
}

// askLoads says that a request is of the load.
func askLoads(e user.Exchange) bool { return strings.HasPrefix(e.ID, "load-r1-") }

// llmsimOf starts the built-in simulator, which serves the model m until the end of the test, and returns its URL. It asks
// for the API key; "" for none.
func llmsimOf(t *testing.T, key string, flags ...string) string {
	t.Helper()
	owner, address := user.New(t), user.FreeAddress(t)
	host, port, _ := strings.Cut(address, ":")
	owner.Setenv("VLLM_API_KEY", key)
	owner.Serve("http://"+address+"/health", filepath.Join(os.Getenv("ASSAY_BIN"), "assay-node"),
		append([]string{"llmsim", "--host", host, "--port", port, "--model", "m"}, flags...)...)
	return "http://" + address
}

// llmdOf starts llm-d-inference-sim, which stands for vLLM: it serves the model m until the end of the test.
func llmdOf(t *testing.T, flags ...string) string {
	t.Helper()
	address := user.FreeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	user.New(t).Serve("http://"+address+"/health", user.Server(t, user.LLMDSim), append(llmdFlags(port), flags...)...)
	return "http://" + address
}

// llmdFlags are those of a fast server without a tokenizer.
func llmdFlags(port string) []string {
	return []string{"--model", "m", "--force-dummy-tokenizer", "--port", port, "--seed", "7", "--max-num-seqs", "64", "--max-model-len", "128"}
}

// A server that does not serve what is asked for ends the run in one refusal, in its own words.
func TestBadInferenceServers(t *testing.T) {
	t.Parallel()
	failed := func(reason, recipe string, words ...string) badInput {
		return badInput{reason: reason, recipe: recipe, wantCode: 5, wantOutput: whole, wantWords: words}
	}
	const (
		once  = "duration: 1s"
		other = "see that http://127.0.0.1:"
		ends  = " is the server that the recipe means, and its log"
	)
	of, secret := llmdOf(t), "---\napiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {token: wrong}\n"
	quoted := fmt.Sprintf(`["%s"]`, strings.Join(append([]string{user.Server(t, user.LLMDSim)}, llmdFlags("$(PORT)")...), `", "`))
	for name, in := range map[string]badInput{
		"model not served": failed("the recipe names another", asks(of, "model: m,", "model: meta/llama,", "duration: 5s", once),
			"✗ ask Failed: not one of 200 requests of load succeeded: http_4xx (404) The model `meta/llama` does not exist: ", other, ends),
		"model of a service not served": failed("the probe knows before anything is measured", changed(simulator, strings.Replace(command(quoted, "probes: [{model: {name: meta/llama}}]"), "timeout: 2s", "timeout: 10s", 1)),
			`service sim: ReadinessTimeout: not ready within 10s: GET /v1/models: it lists ["m"], not "meta/llama": name the model as the server does`),
		"prompt longer than the context": failed("a prompt that no answer fits beside; the server says so inside a 200", asks(of, "inputTokens: {fixed: 8}", "inputTokens: {fixed: 500}", "duration: 5s", once),
			"✗ ask Failed: not one of 200 requests of load succeeded: stream_error This model's maximum context length is 128 tokens. However, you requested 508 tokens", other, ends),
		"wrong token": failed("a key of another server", asks(llmsimOf(t, "right"), "}\n    inference", ", credentials: {name: mine}}\n    inference", "duration: 5s", once)+secret,
			`✗ ask Failed: not one of 200 requests of load succeeded: http_4xx (401) {"error":"Unauthorized"}: name in target.credentials a Secret with what http://127.0.0.1:`, " accepts"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			in.check(t, u, in.meet(t, u))
		})
	}
}

// What goes wrong with one request in a hundred is in the result under its name, and exactly as often.
func TestSpoiledInference(t *testing.T) {
	t.Parallel()
	count := func(p *user.Proxy, bad func(user.Exchange) bool) int64 {
		return int64(len(p.Seen(func(e user.Exchange) bool { return askLoads(e) && bad(e) })))
	}
	status := func(code int) func(user.Exchange) bool { return func(e user.Exchange) bool { return e.Status == code } }
	has := func(word string) func(user.Exchange) bool {
		return func(e user.Exchange) bool { return e.Status == http.StatusOK && strings.Contains(e.Tail, word) }
	}
	cut := func(e user.Exchange) bool {
		return e.Status == http.StatusOK && !strings.Contains(e.Tail, "data: [DONE]")
	}
	for name, s := range map[string]struct {
		spoiled

		server func(t *testing.T) string
	}{
		"429 storm of a vLLM-compatible server": {spoiled{
			reason: "a limit on the rate",
			want: func(p *user.Proxy) []results.ErrorCount {
				return []results.ErrorCount{{Kind: "http_4xx", Code: 429, Count: count(p, status(429)), Sample: "Rate limit reached"}}
			},
		}, func(t *testing.T) string {
			return llmdOf(t, "--failure-injection-rate", "1", "--failure-types", "rate_limit")
		}},
		"429 to every request": {spoiled{
			reason: "a limit that lets nobody in",
			recipe: func(url string) string { return asks(url, "duration: 5s", "duration: 1s") },
			fails:  "not one of 200 requests of load succeeded: http_4xx (429) Rate limit reached",
			want: func(p *user.Proxy) []results.ErrorCount {
				return []results.ErrorCount{{Kind: "http_4xx", Code: 429, Count: count(p, status(429)), Sample: "Rate limit reached"}}
			},
		}, func(t *testing.T) string {
			return llmdOf(t, "--failure-injection-rate", "100", "--failure-types", "rate_limit")
		}},
		"stream cut in half": {spoiled{
			reason: "a connection that breaks within an answer",
			faults: []user.Fault{{For: func(r *http.Request) bool { return r.Method == http.MethodPost }, Every: 100, Spoil: user.CutAfter(800)}},
			want: func(p *user.Proxy) []results.ErrorCount {
				return []results.ErrorCount{{Kind: "truncated", Count: count(p, cut), Sample: "the server closed the connection"}}
			},
		}, func(t *testing.T) string { return llmdOf(t) }},
		"prompts, some longer than the context": {spoiled{
			reason: "one length in a hundred is too great, which the server says inside a 200",
			recipe: func(url string) string {
				return asks(url, "inputTokens: {fixed: 8}", "inputTokens: {uniform: {min: 22, max: 121}}") // and 8 of 128 for the answer
			},
			want: func(p *user.Proxy) []results.ErrorCount {
				return []results.ErrorCount{{Kind: "stream_error", Count: count(p, has(`"error"`)), Sample: "This model's maximum context length is 128 tokens. However, you requested 129 tokens"}}
			},
		}, func(t *testing.T) string { return llmdOf(t) }},
		"six faults at once": {spoiled{
			reason: "each has a share of its own, and none hides another",
			want: func(p *user.Proxy) []results.ErrorCount {
				return []results.ErrorCount{
					{Kind: "http_4xx", Code: 429, Count: count(p, status(429)), Sample: "Injected fault: too many requests."},
					{Kind: "http_5xx", Code: 500, Count: count(p, status(500)), Sample: "Injected fault: the engine failed."},
					{Kind: "reset", Count: count(p, status(0)), Sample: "the server closed the connection"},
					{Kind: "truncated", Count: count(p, cut), Sample: "the answer ended without [DONE]"},
					{Kind: "stream_error", Count: count(p, has(`"error"`)), Sample: "Injected fault: the engine failed."},
					{Kind: "empty", Count: count(p, has(`"completion_tokens":0`)), Sample: "no content; 0 tokens by usage"},
				}
			},
		}, func(t *testing.T) string {
			flags := []string{"--seed", "7"}
			for _, fault := range []string{"RateLimit", "ServerError", "Reset", "Truncate", "StreamError", "Empty"} {
				flags = append(flags, "--fault", fault+"=0.01")
			}
			return llmsimOf(t, "", flags...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s.recipe == nil {
				s.recipe = func(url string) string { return asks(url) }
			}
			s.loads = askLoads
			s.check(t, s.server(t))
		})
	}
}

// faulty is a load of a service under test that fails one request in a hundred in each of six ways.
const faulty = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: faulty}
spec:
  site: local
  services:
  - name: sim
    llmsim: {seed: 7, ttft: {mean: 2ms}, itl: {mean: 1ms}, faults: [{type: RateLimit, ratio: "0.01"}, {type: ServerError, ratio: "0.01"}, {type: Reset, ratio: "0.01"},
      {type: Truncate, ratio: "0.01"}, {type: StreamError, ratio: "0.01"}, {type: Empty, ratio: "0.01"}]}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    openLoop: {rate: "200", arrival: Constant, maxInFlight: 64}
    duration: 5s
`

// The metrics of a server that fails now and then, and the client, agree on how often; each token until then is counted by
// both. A request that was refused is in no metric of vLLM's, and a prompt without a token of an answer in none of its prompts.
func TestSpoiledService(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	a := run(u, faulty)
	r := u.Result(u.Path("out"))
	endedWell(t, a, r)
	c, failed := r.Clients[0], map[string]int64{}
	for _, e := range c.Errors {
		failed[e.Kind] += e.Count
	}
	ended := map[string]int64{}
	for _, s := range u.Counters(u.Rank(u.Path("out", "run"), "sim"), 1)["server"].Series {
		if s.Name == "vllm:request_success_total" {
			ended[s.Labels["finished_reason"]] += int64(s.Increase)
		}
	}
	for _, kind := range []string{"http_4xx", "http_5xx", "reset", "truncated", "stream_error", "empty"} {
		if failed[kind] == 0 || len(failed) != 6 {
			t.Errorf("the failures are %s, want %s among six", kinds(r), kind)
		}
	}
	if ended["error"] != failed["truncated"]+failed["stream_error"] || ended["length"] != c.Measured.Succeeded || ended["stop"] != failed["empty"] ||
		c.Measured.Offered != ended["length"]+ended["error"]+ended["stop"]+failed["http_4xx"]+failed["http_5xx"]+failed["reset"] {
		t.Errorf("the server's requests ended so: %v; the result says %+v, %s", ended, c.Measured, kinds(r))
	}
	tokensAgree(t, r)
	t.Logf("exit code %d, %s: of %d requests %s; the server: %v", a.Code, r.Outcome, c.Measured.Offered, kinds(r), ended)
}

// A server that answers 200 to a prompt that is too long, and then refuses it inside, counts no such prompt; nor does the
// client.
func TestPromptsBeyondTheContextOfAService(t *testing.T) {
	t.Parallel()
	argv := append([]string{user.Server(t, user.LLMDSim)}, llmdFlags("$(PORT)")...)
	service := fmt.Sprintf(`{name: sim, command: {argv: ["%s"], ports: [{name: http}], probes: [{http: {path: /health}}, {token: {name: m}}], protocol: OpenAI, model: m},
      metrics: {targets: [{name: server, portName: http, settle: 250ms}], crossChecks: [{target: server, metric: "vllm:generation_tokens_total", total: output_tokens},
      {target: server, metric: "vllm:prompt_tokens_total", total: input_tokens}]}}`, strings.Join(argv, `", "`))
	u := user.New(t)
	a := run(u, asks("", `target: {url: ""}`, "target: {service: sim}", "  clients:", "  services:\n  - "+service+"\n  clients:", "model: m, ", "",
		"inputTokens: {fixed: 8}", "inputTokens: {uniform: {min: 22, max: 121}}", "duration: 5s", "duration: 2s")) // 8 of 128 are for the answer
	r := u.Result(u.Path("out"))
	endedWell(t, a, r)
	if errors := r.Clients[0].Errors; len(errors) != 1 || errors[0].Kind != "stream_error" {
		t.Errorf("the failures are %s, want prompts that were too long", kinds(r))
	}
	tokensAgree(t, r)
}

// tokensAgree says that prompts and answers were compared, and are the same on both sides.
func tokensAgree(t *testing.T, r results.Result) {
	t.Helper()
	if len(r.CrossChecks) != 2 {
		t.Errorf("%d counters were compared, want those of prompts and answers", len(r.CrossChecks))
	}
	for _, check := range r.CrossChecks {
		if !check.Agrees || check.Clients == 0 {
			t.Errorf("server and client count otherwise: %+v", check)
		}
	}
}

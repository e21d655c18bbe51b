package llmsim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func get(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }

// status is the code of an answer; a handler that sets none means 200.
func status(w *recorder) int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}

func TestRoutes(t *testing.T) {
	c := goldenConfig()
	c.MaxModelLen = 100
	s := newServer(t, c)
	tests := map[string]struct {
		r      *http.Request
		status int
		want   string
	}{
		"health":  {get("/health"), 200, ""},
		"ping":    {post("/ping", "", ""), 200, ""},
		"version": {get("/version"), 200, `{"version":"llmsim"}`},
		"models": {get("/v1/models"), 200, `{"object":"list","data":[{"id":"m","object":"model","created":1700000000,` +
			`"owned_by":"assay","root":"m","parent":null,"max_model_len":100}]}`},
		"tokenize":      {post("/tokenize", "", `{"prompt":"a  about t300"}`), 200, `{"count":3,"max_model_len":100,"tokens":[0,1,300],"token_strs":null}`},
		"tokenize none": {post("/tokenize", "", `{"prompt":""}`), 200, `{"count":0,"max_model_len":100,"tokens":[],"token_strs":null}`},
		"tokenize what": {post("/tokenize", "", `{}`), 400, `{"error":{"message":"prompt is missing: give a string","type":"BadRequestError","param":null,"code":400}}`},
		"detokenize":    {post("/detokenize", "", `{"tokens":[0,1,300]}`), 200, `{"prompt":"a about t300"}`},
		"detokenize id": {post("/detokenize", "", `{"tokens":[50272]}`), 400, `{"error":{"message":"token id 50272 is out of vocabulary: use ids from 0 to 50271","type":"BadRequestError","param":null,"code":400}}`},
		"unknown path":  {get("/v1/nothing"), 404, `{"error":{"message":"Not Found","type":"Not Found","param":null,"code":404}}`},
		"method":        {get("/v1/completions"), 405, `{"error":{"message":"Method Not Allowed: use POST","type":"Method Not Allowed","param":null,"code":405}}`},
		"unknown model": {post("/v1/completions", "", `{"model":"x","prompt":"a"}`), 404, "{\"error\":{\"message\":\"The model `x` does not exist.\",\"type\":\"NotFoundError\",\"param\":null,\"code\":404}}"},
		"bad JSON":      {post("/detokenize", "", `{`), 400, `{"error":{"message":"The body is not a valid request: unexpected end of JSON input","type":"BadRequestError","param":null,"code":400}}`},
		"bad request":   {post("/v1/chat/completions", "", `{"messages":[]}`), 400, `{"error":{"message":"messages must hold at least one message","type":"BadRequestError","param":null,"code":400}}`},
		"too large":     {post("/v1/completions", "", strings.Repeat(" ", maxBody+1)), 413, `{"error":{"message":"The body exceeds 67108864 bytes.","type":"RequestEntityTooLarge","param":null,"code":413}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := do(s, tt.r)
			if diff := cmp.Diff(tt.want, w.body()); diff != "" || status(w) != tt.status {
				t.Errorf("status %d, want %d; body (-want +got):\n%s", status(w), tt.status, diff)
			}
		})
	}
}

func TestAPIKey(t *testing.T) {
	s := newServer(t, Config{APIKey: "s3cr3t"})
	tests := map[string]struct {
		reason              string
		path, authorization string
		want                int
	}{
		"right":    {"the key opens", "/v1/models", "Bearer s3cr3t", 200},
		"none":     {"all below /v1 is closed", "/v1/models", "", 401},
		"wrong":    {"another key", "/v1/models", "Bearer s3cr3u", 401},
		"longer":   {"the key is only a part", "/v1/models", "Bearer s3cr3t2", 401},
		"scheme":   {"only bearer tokens", "/v1/models", "Basic s3cr3t", 401},
		"health":   {"probes carry no key", "/health", "", 200},
		"metrics":  {"scrapes carry no key", "/metrics", "", 200},
		"unknown":  {"closed before it is unknown", "/v1/nothing", "", 401},
		"tokenize": {"vLLM checks only below /v1", "/tokenize", "", 405},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := get(tt.path)
			r.Header.Set("Authorization", tt.authorization)
			w := do(s, r)
			if status(w) != tt.want {
				t.Errorf("%s: status = %d, want %d", tt.reason, status(w), tt.want)
			}
			if tt.want == 401 && w.body() != `{"error":"Unauthorized"}` {
				t.Errorf("%s: body = %s", tt.reason, w.body())
			}
		})
	}
}

func TestRequestIDs(t *testing.T) {
	s := newServer(t, Config{})
	tests := map[string]struct{ given, want string }{
		"given":     {"abc-1", "abc-1"},
		"none":      {"", "sim-1"},
		"too long":  {strings.Repeat("x", maxIDLength+1), "sim-2"},
		"not ASCII": {"ä", "sim-3"},
	}
	for _, name := range []string{"given", "none", "too long", "not ASCII"} {
		tt := tests[name]
		w := do(s, post("/v1/completions", tt.given, `{"prompt":"a"}`))
		var answer struct{ ID string }
		if err := json.Unmarshal([]byte(w.body()), &answer); err != nil {
			t.Fatal(err)
		}
		if got := w.header.Get("X-Request-Id"); got != tt.want || answer.ID != "cmpl-"+tt.want {
			t.Errorf("%s: header %q and id %q, want %q", name, got, answer.ID, tt.want)
		}
	}
	r := get("/health")
	r.Header.Set("X-Request-Id", "probe")
	if got := do(s, r).header.Get("X-Request-Id"); got != "probe" {
		t.Errorf("X-Request-Id of /health = %q, want it echoed", got)
	}
}

package llmsim

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// goldenConfig fixes all that goes into an answer.
func goldenConfig() Config {
	return Config{Model: "m", Seed: 1, Now: func() time.Time { return time.Unix(1700000000, 0) }}
}

func TestGoldenAnswers(t *testing.T) {
	const rest = `"logprobs":null,"finish_reason":null,"stop_reason":null}]`
	const last = `"logprobs":null,"finish_reason":"length","stop_reason":null}]`
	tests := map[string]struct {
		path, fields string
		object       string
		want         []string // events, or the one answer, after the fields that are always the same
	}{
		"completion stream": {
			"/v1/completions", `"prompt":[1,2,3],"max_tokens":3,"stream":true`, "text_completion",
			[]string{
				`{"index":0,"text":"large",` + rest + `}`,
				`{"index":0,"text":" i",` + rest + `}`,
				`{"index":0,"text":" an",` + last + `}`,
			},
		},
		"completion stream with usage": {
			"/v1/completions", `"prompt":[1,2,3],"max_tokens":2,"stream":true,"stream_options":{"include_usage":true}`,
			"text_completion",
			[]string{
				`{"index":0,"text":"large",` + rest + `}`,
				`{"index":0,"text":" i",` + last + `}`,
				`],"usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2}}`,
			},
		},
		"chat stream with running usage": {
			"/v1/chat/completions", `"messages":[{"role":"user","content":"good day"}],"max_tokens":2,"stream":true,` +
				`"stream_options":{"include_usage":true,"continuous_usage_stats":true}`,
			"chat.completion.chunk",
			[]string{
				`{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],` +
					`"usage":{"prompt_tokens":4,"total_tokens":4,"completion_tokens":0}}`,
				`{"index":0,"delta":{"content":"large"},` + rest + `,"usage":{"prompt_tokens":4,"total_tokens":5,"completion_tokens":1}}`,
				`{"index":0,"delta":{"content":" i"},` + last + `,"usage":{"prompt_tokens":4,"total_tokens":6,"completion_tokens":2}}`,
				`],"usage":{"prompt_tokens":4,"total_tokens":6,"completion_tokens":2}}`,
			},
		},
		"completion": {
			"/v1/completions", `"prompt":["a b","c"],"max_tokens":2`, "text_completion",
			[]string{`{"index":0,"text":"large i","logprobs":null,"finish_reason":"length","stop_reason":null},` +
				`{"index":1,"text":"its last",` + last + `,"usage":{"prompt_tokens":3,"total_tokens":7,"completion_tokens":4}}`},
		},
		"chat": {
			"/v1/chat/completions", `"messages":[{"role":"user","content":"good day"}],"max_completion_tokens":3`, "chat.completion",
			[]string{`{"index":0,"message":{"role":"assistant","content":"large i an"},` + last +
				`,"usage":{"prompt_tokens":4,"total_tokens":7,"completion_tokens":3}}`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := do(newServer(t, goldenConfig()), post(tt.path, `id"1`, `{"ignore_eos":true,`+tt.fields+`}`))
			prefix := "cmpl-"
			if strings.Contains(tt.path, "chat") {
				prefix = "chatcmpl-"
			}
			stream := strings.Contains(tt.fields, "stream")
			want := ""
			for _, e := range tt.want {
				e = `{"id":"` + prefix + `id\"1","object":"` + tt.object + `","created":1700000000,"model":"m","choices":[` + e
				if !json.Valid([]byte(e)) {
					t.Errorf("%s is not valid JSON", e)
				}
				if stream {
					e = "data: " + e + "\n\n"
				}
				want += e
			}
			if stream {
				want += "data: [DONE]\n\n"
			}
			if diff := cmp.Diff(strings.SplitAfter(want, "\n\n"), strings.SplitAfter(w.body(), "\n\n")); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			wantType := map[bool]string{true: "text/event-stream; charset=utf-8", false: "application/json"}[stream]
			if got := w.header.Get("Content-Type"); got != wantType {
				t.Errorf("Content-Type = %q, want %q", got, wantType)
			}
		})
	}
}

package llmsim

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAccepts(t *testing.T) {
	type want struct {
		Tokens, Limits []int
		Usage, Running bool
	}
	tests := map[string]struct {
		reason string
		api    api
		body   string
		want   want
	}{
		"string":     {"words count", completions, `{"prompt":"one two  three"}`, want{Tokens: []int{3}, Limits: []int{16}}},
		"strings":    {"one prompt each", completions, `{"prompt":["a b","c"],"max_tokens":2}`, want{Tokens: []int{2, 1}, Limits: []int{2, 2}}},
		"ids":        {"ids count exactly", completions, `{"prompt":[5, 6,7,50271]}`, want{Tokens: []int{4}, Limits: []int{16}}},
		"id lists":   {"one prompt each", completions, `{"prompt": [ [1,2],[3]],"max_tokens":4}`, want{Tokens: []int{2, 1}, Limits: []int{4, 4}}},
		"model":      {"the served one", completions, `{"model":"m","prompt":"a"}`, want{Tokens: []int{1}, Limits: []int{16}}},
		"rest":       {"the default gives way to the context", completions, `{"prompt":[` + strings.Repeat("1,", 89) + `1]}`, want{Tokens: []int{90}, Limits: []int{10}}},
		"min":        {"min_tokens raises the default", completions, `{"prompt":"a","min_tokens":20}`, want{Tokens: []int{1}, Limits: []int{20}}},
		"exact":      {"prompt and answer fill the context", completions, `{"prompt":"a","max_tokens":99}`, want{Tokens: []int{1}, Limits: []int{99}}},
		"unknown":    {"vLLM ignores what it does not know", completions, `{"prompt":"a","top_k":5,"logit_bias":{"1":2}}`, want{Tokens: []int{1}, Limits: []int{16}}},
		"null":       {"null is like nothing", completions, `{"prompt":"a","max_tokens":null,"seed":null,"stream_options":null}`, want{Tokens: []int{1}, Limits: []int{16}}},
		"chat":       {"a token for each role and one for the answer", chats, `{"messages":[{"role":"system","content":"be nice"},{"role":"user","content":"hi"}]}`, want{Tokens: []int{6}, Limits: []int{94}}},
		"parts":      {"the texts of parts count", chats, `{"messages":[{"role":"user","content":[{"type":"text","text":"a b"},{"type":"text","text":"c"}]}],"max_completion_tokens":7}`, want{Tokens: []int{5}, Limits: []int{7}}},
		"no text":    {"a message may have no content", chats, `{"messages":[{"role":"assistant","content":null}],"max_tokens":1}`, want{Tokens: []int{2}, Limits: []int{1}}},
		"newer":      {"max_completion_tokens wins", chats, `{"messages":[{"role":"user","content":"a"}],"max_tokens":3,"max_completion_tokens":5}`, want{Tokens: []int{3}, Limits: []int{5}}},
		"usage":      {"a last chunk", completions, `{"prompt":"a","stream":true,"stream_options":{"include_usage":true}}`, want{Tokens: []int{1}, Limits: []int{16}, Usage: true}},
		"running":    {"every chunk", completions, `{"prompt":"a","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`, want{Tokens: []int{1}, Limits: []int{16}, Usage: true, Running: true}},
		"half asked": {"vLLM needs include_usage for both", completions, `{"prompt":"a","stream":true,"stream_options":{"continuous_usage_stats":true}}`, want{Tokens: []int{1}, Limits: []int{16}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := parse([]byte(tt.body), tt.api, "m", 100)
			if err != nil {
				t.Fatalf("%s: parse() = %v", tt.reason, err)
			}
			got := want{Limits: r.limits, Usage: r.usage, Running: r.running}
			for _, p := range r.prompts {
				got.Tokens = append(got.Tokens, p.tokens)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		api    api
		body   string
		status int
		want   string
	}{
		"no JSON":       {completions, `{"prompt":`, 400, "not a valid request"},
		"two values":    {completions, `{"prompt":"a"} {}`, 400, "not a valid request"},
		"model":         {completions, `{"model":"other","prompt":"a"}`, 404, "The model `other` does not exist."},
		"no prompt":     {completions, `{}`, 400, "prompt must hold 1 to 1024 prompts"},
		"empty list":    {completions, `{"prompt":[]}`, 400, "prompt 0 is empty"},
		"empty string":  {completions, `{"prompt":" "}`, 400, "prompt 0 is empty"},
		"empty ids":     {completions, `{"prompt":[[1],[]]}`, 400, "prompt 1 is empty"},
		"number":        {completions, `{"prompt":5}`, 400, "prompt must be a string, a list"},
		"mixed":         {completions, `{"prompt":[1,"a"]}`, 400, "prompt: "},
		"fraction":      {completions, `{"prompt":[1.5]}`, 400, "prompt: "},
		"negative id":   {completions, `{"prompt":[1,-2]}`, 400, "token id -2 is out of vocabulary"},
		"too many":      {completions, `{"prompt":[` + strings.Repeat(`"a",`, 1024) + `"a"]}`, 400, "got 1025"},
		"zero":          {completions, `{"prompt":"a","max_tokens":0}`, 400, "max_tokens must be at least 1"},
		"min over max":  {completions, `{"prompt":"a","max_tokens":2,"min_tokens":3}`, 400, "min_tokens must be from 0 to max_tokens"},
		"negative min":  {completions, `{"prompt":"a","min_tokens":-1}`, 400, "min_tokens must be"},
		"huge min":      {completions, `{"prompt":"a","min_tokens":100}`, 400, "min_tokens 100 does not fit"},
		"temperature":   {completions, `{"prompt":"a","temperature":-1}`, 400, "temperature must be"},
		"n":             {completions, `{"prompt":"a","n":2}`, 400, "n must be 1"},
		"options":       {completions, `{"prompt":"a","stream_options":{"include_usage":true}}`, 400, "stream_options can only be given when stream is true"},
		"overflow":      {completions, `{"prompt":"a b","max_tokens":99}`, 400, "maximum context length is 100 tokens. However, you requested 101 tokens (2 in the prompt, 99 for the answer)"},
		"long prompt":   {completions, `{"prompt":[` + strings.Repeat("1,", 99) + `1]}`, 400, "the prompt alone has 100"},
		"no messages":   {chats, `{"prompt":"a"}`, 400, "messages must hold at least one message"},
		"content":       {chats, `{"messages":[{"role":"user","content":5}]}`, 400, "content must be a string"},
		"content parts": {chats, `{"messages":[{"role":"user","content":[5]}]}`, 400, "content: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(tt.body), tt.api, "m", 100)
			var got *apiError
			if !errors.As(err, &got) {
				t.Fatalf("parse() = %v, want an *apiError", err)
			}
			if got.status != tt.status || !strings.Contains(got.message, tt.want) {
				t.Errorf("parse() = %d %q, want %d with %q", got.status, got.message, tt.status, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"model":"m","prompt":"a b c","max_tokens":5}`, `{"prompt":["a","b"]}`, `{"prompt":[1,2,3]}`, `{"prompt":[[1],[2,3]]}`,
		`{"messages":[{"role":"user","content":[{"text":"x"}]}]}`, `{"prompt":[`, `{"prompt":null}`, `{"prompt":[ ]}`,
		`{"prompt":"a","min_tokens":9223372036854775807}`, `{"prompt":"a","stream":true,"stream_options":{}}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, chat bool) {
		a := completions
		if chat {
			a = chats
		}
		const longest = 100
		r, err := parse(b, a, "m", longest)
		if err != nil {
			if _, ok := errors.AsType[*apiError](err); !ok {
				t.Fatalf("parse(%q) = %v, which is no *apiError", b, err)
			}
			return
		}
		if len(r.prompts) == 0 || len(r.limits) != len(r.prompts) {
			t.Fatalf("parse(%q): %d prompts and %d limits", b, len(r.prompts), len(r.limits))
		}
		for i, p := range r.prompts {
			if p.tokens < 1 || r.limits[i] < 1 || r.minTokens > r.limits[i] || p.tokens+r.limits[i] > longest {
				t.Fatalf("parse(%q): prompt of %d tokens, answer of %d to %d", b, p.tokens, r.minTokens, r.limits[i])
			}
		}
	})
}

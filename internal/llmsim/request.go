package llmsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// defaultCompletionTokens is the max_tokens of a completion that gives none, as in OpenAI's API.
const defaultCompletionTokens = 16

// body is the JSON of a completion or a chat. Fields that it does not name are accepted and ignored, as vLLM does.
type body struct {
	Model               *string        `json:"model"`
	Prompt              prompts        `json:"prompt"`
	Messages            []message      `json:"messages"`
	MaxTokens           *int           `json:"max_tokens"`
	MaxCompletionTokens *int           `json:"max_completion_tokens"`
	MinTokens           int            `json:"min_tokens"`
	IgnoreEOS           bool           `json:"ignore_eos"`
	Temperature         *float64       `json:"temperature"`
	Seed                *int64         `json:"seed"`
	N                   *int           `json:"n"`
	Stream              bool           `json:"stream"`
	StreamOptions       *streamOptions `json:"stream_options"`
}

type streamOptions struct {
	IncludeUsage         bool `json:"include_usage"`
	ContinuousUsageStats bool `json:"continuous_usage_stats"`
}

// request is what a client asks for, after all checks.
type request struct {
	api       api
	prompts   []prompt
	limits    []int // the most tokens of each prompt's answer
	minTokens int
	ignoreEOS bool
	stream    bool
	usage     bool // a last chunk tells the usage
	running   bool // and so does every other one
	greedy    bool // temperature 0: the text depends on the prompt and not on the request
	seed      *int64
}

// apiError is an answer that refuses a request, in vLLM's form.
type apiError struct {
	status  int
	kind    string
	message string
}

func (e *apiError) Error() string { return e.message }

func badRequest(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "BadRequestError", fmt.Sprintf(format, args...)}
}

// parse reads the body of a request to the api of a server with this model and this largest length. Errors are of
// type *apiError.
func parse(b []byte, a api, model string, maxModelLen int) (*request, error) {
	var in body
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, badRequest("The body is not a valid request: %v", err)
	}
	if in.Model != nil && *in.Model != "" && *in.Model != model {
		return nil, &apiError{http.StatusNotFound, "NotFoundError", fmt.Sprintf("The model `%s` does not exist.", *in.Model)}
	}
	r := &request{
		api: a, prompts: in.Prompt, minTokens: in.MinTokens, ignoreEOS: in.IgnoreEOS, stream: in.Stream, seed: in.Seed,
		greedy: in.Temperature != nil && *in.Temperature == 0,
	}
	if a == chats {
		if len(in.Messages) == 0 {
			return nil, badRequest("messages must hold at least one message")
		}
		r.prompts = []prompt{chatPrompt(in.Messages)}
	}
	if o := in.StreamOptions; o != nil {
		r.usage, r.running = o.IncludeUsage, o.IncludeUsage && o.ContinuousUsageStats
	}
	if err := errors.Join(in.check(), r.checkPrompts()); err != nil {
		return nil, badRequest("%v", err)
	}
	return r, r.limit(in.maxTokens(), maxModelLen)
}

// maxTokens returns the limit that the client gave, or nil.
func (in *body) maxTokens() *int {
	if in.MaxCompletionTokens != nil {
		return in.MaxCompletionTokens
	}
	return in.MaxTokens
}

// check looks at the fields one by one.
func (in *body) check() error {
	var errs []error
	limit := in.maxTokens()
	if limit != nil && *limit < 1 {
		errs = append(errs, fmt.Errorf("max_tokens must be at least 1, got %d", *limit))
	}
	if in.MinTokens < 0 || limit != nil && in.MinTokens > max(*limit, 1) {
		errs = append(errs, fmt.Errorf("min_tokens must be from 0 to max_tokens, got %d", in.MinTokens))
	}
	if in.Temperature != nil && *in.Temperature < 0 {
		errs = append(errs, fmt.Errorf("temperature must be at least 0, got %g", *in.Temperature))
	}
	if in.N != nil && *in.N != 1 {
		errs = append(errs, fmt.Errorf("n must be 1, got %d", *in.N))
	}
	if in.StreamOptions != nil && !in.Stream {
		errs = append(errs, errors.New("stream_options can only be given when stream is true"))
	}
	return errors.Join(errs...)
}

func (r *request) checkPrompts() error {
	if len(r.prompts) == 0 || len(r.prompts) > maxPrompts {
		return fmt.Errorf("prompt must hold 1 to %d prompts, got %d", maxPrompts, len(r.prompts))
	}
	for i, p := range r.prompts {
		if p.tokens == 0 {
			return fmt.Errorf("prompt %d is empty: give at least one token", i)
		}
	}
	return nil
}

// limit sets how long each answer may get, so that prompt and answer fit into maxModelLen.
func (r *request) limit(asked *int, maxModelLen int) error {
	for _, p := range r.prompts {
		rest := maxModelLen - p.tokens
		if rest < 1 {
			return badRequest("This model's maximum context length is %d tokens, but the prompt alone has %d. "+
				"Please shorten it.", maxModelLen, p.tokens)
		}
		n := rest
		switch {
		case asked != nil && *asked > rest:
			return badRequest("This model's maximum context length is %d tokens. However, you requested %d tokens "+
				"(%d in the prompt, %d for the answer). Please shorten one of them.",
				maxModelLen, p.tokens+*asked, p.tokens, *asked)
		case asked != nil:
			n = *asked
		case r.api == completions:
			n = min(n, max(defaultCompletionTokens, r.minTokens))
		}
		if r.minTokens > n {
			return badRequest("This model's maximum context length is %d tokens: min_tokens %d does not fit beside a "+
				"prompt of %d tokens.", maxModelLen, r.minTokens, p.tokens)
		}
		r.limits = append(r.limits, n)
	}
	return nil
}

// textKey is what the words of the answer to prompt i depend on, given the key of the request.
func (r *request) textKey(i int, key uint64) uint64 {
	switch {
	case r.seed != nil:
		return mix(uint64(*r.seed)) + r.prompts[i].hash
	case r.greedy:
		return r.prompts[i].hash
	}
	return key + uint64(i)
}

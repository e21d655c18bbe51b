package inference

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// Streams of random numbers of this package.
const (
	streamInput  = 0x696e70757400
	streamOutput = 0x6f757470757400
	streamPrompt = 0x70726f6d707400
	streamSeed   = 0x7365656400
)

// Prompt token ids are drawn from this range: every common vocabulary has it, and special tokens lie outside.
const (
	firstToken = 1000
	lastToken  = 30000
)

// words are common enough that most tokenizers know each of them, with the space before it, as one token.
const words = "the of and to in a is that for it as was with be by on not he his but at are this have from or had an " +
	"they which one you were her all she there would their we him been has when who will more no if out so said what " +
	"up its about into than them can only other new some could time these two may then do first any my now such like " +
	"our over man me even most made after also did many before must through back years where much your way well down"

// request is what one request asks for: a function of the seed and the request's key.
type request struct {
	input, output int
	prompt, seed  uint64
}

func (w *Workload) request(key uint64) request {
	o := w.options
	return request{
		input:  load.Between(load.Rand(o.Seed, streamInput, key), o.Plan.InputTokens.Min, o.Plan.InputTokens.Max),
		output: load.Between(load.Rand(o.Seed, streamOutput, key), o.Plan.OutputTokens.Min, o.Plan.OutputTokens.Max),
		prompt: load.Rand(o.Seed, streamPrompt, key),
		seed:   load.Rand(o.Seed, streamSeed, key) >> 33,
	}
}

// headStart is the part of the request's head that all requests share.
func headStart(base *url.URL, o Options) []byte {
	path := strings.TrimSuffix(strings.TrimRight(base.EscapedPath(), "/"), "/v1") + "/v1/completions"
	if o.Plan.API == rundir.APIChatCompletions {
		path = strings.TrimSuffix(path, "completions") + "chat/completions"
	}
	h := "POST " + path + " HTTP/1.1\r\nHost: " + base.Host + "\r\nUser-Agent: assay\r\n" +
		"Content-Type: application/json\r\nAccept: text/event-stream\r\n"
	if o.Token != "" {
		h += "Authorization: Bearer " + o.Token + "\r\n"
	}
	return []byte(h + "X-Request-Id: ")
}

// bodyStart is the part of the body that all requests share.
func bodyStart(p rundir.Inference) []byte {
	model, _ := json.Marshal(p.Model) //nolint:errchkjson // a string always becomes JSON
	b := append([]byte(`{"model":`), model...)
	b = append(b, `,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`...)
	b = append(b, `,"ignore_eos":true,"temperature":`...)
	b = strconv.AppendFloat(b, p.Temperature, 'g', -1, 64)
	if p.API == rundir.APIChatCompletions {
		return append(b, `,"messages":[{"role":"user","content":"`...)
	}
	return append(b, `,"prompt":[`...)
}

// appendBody appends the body of a request. A prompt for Completions has exactly the asked number of tokens; one for
// ChatCompletions has that many words, and the server's usage says how many tokens they are.
func (w *Workload) appendBody(b []byte, r request) []byte {
	b = append(b, w.body...)
	if w.options.Plan.API == rundir.APIChatCompletions {
		b = appendWords(b, r)
		b = append(b, `"}]`...)
	} else {
		b = appendTokens(b, r)
		b = append(b, ']')
	}
	b = append(b, `,"max_tokens":`...)
	b = strconv.AppendInt(b, int64(r.output), 10)
	b = append(b, `,"min_tokens":`...)
	b = strconv.AppendInt(b, int64(r.output), 10)
	b = append(b, `,"seed":`...)
	b = strconv.AppendUint(b, r.seed, 10)
	return append(b, '}')
}

func appendTokens(b []byte, r request) []byte {
	for i := range r.input {
		if i > 0 {
			b = append(b, ',')
		}
		id := load.Between(load.Rand(r.prompt, streamPrompt, uint64(i)), firstToken, lastToken)
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return b
}

func appendWords(b []byte, r request) []byte {
	for i := range r.input {
		if i > 0 {
			b = append(b, ' ')
		}
		at := load.Between(load.Rand(r.prompt, streamPrompt, uint64(i)), 0, len(words)-1)
		start := strings.LastIndexByte(words[:at+1], ' ') + 1
		word, _, _ := strings.Cut(words[start:], " ")
		b = append(b, word...)
	}
	return b
}

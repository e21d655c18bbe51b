// Package inference loads an OpenAI-compatible server with streaming requests and times each token of the answers.
//
// It talks through package http1. Against a null server on loopback a request of 64 events costs 60 % of the time that
// net/http takes with the same parsers, and 5 allocations instead of 67 (the benchmarks of this package).
package inference

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
	"assay.bench/internal/rundir"
)

// Metrics of this workload, beside those of package load. Times run from the scheduled instant.
const (
	// TTFT is the time to the first chunk with content: chunks with only a role, nothing, usage or a comment never count.
	TTFT = "ttft"
	// TTFTFromSend is the same from the instant at which the request was sent.
	TTFTFromSend = "ttft_from_send"
	// TPOT is (e2e - ttft) / (n - 1) for n > 1 output tokens.
	TPOT = "tpot"
	// ITLToken is the time between tokens: the k tokens of one chunk share the gap before it.
	ITLToken = "itl_token"
	// ITLChunk is the gap between two chunks with content, which is what vLLM's own client calls ITL.
	ITLChunk = "itl_chunk"
)

const (
	ttft = iota
	ttftFromSend
	tpot
	itlToken
	itlChunk
)

// Options of the workload. Plan, Clock, URL and Client are required.
type Options struct {
	Plan rundir.Inference
	// URL of the server, such as http://host:8000; a path is kept, and a final /v1 is not doubled.
	URL string
	// Token is sent as a bearer token; "" for none.
	Token string
	// Client and Repeat make the request ids: <client>-r<repeat>-<name>, see load.Request.AppendName.
	Client string
	Repeat int
	// Seed makes the prompts.
	Seed uint64
	// The longest waits for the first token, for the next one and for the whole answer; 0 for none. They run from the
	// instant at which the attempt was sent.
	TimeoutFirst, TimeoutIdle, TimeoutTotal time.Duration
	Clock                                   load.Clock
	// Dial opens connections; nil is TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is for https; nil trusts the system's certificates.
	TLS *tls.Config
	// IdleConnection is how long a connection may be idle and still be used again; 0 is 4 s, since common servers close
	// theirs after 5 s.
	IdleConnection time.Duration
	// Events, if set, gets one JSON line for each attempt: id, phase, scheduled, sent, outcome, and in tokens the stamp of
	// each output token, all in ns of the clock.
	Events io.Writer
}

// Workload is the workload; it implements load.Workload.
type Workload struct {
	options  Options
	http     http1.Options
	timeouts http1.Timeouts
	head     []byte // request line and headers, up to the value of X-Request-Id
	body     []byte // up to the prompt
	events   sync.Mutex
}

// New checks the options and prepares what all requests share. It opens no connection.
func New(o Options) (*Workload, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("inference: target: %w", err)
	}
	if (base.Scheme != "http" && base.Scheme != "https") || base.Hostname() == "" {
		return nil, fmt.Errorf("inference: target %q: use a URL such as http://host:8000", o.URL)
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	w := &Workload{
		options: o, body: bodyStart(o.Plan),
		http:     http1.OptionsFor(base, o.TLS, o.Clock),
		timeouts: http1.Timeouts{First: o.TimeoutFirst, Idle: o.TimeoutIdle, Total: o.TimeoutTotal},
	}
	if o.Dial != nil {
		w.http.Dial = o.Dial
	}
	w.http.Idle = cmp.Or(o.IdleConnection, w.http.Idle)
	w.head = headStart(base, o)
	return w, nil
}

func (o Options) validate() error {
	p := o.Plan
	switch {
	case p.API != rundir.APICompletions && p.API != rundir.APIChatCompletions:
		return fmt.Errorf("api %q: use %s or %s", p.API, rundir.APICompletions, rundir.APIChatCompletions)
	case p.Model == "":
		return errors.New("no model is named, and the server's status names none: name it in inference.model")
	case p.InputTokens.Min < 1 || p.InputTokens.Max < p.InputTokens.Min:
		return fmt.Errorf("input tokens from %d to %d: give at least 1, and max not below min",
			p.InputTokens.Min, p.InputTokens.Max)
	case p.OutputTokens.Min < 1 || p.OutputTokens.Max < p.OutputTokens.Min:
		return fmt.Errorf("output tokens from %d to %d: give at least 1, and max not below min",
			p.OutputTokens.Min, p.OutputTokens.Max)
	case o.Clock == nil:
		return errors.New("no clock is given")
	case strings.ContainsFunc(o.Token+o.Client, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("the token and the client's name cannot hold spaces or control characters")
	}
	return nil
}

// Metrics are the names of this package, in the order of its indices.
func (w *Workload) Metrics() []string {
	return []string{TTFT, TTFTFromSend, TPOT, ITLToken, ITLChunk}
}

// Totals of this workload: tokens of prompts that the server took, and of answers as far as they arrived. An input token
// belongs to the instant at which its request succeeded, an output token to the one at which it arrived.
const (
	InputTokens  = "input_tokens"
	OutputTokens = "output_tokens"
)

const (
	inputTokens = iota
	outputTokens
)

// Totals are InputTokens and OutputTokens.
func (w *Workload) Totals() []string { return []string{InputTokens, OutputTokens} }

// Operations are none: all requests are alike.
func (w *Workload) Operations() []string { return nil }

// Headline is TTFT.
func (w *Workload) Headline() string { return TTFT }

// Worker makes a worker with a connection of its own, which it opens when it needs it.
func (w *Workload) Worker(ctx context.Context, _ int) (load.Worker, error) {
	return newWorker(ctx, w), nil
}

// writeEvents writes one line. A log that cannot be written is not the server's failure: the line is lost.
func (w *Workload) writeEvents(line []byte) {
	w.events.Lock()
	defer w.events.Unlock()
	_, _ = w.options.Events.Write(line)
}

package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"assay.bench/internal/monitor"
	"assay.bench/internal/rundir"
)

// How long one try of a probe may take (to generate a first token may mean to compile kernels), and the bytes that are
// read of an answer and shown of it.
const (
	probeTimeout = 5 * time.Second
	tokenTimeout = 2 * time.Minute
	probeBody    = 1 << 20
	excerptSize  = 200
)

// prober asks a server the questions of the plan.
type prober struct {
	client *http.Client
	host   string
	ports  map[string]int
	first  string // the name of the first port
	token  string // the credential's; "" for none
	// command makes the process of a ProbeExec.
	command func(ctx context.Context, argv []string) (*exec.Cmd, error)
}

func newProbeClient() *http.Client {
	return &http.Client{
		// No proxy variable is obeyed: the server is on this node.
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: probeTimeout}).DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask tries one probe once. Its error says in plain words what the server did instead.
func (p *prober) ask(ctx context.Context, pr rundir.Probe) error {
	limit := probeTimeout
	if pr.Type == rundir.ProbeToken {
		limit = tokenTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := p.one(ctx, pr)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens on port %d yet", p.port(pr.Port))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %s", describe(pr), limit)
	}
	return fmt.Errorf("%s: %w", describe(pr), err)
}

func describe(pr rundir.Probe) string {
	switch pr.Type {
	case rundir.ProbeHTTP:
		return "GET " + pr.Path
	case rundir.ProbeExec:
		return "command " + strings.Join(pr.Argv, " ")
	case rundir.ProbeModel:
		return "GET /v1/models"
	case rundir.ProbeToken:
		return "one generated token"
	}
	return "probe " + pr.Type
}

func (p *prober) port(name string) int {
	if name == "" {
		name = p.first
	}
	return p.ports[name]
}

func (p *prober) one(ctx context.Context, pr rundir.Probe) error {
	switch pr.Type {
	case rundir.ProbeHTTP:
		want := pr.Status
		if want == 0 {
			want = http.StatusOK
		}
		_, err := p.http(ctx, pr, http.MethodGet, pr.Path, nil, want)
		return err
	case rundir.ProbeTCP:
		addr := net.JoinHostPort(p.host, strconv.Itoa(p.port(pr.Port)))
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	case rundir.ProbeExec:
		return p.exec(ctx, pr)
	case rundir.ProbeModel:
		return p.model(ctx, pr)
	case rundir.ProbeToken:
		return p.oneToken(ctx, pr)
	}
	return fmt.Errorf("this assay-node knows no probe %q", pr.Type)
}

// http makes a request and returns the body when the status is as wanted.
func (p *prober) http(ctx context.Context, pr rundir.Probe, method, path string, body []byte, want int) ([]byte, error) {
	url := "http://" + net.JoinHostPort(p.host, strconv.Itoa(p.port(pr.Port))) + path
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, probeBody))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != want {
		return nil, fmt.Errorf("it answered HTTP %d, not %d%s", res.StatusCode, want, excerpt(b))
	}
	if pr.Type != rundir.ProbeHTTP && monitor.HTML(res.Header.Get("Content-Type"), b) {
		return nil, fmt.Errorf("it answered an HTML page instead of JSON: is this an OpenAI-compatible server, and the right port%s", excerpt(b))
	}
	return b, nil
}

// excerpt is the beginning of a body, for a message.
func excerpt(b []byte) string {
	text := strings.Join(strings.Fields(strings.Map(printable, strings.ToValidUTF8(string(b[:min(len(b), excerptSize)]), ""))), " ")
	if text == "" {
		return ""
	}
	return ": " + text
}

func (p *prober) model(ctx context.Context, pr rundir.Probe) error {
	b, err := p.http(ctx, pr, http.MethodGet, "/v1/models", nil, http.StatusOK)
	if err != nil {
		return err
	}
	return lists(b, pr.Model)
}

// lists says why the answer of /v1/models does not list a model; nil when it does.
func lists(b []byte, model string) error {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("it answered no list of models%s", excerpt(b))
	}
	ids := make([]string, 0, len(list.Data))
	for _, m := range list.Data {
		ids = append(ids, m.ID)
	}
	if slices.Contains(ids, model) {
		return nil
	}
	listed := fmt.Sprintf("%q", ids)
	if len(listed) > excerptSize {
		listed = strings.ToValidUTF8(listed[:excerptSize], "") + "…"
	}
	return fmt.Errorf("it lists %s, not %q: name the model as the server does", listed, model)
}

func (p *prober) oneToken(ctx context.Context, pr rundir.Probe) error {
	ask, err := json.Marshal(map[string]any{"model": pr.Model, "prompt": "Hello", "max_tokens": 1, "temperature": 0})
	if err != nil {
		return err
	}
	b, err := p.http(ctx, pr, http.MethodPost, "/v1/completions", ask, http.StatusOK)
	if err != nil {
		return err
	}
	return generated(b)
}

// generated says why the answer of /v1/completions holds no token; nil when it does.
func generated(b []byte) error {
	var got struct {
		Choices []struct {
			Text string `json:"text"`
		} `json:"choices"`
		Usage struct {
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		return fmt.Errorf("it answered no completion%s", excerpt(b))
	}
	if got.Usage.CompletionTokens < 1 && (len(got.Choices) == 0 || got.Choices[0].Text == "") {
		return fmt.Errorf("it generated nothing%s", excerpt(b))
	}
	return nil
}

func (p *prober) exec(ctx context.Context, pr rundir.Probe) error {
	cmd, err := p.command(ctx, pr.Argv)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipe must not keep us
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w%s", err, excerpt(out.Bytes()))
	}
	return nil
}

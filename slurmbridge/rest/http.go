package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/wire"
)

// The longest answers that are read. A list holds every job of the cluster, about thirty kilobytes each.
const (
	mostList   = 512 << 20
	mostAnswer = 8 << 20
)

// baseOf checks an address and takes the slash from its end.
func baseOf(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("the address of slurmrestd: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("the address of slurmrestd is %q: give http or https, and a host", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("the address of slurmrestd %q holds more than a host and a path", u.Redacted())
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// newClient follows no redirect: the token would go wherever it points.
func newClient(o Options) (*http.Client, error) {
	transport := o.Transport
	if transport == nil {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("the certificates of this system: %w", err)
		}
		if len(o.CA) > 0 && !pool.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the certificates of slurmrestd's CA: none is in PEM")
		}
		transport = &http.Transport{
			Proxy:               o.Proxy,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     90 * time.Second,
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// request is one to slurmctld, or to the database of slurmdbd.
type request struct {
	database bool
	// method is GET where it is empty.
	method string
	// path comes after the version.
	path string
	// body is sent as JSON; nil for none.
	body any
	// limit of the answer.
	limit int64
}

// ask makes a request under the version that was agreed on, and lets read have an answer that is a success.
func (c *Slurm) ask(ctx context.Context, r request, read func(body io.Reader) error) error {
	version, err := c.version(ctx)
	if err != nil {
		return err
	}
	plugin := "/slurm/"
	if r.database {
		plugin = "/slurmdb/"
	}
	path := r.path
	r.path = plugin + version + "/" + path
	err = c.send(ctx, r, read)
	if f, ok := errors.AsType[*failure](err); ok && !r.database && f.status == http.StatusNotFound && len(f.faults) == 0 {
		c.chosen.forget(version) // the server was replaced by one that does not know it
	}
	return err
}

// send makes one request. An error wraps ErrUnreachable, and is a *failure where the server answered.
func (c *Slurm) send(ctx context.Context, r request, read func(body io.Reader) error) error {
	if err := slurmbridge.Turn(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("no answer within %s", c.limit))
	defer cancel()
	req, err := c.build(ctx, r)
	if err != nil {
		return err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer res.Body.Close()
	body := &bounded{from: res.Body, left: r.limit, limit: r.limit}
	if res.StatusCode != http.StatusOK {
		return c.advised(failed(res, body))
	}
	if err := read(body); err != nil {
		if fault, ok := errors.AsType[wire.RESTError](err); ok {
			return c.advised(&failure{status: res.StatusCode, faults: []wire.RESTError{fault}})
		}
		return unreachable(ctx, err)
	}
	return nil
}

// advised adds what to do, where the token was refused.
func (c *Slurm) advised(f *failure) error {
	if f.isRefusal() {
		f.advice = c.keeper.doubt()
	}
	return f
}

// build makes the request with the token of this moment.
func (c *Slurm) build(ctx context.Context, r request) (*http.Request, error) {
	cred, err := c.keeper.credentials(ctx)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("a request to slurmrestd: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, body)
	if err != nil {
		return nil, fmt.Errorf("a request to slurmrestd: %w", err)
	}
	req.Header.Set("User-Agent", "assay")
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if cred.User != "" {
		req.Header.Set("X-SLURM-USER-NAME", cred.User)
	}
	req.Header.Set("X-SLURM-USER-TOKEN", cred.Token)
	return req, nil
}

// unreachable is the error of a request that brought no answer, or none that we can read.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: slurmrestd: %w", slurmbridge.ErrUnreachable, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
}

// bounded reads no more than a limit.
type bounded struct {
	from        io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than %d MiB", b.limit>>20)
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// failure is an answer that is no success: nothing is known.
type failure struct {
	status int
	faults []wire.RESTError
	// text is what stands in an answer that slurmrestd did not write as JSON.
	text string
	// advice is what to do about it; empty for nothing.
	advice string
}

// failed reads an answer that is no success.
func failed(res *http.Response, body io.Reader) *failure {
	text, _ := io.ReadAll(body) // what came is enough
	f := &failure{status: res.StatusCode, faults: wire.ParseFaults(text)}
	if len(f.faults) == 0 {
		f.text = strings.Join(strings.Fields(fmt.Sprintf("%.200s", text)), " ")
	}
	if to := res.Header.Get("Location"); to != "" {
		f.text = "it points to " + to
	}
	return f
}

func (f *failure) Error() string {
	words := f.text
	if len(f.faults) > 0 {
		words = f.faults[0].Words
	}
	if words == "" || len(f.faults) == 0 {
		words = strings.TrimSuffix(fmt.Sprintf("HTTP %d %s: %s", f.status, http.StatusText(f.status), words), ": ")
	}
	return strings.TrimSuffix("slurmrestd: "+words+": "+f.advice, ": ")
}

// isRefusal says that the token was refused.
func (f *failure) isRefusal() bool {
	return slices.ContainsFunc(f.faults, wire.RESTError.IsCredentials) ||
		f.status == http.StatusUnauthorized || f.status == http.StatusNetworkAuthenticationRequired
}

// Unwrap tells whether the token was refused.
func (f *failure) Unwrap() []error {
	if f.isRefusal() {
		return []error{slurmbridge.ErrUnreachable, slurmbridge.ErrCredentials}
	}
	return []error{slurmbridge.ErrUnreachable}
}

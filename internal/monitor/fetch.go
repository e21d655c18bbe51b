package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// MaxBody is the largest answer in bytes that a scrape reads.
const MaxBody = 10 << 20

const accept = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"

// newClient returns a client that obeys no proxy variable and follows no redirect.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch asks a target once.
func fetch(ctx context.Context, client *http.Client, t Target) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL, nil)
	if err != nil {
		return page{}, err
	}
	req.Header.Set("Accept", accept)
	if t.Token != "" {
		req.Header.Set("Authorization", "Bearer "+t.Token)
	}
	res, err := client.Do(req)
	if err != nil {
		return page{}, plain(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	if err != nil {
		return page{}, fmt.Errorf("the answer broke off: %w", plain(err))
	}
	kind := res.Header.Get("Content-Type")
	switch {
	case HTML(kind, body):
		return page{}, fmt.Errorf("%s answered an HTML page instead of metrics (HTTP %d): is this the right port and path?",
			t.URL, res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return page{}, fmt.Errorf("%s answered HTTP %d", t.URL, res.StatusCode)
	case len(body) > MaxBody:
		return page{}, fmt.Errorf("%s answered more than %d MiB of metrics", t.URL, MaxBody>>20)
	}
	media, _, _ := mime.ParseMediaType(kind) // an unknown or broken type is read as the text format
	p, err := parse(body, media == "application/openmetrics-text")
	if err != nil {
		return page{}, fmt.Errorf("%s: %w", t.URL, err)
	}
	return p, nil
}

// plain says a timeout in plain words.
func plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	return err
}

// HTML says whether an answer is a web page: by its content type, or by how it begins.
func HTML(contentType string, body []byte) bool {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), "text/html") {
		return true
	}
	begin := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 512)]))
	return bytes.HasPrefix(begin, []byte("<!doctype html")) || bytes.HasPrefix(begin, []byte("<html"))
}

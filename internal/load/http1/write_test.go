package http1

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"assay.bench/internal/load"
)

// The end of the load ends a request at once that the server takes as fast as it comes.
func TestInterruptOfALongRequest(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", secured), func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			var config *tls.Config
			if secured {
				server.StartTLS()
				config = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
				config.RootCAs.AddCert(server.Certificate())
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			base, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			options := OptionsFor(base, config, load.NewTimerClock())
			ctx, cancel := context.WithCancel(t.Context())
			c := New(ctx, &options)
			defer c.End()
			now := c.clock.Now()
			if err := c.Open(now, Timeouts{Total: time.Minute}.From(now)); err != nil {
				t.Fatal(err)
			}
			const pieces = 64
			if err := c.Write(fmt.Appendf(nil, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", pieces<<20)); err != nil {
				t.Fatal(err)
			}
			piece := make([]byte, 1<<20)
			for range pieces / 2 {
				if err := c.WriteMore(piece); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			if err := c.WriteMore(piece); !errors.Is(err, context.Canceled) {
				t.Errorf("the next piece: %v, want %v", err, context.Canceled)
			}
			c.Finish(false)
		})
	}
}

// A long request may take as long as the server takes it in; then the wait for the answer begins.
func TestLimitsOfALongRequest(t *testing.T) {
	const size, first = 80, time.Second // MiB
	silent := func(t *testing.T) error { <-t.Context().Done(); return nil }
	slowly := func(r *http.Request) (whole bool) { // what breaks, the client tells
		for tick := time.NewTicker(2 * first / (size / 2)); ; <-tick.C {
			if _, err := io.CopyN(io.Discard, r.Body, 2<<20); err != nil {
				return errors.Is(err, io.EOF)
			}
		}
	}
	for name, c := range map[string]struct {
		reason string
		limits Timeouts
		serve  func(t *testing.T, r *http.Request, conn net.Conn) error
		want   load.Kind
	}{
		"answered": {"it goes on, for longer than an answer may take", Timeouts{First: first, Idle: 20 * time.Second, Total: time.Minute}, func(_ *testing.T, r *http.Request, conn net.Conn) error {
			if !slowly(r) {
				return nil
			}
			_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return err
		}, ""},
		"not answered": {"it was taken in whole", Timeouts{First: first, Idle: 20 * time.Second, Total: time.Minute}, func(t *testing.T, r *http.Request, _ net.Conn) error {
			slowly(r)
			return silent(t)
		}, load.TimeoutFirst},
		"stuck": {"no more of it is taken", Timeouts{First: time.Minute, Idle: first / 4, Total: time.Minute}, func(t *testing.T, r *http.Request, _ net.Conn) error {
			_, err := io.CopyN(io.Discard, r.Body, 1<<20)
			return errors.Join(err, silent(t))
		}, load.TimeoutIdle},
		"too long": {"it goes on beyond the end", Timeouts{First: time.Minute, Idle: time.Minute, Total: first}, func(t *testing.T, r *http.Request, _ net.Conn) error {
			_, err := io.CopyN(io.Discard, r.Body, 1<<20)
			return errors.Join(err, silent(t))
		}, load.TimeoutTotal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := served(t, func(r *http.Request, raw net.Conn) error { return c.serve(t, r, raw) })
			status, _, err := send(conn, size, c.limits)
			if c.want == "" {
				if err != nil || status != http.StatusOK {
					t.Errorf("%s: HTTP %d, %v", c.reason, status, err)
				}
				return
			}
			if kind, _ := conn.Failure(err, load.Reset); err == nil || kind != c.want {
				t.Errorf("%s: HTTP %d, %v is %s, want %s", c.reason, status, err, kind, c.want)
			}
		})
	}
}

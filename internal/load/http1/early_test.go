package http1

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"assay.bench/internal/load"
)

// send asks with a body of so many pieces of 1 MiB, and returns the status and the body of the answer.
func send(c *Connection, pieces int, limits Timeouts) (status int, answer string, err error) {
	now := c.clock.Now()
	if err := c.Open(now, limits.From(now)); err != nil {
		return 0, "", err
	}
	keep := false
	defer func() { c.Finish(keep) }()
	if err := c.Write(fmt.Appendf(nil, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", pieces<<20)); err != nil {
		return 0, "", err
	}
	piece := make([]byte, 1<<20)
	for range pieces {
		if err := c.WriteMore(piece); err != nil {
			return 0, "", err
		}
	}
	if !c.Early() {
		c.Sent()
	}
	h, err := c.Head()
	if err != nil {
		return 0, "", err
	}
	for body := NewBody(&c.Stream, h); ; {
		piece, err := body.Next()
		if answer += string(piece); err != nil {
			keep = body.Over() && !h.Close
			return h.Status, answer, ignoreEnd(err)
		}
	}
}

// What a server says that refuses a request without having read it is heard, however large the request is, and the
// connection is not used again.
func TestEarlyRefusal(t *testing.T) {
	const words = "<Error><Code>XMinioStorageFull</Code></Error>"
	for _, secured := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInsufficientStorage)
			_, _ = io.WriteString(w, words)
		}))
		var config *tls.Config
		if server.Start(); secured {
			server = httptest.NewTLSServer(server.Config.Handler)
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			config = &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}
		}
		t.Cleanup(server.Close)
		for _, pieces := range []int{1, 8, 25} {
			t.Run(fmt.Sprintf("%d MiB, TLS %t", pieces, secured), func(t *testing.T) {
				c := connect(t, server.Listener.Addr().String())
				c.options.TLS = config
				for n := range 4 {
					status, answer, err := send(c, pieces, Timeouts{Total: 20 * time.Second})
					if err != nil || status != http.StatusInsufficientStorage || answer != words {
						kind := load.Kind("")
						if err != nil {
							kind, _ = c.Failure(err, load.Reset)
						}
						t.Fatalf("request %d: HTTP %d %q, error %v (%s), want 507 and its words", n, status, answer, err, kind)
					}
					if c.open != nil && c.Early() {
						t.Fatal("a connection with half a request on it is kept")
					}
				}
			})
		}
	}
}

// served answers one connection by a function of what came on it.
func served(t *testing.T, serve func(r *http.Request, conn net.Conn) error) *Connection {
	t.Helper()
	return connect(t, accept(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err == nil {
			err = serve(r, conn)
		}
		if err != nil {
			t.Error(err)
		}
	}))
}

// An interim answer is none: the request goes out to its end.
func TestInterimAnswerIsNotEarly(t *testing.T) {
	c := served(t, func(r *http.Request, conn net.Conn) error {
		if _, err := io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			_, err = fmt.Fprintf(conn, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%8d", n)
		}
		return err
	})
	status, answer, err := send(c, 8, Timeouts{Total: 20 * time.Second})
	if err != nil || status != http.StatusOK || strings.TrimSpace(answer) != fmt.Sprint(8<<20) || c.Early() {
		t.Errorf("HTTP %d %q, early %t, error %v", status, answer, c.Early(), err)
	}
}

// A server that has answered, and neither reads on nor closes, is heard at once.
func TestEarlyRefusalWithoutAClose(t *testing.T) {
	over := make(chan struct{})
	c := served(t, func(_ *http.Request, conn net.Conn) error {
		_, err := io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
		<-over
		return err
	})
	defer close(over)
	status, answer, err := send(c, 64, Timeouts{Total: time.Minute})
	if err != nil || status != http.StatusServiceUnavailable || answer != "busy" || !c.Early() {
		t.Errorf("HTTP %d %q, early %t, error %v", status, answer, c.Early(), err)
	}
}

// Without an answer the failure is that of the connection.
func TestCutRequest(t *testing.T) {
	c := served(t, func(*http.Request, net.Conn) error { return nil }) // it closes at once
	_, _, err := send(c, 8, Timeouts{Total: 20 * time.Second})
	if err == nil {
		t.Fatal("there is an answer")
	}
	if kind, _ := c.Failure(err, load.Reset); kind != load.Reset || errors.Is(err, ErrMalformed) {
		t.Errorf("%v is %s, want %s", err, kind, load.Reset)
	}
}

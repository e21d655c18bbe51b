package s3

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// A server that answers a write without having read it is heard, in the load and in the set-up, however large the object.
func TestWritesAnsweredEarly(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		words  string
		kind   load.Kind
		sample string
	}{
		"full disk": {http.StatusInsufficientStorage, "<Error><Code>XMinioStorageFull</Code><Message>No room.</Message></Error>", load.HTTP5xx, "XMinioStorageFull: No room\n"},
		"accepted":  {http.StatusOK, "", load.StreamError, "HTTP 200 before the server had the whole request"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/m/"):
				// An answer that ends the connection, so that the server does not take in what is left of a request.
				w.Header().Set("Connection", "close")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.words)
				_ = http.NewResponseController(w).Flush()
			case r.Method == http.MethodPut:
				_, _ = io.Copy(io.Discard, r.Body)
			case r.URL.Query().Has("list-type"):
				_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
			}
		}))
		t.Cleanup(server.Close)
		for _, size := range []int64{1 << 20, 8 << 20, 25_500_000} {
			if c.kind == load.StreamError && size < 20<<20 {
				continue // as much may be on its way before the answer is
			}
			t.Run(fmt.Sprintf("%s, %d bytes", name, size), func(t *testing.T) {
				w, err := New(options(server.URL, rundir.S3Mix{Put: 1, Get: 1}, fixed(size)))
				if err != nil {
					t.Fatal(err)
				}
				x := newWorker(t.Context(), w)
				defer x.Close()
				for n := range uint64(5) {
					obj := w.offer.object(written, load.Measure, n)
					op := &load.Op{Sent: w.options.Clock.Now()}
					x.prepare(opPut, obj)
					out := x.exchange(op, opPut, obj)
					if code := map[load.Kind]int{load.HTTP5xx: c.status}[c.kind]; out.kind != c.kind || out.code != code || !strings.HasPrefix(out.sample, c.sample) || !out.sent {
						t.Fatalf("write %d: %+v, want %s %d %q", n, out, c.kind, code, c.sample)
					}
				}
				want := map[load.Kind]string{
					load.HTTP5xx: "d/m/0: http_5xx: HTTP 507 XMinioStorageFull: No room: see the log", load.StreamError: "d/m/0: stream_error: HTTP 200 before",
				}[c.kind]
				w.options.InFlight = 1
				if _, err := w.Store(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the set-up: %v, want %q in it", err, want)
				}
			})
		}
	}
}

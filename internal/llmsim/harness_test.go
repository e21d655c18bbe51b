package llmsim

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a response whose writes carry the time since its creation.
type recorder struct {
	mu      sync.Mutex
	header  http.Header
	code    int
	started time.Time
	writes  []write
	block   time.Duration // what the first write takes
	fail    int           // writes that succeed before all others fail; 0 means that none fails
}

type write struct {
	at   time.Duration
	text string
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, started: time.Now()} }

func (r *recorder) Header() http.Header  { return r.header }
func (r *recorder) WriteHeader(code int) { r.code = code }
func (r *recorder) Flush()               {}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 && len(r.writes) == r.fail {
		return 0, http.ErrHandlerTimeout
	}
	r.writes = append(r.writes, write{time.Since(r.started), string(b)})
	if len(r.writes) == 1 && r.block > 0 {
		time.Sleep(r.block) // in a synctest bubble: a client that reads late
	}
	return len(b), nil
}

func (r *recorder) body() string {
	var all strings.Builder
	for _, w := range r.writes {
		all.WriteString(w.text)
	}
	return all.String()
}

// tokens returns when the events with text left.
func (r *recorder) tokens() []time.Duration {
	var at []time.Duration
	for _, w := range r.writes {
		if strings.HasPrefix(w.text, "data: {") && !strings.Contains(w.text, `"text":""`) &&
			!strings.Contains(w.text, `"role"`) && !strings.Contains(w.text, `"choices":[]`) {
			at = append(at, w.at)
		}
	}
	return at
}

func newServer(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return s
}

func post(path, id, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	if id != "" {
		r.Header.Set("X-Request-Id", id)
	}
	return r
}

// do runs one request to its end; an answer that is cut off is none the less returned.
func do(s *Server, r *http.Request) *recorder {
	w := newRecorder()
	doTo(s, w, r)
	return w
}

func doTo(s *Server, w *recorder, r *http.Request) (aborted bool) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			if aborted = errors.Is(p, http.ErrAbortHandler); !aborted {
				panic(p)
			}
		default:
			panic(p)
		}
	}()
	s.Handler().ServeHTTP(w, r)
	return false
}

// streamed is a request for a stream of exactly n tokens.
func streamed(id string, n string) *http.Request {
	return post("/v1/completions", id, `{"prompt":[1,2,3],"stream":true,"ignore_eos":true,"max_tokens":`+n+`}`)
}

func withCancel(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	return r.WithContext(ctx), cancel
}

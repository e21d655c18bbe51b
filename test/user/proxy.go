package user

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and a server. It passes every request on as it came, notes what went by, and spoils some
// by rules that count: so a test knows of each answer what was wrong with it.
type Proxy struct {
	URL string

	forward http.Handler
	faults  []*Fault

	mu   sync.Mutex
	seen []*Exchange
}

// Fault spoils every nth of the requests that it is for, beginning with the nth. Of several that are for a request the
// first counts it.
type Fault struct {
	For   func(*http.Request) bool
	Every int
	Spoil Spoiler

	counted int
}

// Spoiler answers a request; forward is what asks the server.
type Spoiler func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// Exchange is what the proxy saw of one request.
type Exchange struct {
	At           time.Time
	Method, Path string
	ID           string // its X-Request-Id
	Spoiled      bool
	// Status is 0 where no answer began.
	Status int
	// Tail is the end of the answer's body.
	Tail string
}

const tailBytes = 512

// NewProxy starts a proxy before the server at a URL; it ends with the test.
func NewProxy(t testing.TB, to string, faults ...Fault) *Proxy {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	for _, f := range faults {
		p.faults = append(p.faults, &f)
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		FlushInterval: -1,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				t.Logf("the proxy asked %s in vain: %v", to, err)
			}
			panic(http.ErrAbortHandler) // the client sees of it what the proxy saw
		},
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, fault := p.arrived(r)
	n := &noted{ResponseWriter: w, proxy: p, exchange: e}
	// A server may answer before the last byte of the request has been passed on.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		panic(err) // HTTP/1 has it
	}
	if fault == nil {
		p.forward.ServeHTTP(n, r)
		return
	}
	fault.Spoil(n, r, p.forward)
}

func (p *Proxy) arrived(r *http.Request) (*Exchange, *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &Exchange{At: time.Now(), Method: r.Method, Path: r.URL.Path, ID: r.Header.Get("X-Request-Id")}
	p.seen = append(p.seen, e)
	for _, f := range p.faults {
		if !f.For(r) {
			continue
		}
		if f.counted++; f.counted%f.Every != 0 {
			return e, nil
		}
		e.Spoiled = true
		return e, f
	}
	return e, nil
}

// Seen are the exchanges of a kind, in the order in which the requests came.
func (p *Proxy) Seen(kind func(Exchange) bool) []Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Exchange
	for _, e := range p.seen {
		if kind(*e) {
			out = append(out, *e)
		}
	}
	return out
}

// noted notes what goes by.
type noted struct {
	http.ResponseWriter

	proxy    *Proxy
	exchange *Exchange
}

// Unwrap lets a ResponseController flush.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

func (n *noted) WriteHeader(status int) {
	n.proxy.mu.Lock()
	n.exchange.Status = status
	n.proxy.mu.Unlock()
	n.ResponseWriter.WriteHeader(status)
}

func (n *noted) Write(b []byte) (int, error) {
	n.proxy.mu.Lock()
	tail := n.exchange.Tail + string(b)
	n.exchange.Tail = tail[max(0, len(tail)-tailBytes):]
	n.proxy.mu.Unlock()
	return n.ResponseWriter.Write(b)
}

// Reply answers by itself, without asking the server.
func Reply(status int, mediaType, body string) Spoiler {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body) // an error means that the client has gone
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// CutAfter closes the connection after so many bytes of the body.
func CutAfter(length int) Spoiler {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&spoiled{ResponseWriter: w, change: func(b []byte, from int) ([]byte, error) {
			if from+len(b) < length {
				return b, nil
			}
			return b[:length-from], errors.New("cut on purpose")
		}}, r)
	}
}

// FlipAt flips one bit of the answer's byte at an offset.
func FlipAt(offset int) Spoiler {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&spoiled{ResponseWriter: w, change: func(b []byte, from int) ([]byte, error) {
			return flipped(b, offset-from), nil
		}}, r)
	}
}

// FlipSentAt flips one bit of the request's byte at an offset.
func FlipSentAt(offset int) Spoiler {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		changed := r.Clone(r.Context())
		changed.Body = io.NopCloser(bytes.NewReader(flipped(body, offset)))
		forward.ServeHTTP(w, changed)
	}
}

func flipped(b []byte, at int) []byte {
	if at < 0 || at >= len(b) {
		return b
	}
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// First does something before the server is asked.
func First(do func()) Spoiler {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		do()
		forward.ServeHTTP(w, r)
	}
}

// spoiled changes the body on its way: change gets each piece and where in the body it begins.
type spoiled struct {
	http.ResponseWriter

	from   int
	change func(piece []byte, from int) ([]byte, error)
}

// Unwrap lets a ResponseController flush.
func (s *spoiled) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *spoiled) Write(b []byte) (int, error) {
	changed, err := s.change(b, s.from)
	s.from += len(b)
	n, failed := s.ResponseWriter.Write(changed)
	if err == nil || failed != nil {
		return n, failed
	}
	if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	return n, err
}

package llmsim

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxBody is the largest body of a request in bytes.
const maxBody = 64 << 20

// maxIDLength is the length up to which a client's request id is taken.
const maxIDLength = 256

// requestIDHeader carries the id of a request, both ways.
const requestIDHeader = "X-Request-Id"

// Handler returns all routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/completions", s.whenReady(s.generate(completions)))
	mux.Handle("POST /v1/chat/completions", s.whenReady(s.generate(chats)))
	mux.Handle("GET /v1/models", s.whenReady(s.models))
	mux.Handle("POST /tokenize", s.whenReady(s.tokenize))
	mux.Handle("POST /detokenize", s.whenReady(s.detokenize))
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /ping", s.health)
	mux.HandleFunc("POST /ping", s.health)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": s.c.Version})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	return s.echoID(s.authorize(refuseInJSON(mux)))
}

// echoID answers with the request id of the client.
func (s *Server) echoID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := clientID(r); id != "" {
			w.Header().Set(requestIDHeader, id)
		}
		next.ServeHTTP(w, r)
	})
}

// clientID returns the id that the client gave, or "" for none and for one that is too long or not printable ASCII.
func clientID(r *http.Request) string {
	id := r.Header.Get(requestIDHeader)
	if len(id) > maxIDLength || strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return id
}

// authorize asks for the API key below /v1, as vLLM does, and nowhere else.
func (s *Server) authorize(next http.Handler) http.Handler {
	if s.c.APIKey == "" {
		return next
	}
	want := []byte("Bearer " + s.c.APIKey)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := []byte(r.Header.Get("Authorization"))
		if strings.HasPrefix(r.URL.Path, "/v1") && subtle.ConstantTimeCompare(got, want) != 1 {
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "Unauthorized"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseInJSON answers unknown paths and methods as vLLM does; mux itself would answer in plain text.
func refuseInJSON(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := &http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(other); pattern != "" {
				w.Header().Set("Allow", method)
				writeError(w, &apiError{http.StatusMethodNotAllowed, "Method Not Allowed", "Method Not Allowed: use " + method})
				return
			}
		}
		writeError(w, &apiError{http.StatusNotFound, "Not Found", "Not Found"})
	})
}

// whenReady refuses requests during the start.
func (s *Server) whenReady(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ready() {
			writeError(w, &apiError{http.StatusServiceUnavailable, "ServiceUnavailable", "The model is still being loaded."})
			return
		}
		next(w, r)
	})
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if !s.ready() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	type model struct {
		ID          string  `json:"id"`
		Object      string  `json:"object"`
		Created     int64   `json:"created"`
		OwnedBy     string  `json:"owned_by"`
		Root        string  `json:"root"`
		Parent      *string `json:"parent"`
		MaxModelLen int     `json:"max_model_len"`
	}
	writeJSON(w, http.StatusOK, struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", []model{{
		ID: s.c.Model, Object: "model", Created: s.created, OwnedBy: "assay", Root: s.c.Model, MaxModelLen: s.c.MaxModelLen,
	}}})
}

func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Prompt *string `json:"prompt"`
	}
	if !readJSON(w, r, &in) {
		return
	}
	if in.Prompt == nil {
		writeError(w, badRequest("prompt is missing: give a string"))
		return
	}
	ids := []int{}
	for word := range strings.FieldsSeq(*in.Prompt) {
		ids = append(ids, s.words.id(word))
	}
	writeJSON(w, http.StatusOK, struct {
		Count       int      `json:"count"`
		MaxModelLen int      `json:"max_model_len"`
		Tokens      []int    `json:"tokens"`
		TokenStrs   []string `json:"token_strs"`
	}{len(ids), s.c.MaxModelLen, ids, nil})
}

func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Tokens []int `json:"tokens"`
	}
	if !readJSON(w, r, &in) {
		return
	}
	var text []string
	for _, id := range in.Tokens {
		if id < 0 || id >= vocabularySize {
			writeError(w, badRequest("token id %d is out of vocabulary: use ids from 0 to %d", id, vocabularySize-1))
			return
		}
		text = append(text, s.words.word(id))
	}
	writeJSON(w, http.StatusOK, map[string]string{"prompt": strings.Join(text, " ")})
}

// readBody returns the body of r, or false after it has answered that it cannot be read.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return b, true
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		writeError(w, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
			"The body exceeds " + strconv.Itoa(maxBody) + " bytes."})
		return nil, false
	}
	writeError(w, badRequest("The body cannot be read: %v", err))
	return nil, false
}

// readJSON decodes the body of r into v, or returns false after it has answered what is wrong.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	b, ok := readBody(w, r)
	if !ok {
		return false
	}
	if err := json.Unmarshal(b, v); err != nil {
		writeError(w, badRequest("The body is not a valid request: %v", err))
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // an error means that the client has gone
}

// errorBody is e in the form in which vLLM answers errors.
func errorBody(e *apiError) any {
	type detail struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    int     `json:"code"`
	}
	return map[string]detail{"error": {Message: e.message, Type: e.kind, Code: e.status}}
}

func writeError(w http.ResponseWriter, e *apiError) { writeJSON(w, e.status, errorBody(e)) }

package inference

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// step is one write of the server, after a pause; hang keeps the connection open without a word.
type step struct {
	after time.Duration
	write string
}

// script is a server over pipes: each request is answered by the steps of answer, and then the connection ends unless
// keep is set.
type script struct {
	t      *testing.T
	answer func(n int) (steps []step, keep bool)

	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	dials    int
}

// dial opens a connection in memory to the script.
func (s *script) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	s.mu.Lock()
	s.dials++
	s.mu.Unlock()
	go s.serve(server)
	return client, nil
}

func (s *script) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		n := len(s.requests)
		s.requests = append(s.requests, req)
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		steps, keep := s.answer(n)
		for _, st := range steps {
			select {
			case <-time.After(st.after):
			case <-s.t.Context().Done():
				return
			}
			if _, err := io.WriteString(conn, st.write); err != nil {
				return
			}
		}
		if !keep {
			return
		}
	}
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"

// framed is one chunk of a body.
func framed(text string) string {
	return strconv.FormatInt(int64(len(text)), 16) + "\r\n" + text + "\r\n"
}

func event(data string) string { return "data: " + data + "\n\n" }

// answered is a whole answer: a head, each step as a chunk, and the end of the body with the last one.
func answered(steps ...step) []step {
	out := []step{{0, streamHead}}
	for i, st := range steps {
		st.write = framed(st.write)
		if i == len(steps)-1 {
			st.write += "0\r\n\r\n"
		}
		out = append(out, st)
	}
	return out
}

func always(steps []step) func(int) ([]step, bool) {
	return func(int) ([]step, bool) { return steps, true }
}

// plan asks for n tokens.
func plan(n int) rundir.Inference {
	return rundir.Inference{API: rundir.APICompletions, Model: "m", InputTokens: rundir.Tokens{Min: 5, Max: 5},
		OutputTokens: rundir.Tokens{Min: n, Max: n}}
}

func options(s *script, clock load.Clock, n int) Options {
	return Options{Plan: plan(n), URL: "http://server:8000", Client: "c", Repeat: 2, Seed: 11, Clock: clock, Dial: s.dial,
		TimeoutFirst: 10 * time.Second, TimeoutIdle: 5 * time.Second, TimeoutTotal: 30 * time.Second}
}

func root() fstest.MapFS {
	return fstest.MapFS{"proc/self/task/1/schedstat": {Data: []byte("0 0 0\n")}}
}

// once makes one request, or what the changes make of it.
func once(t *testing.T, o Options, changes ...func(*load.Options)) *load.Result {
	t.Helper()
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	lo := load.Options{Ranks: 1, Seed: o.Seed, Clock: o.Clock, Root: root(), Lengths: load.Lengths{Measure: 1},
		Open: &load.OpenLoop{Rate: 1, Arrival: load.Constant, MaxInFlight: 1}}
	for _, change := range changes {
		change(&lo)
	}
	r, err := load.New(lo, w)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sums are count and sum of each metric.
func sums(out *load.Result) map[string][2]int64 {
	m := map[string][2]int64{}
	for _, metric := range out.Metrics {
		m[metric.Name] = [2]int64{metric.Count, metric.Sum}
	}
	return m
}

func decode(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

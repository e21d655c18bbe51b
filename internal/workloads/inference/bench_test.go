package inference

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"assay.bench/internal/load"
)

// canned is a server that answers every request with the same bytes: it costs next to nothing beside the client.
func canned(b *testing.B, answer []byte) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReaderSize(conn, 1<<16)
				for {
					length := 0
					for {
						line, err := in.ReadSlice('\n')
						if err != nil {
							return
						}
						if value, is := strings.CutPrefix(string(line), "Content-Length: "); is {
							length, _ = strconv.Atoi(strings.TrimSpace(value))
						}
						if len(line) <= 2 {
							break
						}
					}
					if _, err := in.Discard(length); err != nil {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

const benchTokens = 64

func benchAnswer() []byte {
	answer := streamHead
	for i := range benchTokens {
		answer += framed(text("hello", strconv.Itoa(i+1)))
	}
	return []byte(answer + framed(done) + "0\r\n\r\n")
}

// BenchmarkRequest is a whole request of 64 events, all of which arrive together.
func BenchmarkRequest(b *testing.B) {
	clock, err := load.NewClock()
	if err != nil {
		b.Fatal(err)
	}
	w, err := New(Options{Plan: plan(benchTokens), URL: canned(b, benchAnswer()), Client: "c", Clock: clock,
		TimeoutFirst: time.Minute, TimeoutIdle: time.Minute, TimeoutTotal: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	counted := &limited{Workload: w, left: b}
	r, err := load.New(load.Options{Ranks: 1, Closed: &load.ClosedLoop{Concurrency: 1}, Clock: clock,
		Root: fstest.MapFS{}, Lengths: load.Lengths{Measure: time.Hour}}, counted)
	if err != nil {
		b.Fatal(err)
	}
	counted.stop = func() { r.Drain("enough") }
	b.ReportAllocs()
	out, err := r.Run(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	if out.All.Failed > 0 {
		b.Fatal(out.AllErrors)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchTokens, "ns/event")
}

// limited stops a load after the benchmark's number of requests.
type limited struct {
	load.Workload
	left *testing.B
	stop func()
}

func (l *limited) Worker(ctx context.Context, n int) (load.Worker, error) {
	w, err := l.Workload.Worker(ctx, n)
	return &counting{Worker: w, limited: l}, err
}

type counting struct {
	load.Worker
	limited *limited
}

func (c *counting) Do(op *load.Op) {
	if !c.limited.left.Loop() {
		c.limited.stop()
	}
	c.Worker.Do(op)
}

// BenchmarkRequestNetHTTP is the same by net/http, for comparison: with the parsers of this package.
func BenchmarkRequestNetHTTP(b *testing.B) {
	url := canned(b, benchAnswer()) + "/v1/completions"
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1}}
	w, err := New(Options{Plan: plan(benchTokens), URL: url, Client: "c", Clock: load.NewTimerClock()})
	if err != nil {
		b.Fatal(err)
	}
	var e events
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		body := w.appendBody(nil, w.request(i))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("X-Request-Id", strconv.FormatUint(i, 10))
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		e.reset()
		found := 0
		for {
			n, err := resp.Body.Read(buf)
			e.feed(buf[:n])
			for data, more := e.next(); more; data, more = e.next() {
				if c, valid := scanChunk(data); valid && c.content {
					found++
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		_ = resp.Body.Close()
		cancel()
		if found != benchTokens {
			b.Fatalf("%d events", found)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchTokens, "ns/event")
}

// BenchmarkEvent is the parsing of one event.
func BenchmarkEvent(b *testing.B) {
	piece := []byte(text("hello", "7"))
	var e events
	b.ReportAllocs()
	for b.Loop() {
		e.feed(piece)
		data, found := e.next()
		if c, valid := scanChunk(data); !found || !valid || !c.content {
			b.Fatal("no content")
		}
	}
}

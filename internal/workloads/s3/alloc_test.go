package s3

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// fixedAnswers are one answer for all requests of a method, by its first letter. To serve them allocates nothing.
type fixedAnswers map[byte][]byte

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// start serves all connections; a request to write has a body of some length.
func (f fixedAnswers) start(l net.Listener, body int) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go f.serve(conn, body)
	}
}

func (f fixedAnswers) serve(conn net.Conn, body int) {
	defer conn.Close()
	request := make([]byte, 1<<20)
	for have := 0; ; {
		n, err := conn.Read(request[have:])
		if err != nil {
			return
		}
		have += n
		end := bytes.Index(request[:have], []byte("\r\n\r\n")) + 4
		if request[0] == 'P' {
			end += body
		}
		if end < 4 || have < end {
			continue
		}
		have = 0
		if _, err := conn.Write(f[request[0]]); err != nil {
			return
		}
	}
}

// repeater makes the first request of a kind many times, counts what that allocates, and is done.
type repeater struct {
	*Workload
	does        operation
	done        func()
	allocations float64
}

type repeated struct {
	load.Worker
	of *repeater
}

func (r *repeater) Worker(ctx context.Context, n int) (load.Worker, error) {
	w, err := r.Workload.Worker(ctx, n)
	return repeated{w, r}, err
}

func (r repeated) Do(op *load.Op) {
	r.Worker.Do(op)
	if r.of.allocations < 0 && operation(op.Operation) == r.of.does {
		var w order
		_, obj := r.of.offer.of(op.Request, &w)
		r.of.allocations = testing.AllocsPerRun(500, func() {
			r.of.ledger.keep(obj) // or there would be nothing to delete
			r.Worker.Do(op)
		})
		r.of.done()
	}
}

// A request allocates nothing, whatever it does and however large its object is.
func TestRequestsAllocateNothing(t *testing.T) {
	root := fstest.MapFS{"proc/self/task/1/schedstat": {Data: []byte("0 0 0")}}
	for _, c := range []struct {
		does    operation
		size    int64
		discard bool
	}{
		{opGet, 4 << 10, true}, {opGet, 4 << 10, false}, {opGet, 1 << 20, true}, {opGet, 1 << 20, false},
		{opPut, 4 << 10, false}, {opPut, 200 << 10, false}, {opHead, 4 << 10, false}, {opDelete, 4 << 10, false},
	} {
		t.Run(fmt.Sprintf("%s of %d bytes, discard %t", c.does.method(), c.size, c.discard), func(t *testing.T) {
			l := listen(t)
			o := options("http://"+l.Addr().String(), rundir.S3Mix{Put: 1, Get: 1, Head: 1, Delete: 1}, fixed(c.size))
			o.Plan.Objects, o.Plan.Discard, o.InFlight, o.Closed = 1, c.discard, 1, true
			w, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", c.size)
			object := whole(newContent(o.Seed), w.offer.object(dataSet, load.Measure, 0).identity, c.size)
			go fixedAnswers{
				'P': []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 'G': slices.Concat(head, object),
				'H': head, 'D': []byte("HTTP/1.1 204 No Content\r\n\r\n"),
			}.start(l, int(c.size))
			r := &repeater{Workload: w, does: c.does, allocations: -1}
			run, err := load.New(load.Options{
				Ranks: 1, Closed: &load.ClosedLoop{Concurrency: 1}, Lengths: load.Lengths{Measure: time.Minute}, Clock: o.Clock, Root: root,
			}, r)
			if err != nil {
				t.Fatal(err)
			}
			r.done = func() { run.Drain("all is seen") }
			out, err := run.Run(t.Context())
			if err != nil || out.All.Failed > 0 {
				t.Fatalf("%+v, errors %+v, %v", out.All, out.AllErrors, err)
			}
			if r.allocations != 0 {
				t.Errorf("%v allocations for each request, want 0", r.allocations)
			}
		})
	}
}

package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
)

func TestParseHead(t *testing.T) {
	for name, c := range map[string]struct {
		reason, in string
		want       Head
		n          int
		err        bool
	}{
		"plain":    {"names are compared without case", "HTTP/1.1 200 OK\r\ncontent-TYPE: text/html ; x=y\r\nContent-Length:  12 \r\n\r\nbody", Head{200, 12, false, false, []byte("text/html")}, 72, false},
		"chunked":  {"a chunked body", "HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n", Head{200, -1, true, true, nil}, 63, false},
		"1.0":      {"HTTP/1.0 closes unless it says otherwise", "HTTP/1.0 200 OK\n\n", Head{200, -1, false, true, nil}, 17, false},
		"1.0 keep": {"and it may", "HTTP/1.0 200 OK\nConnection: keep-alive\n\n", Head{200, -1, false, false, nil}, 40, false},
		"part":     {"not whole yet", "HTTP/1.1 200 OK\r\nA: b\r\n", Head{}, 0, false},
		"other":    {"not HTTP", "SSH-2.0\r\n\r\n", Head{}, 0, true},
		"status":   {"no status", "HTTP/1.1 2x0 OK\r\n\r\n", Head{}, 0, true},
		"lengths":  {"two lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Head{}, 0, true},
		"coding":   {"a coding that nobody asked for", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Head{}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, n, err := parseHead([]byte(c.in))
			if (err != nil) != c.err || n != c.n {
				t.Fatalf("%s: %d bytes, error %v; want %d", c.reason, n, err, c.n)
			}
			if diff := cmp.Diff(c.want, got); n > 0 && diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// FuzzAnswer reads head and body and compares with net/http on whatever both accept; cut into pieces it is the same.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"), uint8(3))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nA: b\r\n\r\n"), uint8(1))
	f.Add([]byte("HTTP/1.0 404 No\r\n\r\nrest"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		status, got, err := readAnswer(in, len(in)+1)
		status2, pieces, err2 := readAnswer(in, int(size)+1)
		if status != status2 || !bytes.Equal(got, pieces) || (err == nil) != (err2 == nil) {
			t.Fatalf("the pieces matter: %d %q %v, %d %q %v", status, got, err, status2, pieces, err2)
		}
		resp, herr := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: http.MethodPost})
		if err != nil || herr != nil || status < 200 || len(resp.TransferEncoding) > 0 != strings.Contains(strings.ToLower(string(in)), "chunked") {
			return
		}
		defer resp.Body.Close()
		want, herr := io.ReadAll(resp.Body)
		if herr == nil && (status != resp.StatusCode || !bytes.Equal(got, want)) {
			t.Errorf("got %d %q, net/http %d %q", status, got, resp.StatusCode, want)
		}
	})
}

// readAnswer reads a whole answer from reads of at most n bytes.
func readAnswer(in []byte, n int) (status int, all []byte, err error) {
	s := &Stream{ctx: context0, conn: &pieces{in: in, n: n}, clock: load.NewTimerClock(), Limits: Timeouts{}.From(0)}
	h, err := s.Head()
	if err != nil {
		return 0, nil, err
	}
	b := NewBody(s, h)
	for {
		piece, err := b.Next()
		all = append(all, piece...)
		if errors.Is(err, io.EOF) {
			return h.Status, all, nil
		}
		if err != nil {
			return h.Status, all, err
		}
	}
}

// Reading a body in chunks allocates nothing.
func TestReadingAllocatesNothing(t *testing.T) {
	answer := []byte("5\r\nhello\r\n6\r\n there\r\n")
	source := &pieces{n: 1 << 20}
	s := &Stream{ctx: context0, conn: source, clock: load.NewTimerClock(), Limits: Timeouts{}.From(0)}
	b := NewBody(s, Head{Status: 200, Chunked: true, Length: -1})
	got := 0
	read := func() {
		source.in = answer
		for want := got + len("hello there"); got < want; {
			piece, err := b.Next()
			if err != nil {
				t.Fatal(err)
			}
			got += len(piece)
		}
	}
	read()
	if n := testing.AllocsPerRun(1000, read); n != 0 {
		t.Errorf("%v allocations for two chunks, want 0", n)
	}
}

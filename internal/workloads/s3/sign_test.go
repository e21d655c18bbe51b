package s3

import (
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// The examples "GET Bucket Lifecycle" and "Get Bucket (List Objects)" of "Signature Calculations for the Authorization
// Header" in the Amazon S3 API Reference.
func TestSignatureOfTheDocumentation(t *testing.T) {
	s := newSigner(Credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}, "us-east-1", "examplebucket.s3.amazonaws.com")
	now := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct{ query, want string }{
		"lifecycle": {"lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		"list":      {"max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		got := string(s.append(nil, request{method: "GET", path: []byte("/"), query: []byte(c.query), payload: emptyPayload}, now))
		header := parse(t, got)
		want := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, " +
			"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + c.want
		if header.Get("Authorization") != want || header.Get("X-Amz-Date") != "20130524T000000Z" || header.Get("X-Amz-Content-Sha256") != emptyPayload {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func parse(t *testing.T, lines string) http.Header {
	t.Helper()
	h := http.Header{}
	for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\r\n"), "\r\n") {
		name, value, found := strings.Cut(line, ": ")
		if !found {
			t.Fatalf("no header: %q", line)
		}
		h.Add(textproto.CanonicalMIMEHeaderKey(name), value)
	}
	return h
}

func TestSigningAllocatesNothing(t *testing.T) {
	s := newSigner(Credentials{"a", "b"}, "us-east-1", "127.0.0.1:9000")
	r := request{method: "GET", path: []byte("/bucket/some/key"), payload: unsignedPayload, checksum: []byte("AAAAAA==")}
	now, out := time.Unix(1_700_000_000, 0), make([]byte, 0, 1024)
	sign := func() { out = s.append(out[:0], r, now) }
	sign()
	if n := testing.AllocsPerRun(1000, sign); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestEscaped(t *testing.T) {
	const text = "a-Z_0.9~/ü+ %"
	if got, want := string(appendEscaped(nil, text, false)), "a-Z_0.9~/%C3%BC%2B%20%25"; got != want {
		t.Errorf("path %q, want %q", got, want)
	}
	if got, want := string(appendEscaped(nil, text, true)), "a-Z_0.9~%2F%C3%BC%2B%20%25"; got != want {
		t.Errorf("query %q, want %q", got, want)
	}
}

func BenchmarkSign(b *testing.B) {
	s := newSigner(Credentials{"a", "b"}, "us-east-1", "127.0.0.1:9000")
	r := request{method: "GET", path: []byte("/bucket/some/key"), payload: unsignedPayload}
	now, out := time.Unix(1_700_000_000, 0), make([]byte, 0, 1024)
	for b.Loop() {
		out = s.append(out[:0], r, now)
	}
}

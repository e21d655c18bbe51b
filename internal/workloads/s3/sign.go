package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"time"
)

// Payloads that are not a SHA-256 of the body, as x-amz-content-sha256 names them.
const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	emptyPayload    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Credentials of an S3 account.
type Credentials struct{ AccessKey, SecretKey string }

// request is what is signed of a request.
type request struct {
	method string
	// path and query are canonical: escaped, the query in the order of its names.
	path, query []byte
	// payload is the SHA-256 of the body in hex, or unsignedPayload.
	payload string
	// checksum is the value of x-amz-checksum-crc32c; nil for none.
	checksum []byte
}

// signer signs requests by Signature Version 4 of the Amazon S3 API Reference, "Authenticating Requests: Using the
// Authorization Header". It is not for concurrent use. It derives the key once a day, and signs without allocating.
type signer struct {
	credentials  Credentials
	region, host string

	second  int64
	date    []byte // of the second, as in x-amz-date
	scope   []byte // of the day
	mac     hash.Hash
	digest  hash.Hash
	scratch []byte
	sum     [sha256.Size]byte
}

const (
	algorithm = "AWS4-HMAC-SHA256"
	dateForm  = "20060102T150405Z"
	dayBytes  = len("20060102")
)

func newSigner(c Credentials, region, host string) *signer {
	return &signer{credentials: c, region: region, host: host, digest: sha256.New(), second: -1}
}

// at moves the signer to an instant.
func (s *signer) at(now time.Time) {
	if now.Unix() == s.second {
		return
	}
	s.second = now.Unix()
	former := string(s.date)
	s.date = now.UTC().AppendFormat(s.date[:0], dateForm)
	if len(former) > 0 && former[:dayBytes] == string(s.date[:dayBytes]) {
		return
	}
	key := []byte("AWS4" + s.credentials.SecretKey)
	for _, part := range []string{string(s.date[:dayBytes]), s.region, "s3", "aws4_request"} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	s.mac = hmac.New(sha256.New, key)
	s.scope = append(append(append(s.scope[:0], s.date[:dayBytes]...), '/'), s.region...)
	s.scope = append(s.scope, "/s3/aws4_request"...)
}

// append appends the headers that authenticate a request, each with its line end.
func (s *signer) append(dst []byte, r request, now time.Time) []byte {
	s.at(now)
	signed := "host;x-amz-content-sha256;x-amz-date"
	if r.checksum != nil {
		signed = "host;x-amz-checksum-crc32c;x-amz-content-sha256;x-amz-date"
	}
	s.canonical(r, signed)
	s.toSign()
	dst = append(append(dst, "x-amz-content-sha256: "...), r.payload...)
	dst = append(append(dst, "\r\nx-amz-date: "...), s.date...)
	if r.checksum != nil {
		dst = append(append(dst, "\r\nx-amz-checksum-crc32c: "...), r.checksum...)
	}
	dst = append(append(dst, "\r\nAuthorization: "+algorithm+" Credential="...), s.credentials.AccessKey...)
	dst = append(append(append(dst, '/'), s.scope...), ", SignedHeaders="...)
	dst = append(append(dst, signed...), ", Signature="...)
	s.mac.Reset()
	s.mac.Write(s.scratch)
	dst = hex.AppendEncode(dst, s.mac.Sum(s.sum[:0]))
	return append(dst, "\r\n"...)
}

// canonical writes the canonical request into scratch.
func (s *signer) canonical(r request, signed string) {
	b := append(append(s.scratch[:0], r.method...), '\n')
	b = append(append(b, r.path...), '\n')
	b = append(append(b, r.query...), '\n')
	b = append(append(b, "host:"...), s.host...)
	if r.checksum != nil {
		b = append(append(b, "\nx-amz-checksum-crc32c:"...), r.checksum...)
	}
	b = append(append(b, "\nx-amz-content-sha256:"...), r.payload...)
	b = append(append(b, "\nx-amz-date:"...), s.date...)
	b = append(append(b, "\n\n"...), signed...)
	s.scratch = append(append(b, '\n'), r.payload...)
}

// toSign replaces the canonical request in scratch by the string to sign.
func (s *signer) toSign() {
	s.digest.Reset()
	s.digest.Write(s.scratch)
	b := append(append(s.scratch[:0], algorithm+"\n"...), s.date...)
	b = append(append(append(b, '\n'), s.scope...), '\n')
	s.scratch = hex.AppendEncode(b, s.digest.Sum(s.sum[:0]))
}

// appendEscaped appends a path or, with slashes escaped too, the value of a query, as the canonical request has it.
func appendEscaped(dst []byte, text string, slashes bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && !slashes:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

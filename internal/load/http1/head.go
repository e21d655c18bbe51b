package http1

import (
	"bytes"
	"errors"
	"fmt"
)

// Head is what matters of an answer's head.
type Head struct {
	Status int
	// Length of the body; -1 when it is not given.
	Length int64
	// Chunked says that the body comes in chunks, whatever Length says.
	Chunked bool
	// Close says that the connection ends with the body.
	Close bool
	// MediaType is the content type without parameters, as it was sent.
	MediaType []byte
}

const longestHead = 64 << 10

// ErrMalformed is in the error of an answer that breaks the rules of HTTP/1.1.
var ErrMalformed = errors.New("the answer is not HTTP/1.1")

// parseHead reads an answer's head, through its blank line; n is its length, 0 while it is not whole.
func parseHead(b []byte) (h Head, n int, err error) {
	h.Length = -1
	rest := b
	for lines := 0; ; lines++ {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return h, 0, nil
		}
		line := bytes.TrimSuffix(rest[:end], []byte("\r"))
		rest = rest[end+1:]
		switch {
		case lines == 0:
			err = h.statusLine(line)
		case len(line) == 0:
			return h, len(b) - len(rest), nil
		default:
			err = h.field(line)
		}
		if err != nil {
			return h, 0, err
		}
	}
}

// statusLine reads a line such as HTTP/1.1 200 OK.
func (h *Head) statusLine(line []byte) error {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) || len(rest) < 3 {
		return ErrMalformed
	}
	status, ok := decimal(rest[:3])
	if !ok || status < 100 || len(rest) > 3 && rest[3] != ' ' {
		return ErrMalformed
	}
	h.Status = int(status)
	h.Close = string(version) == "HTTP/1.0"
	return nil
}

func (h *Head) field(line []byte) error {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || len(name) == 0 {
		return ErrMalformed
	}
	value = bytes.Trim(value, " \t")
	switch {
	case IsFold(name, "content-length"):
		length, ok := decimal(value)
		if !ok || h.Length >= 0 && h.Length != length {
			return fmt.Errorf("%w: content length %q", ErrMalformed, value)
		}
		h.Length = length
	case IsFold(name, "transfer-encoding"):
		if !IsFold(value, "chunked") {
			return fmt.Errorf("%w: transfer encoding %q was not asked for", ErrMalformed, value)
		}
		h.Chunked = true
	case IsFold(name, "connection"):
		h.Close = IsFold(value, "close") || h.Close && !IsFold(value, "keep-alive")
	case IsFold(name, "content-type"):
		value, _, _ = bytes.Cut(value, []byte(";"))
		h.MediaType = bytes.TrimRight(value, " \t")
	}
	return nil
}

// IsFold compares with a lower-case ASCII name without regard to case.
func IsFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// decimal reads a whole number of at most 15 digits.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

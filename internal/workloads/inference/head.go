package inference

import (
	"bytes"
	"errors"
	"fmt"
)

// head is what matters of an answer's head.
type head struct {
	status int
	// length of the body; -1 when it is not given.
	length int64
	// chunked says that the body comes in chunks, whatever length says.
	chunked bool
	// close says that the connection ends with the body.
	close bool
	// mediaType is the content type without parameters, as it was sent; it lies in the input.
	mediaType []byte
}

const longestHead = 64 << 10

var errMalformed = errors.New("the answer is not HTTP/1.1")

// parseHead reads an answer's head, through its blank line; n is its length, 0 while it is not whole.
func parseHead(b []byte) (h head, n int, err error) {
	h.length = -1
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
func (h *head) statusLine(line []byte) error {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) || len(rest) < 3 {
		return errMalformed
	}
	status, ok := decimal(rest[:3])
	if !ok || status < 100 || len(rest) > 3 && rest[3] != ' ' {
		return errMalformed
	}
	h.status = int(status)
	h.close = string(version) == "HTTP/1.0"
	return nil
}

func (h *head) field(line []byte) error {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || len(name) == 0 {
		return errMalformed
	}
	value = bytes.Trim(value, " \t")
	switch {
	case isFold(name, "content-length"):
		length, ok := decimal(value)
		if !ok || h.length >= 0 && h.length != length {
			return fmt.Errorf("%w: content length %q", errMalformed, value)
		}
		h.length = length
	case isFold(name, "transfer-encoding"):
		if !isFold(value, "chunked") {
			return fmt.Errorf("%w: transfer encoding %q was not asked for", errMalformed, value)
		}
		h.chunked = true
	case isFold(name, "connection"):
		h.close = isFold(value, "close") || h.close && !isFold(value, "keep-alive")
	case isFold(name, "content-type"):
		value, _, _ = bytes.Cut(value, []byte(";"))
		h.mediaType = bytes.TrimRight(value, " \t")
	}
	return nil
}

// isFold compares with a lower-case ASCII name without regard to case.
func isFold(b []byte, name string) bool {
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

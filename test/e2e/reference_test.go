//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/test/user"
)

// reference is a client that shares nothing with ours: one connection, one stream, a thread that waits in the kernel for
// the next bytes and stamps them when they are there, and an answer that is taken apart by hand.
type reference struct {
	fd    int
	host  string
	model string
	// raw is what was read and not taken apart yet; the last of it arrived at the instant at.
	raw []byte
	at  time.Duration
}

// completion is an answer as the reference saw it; its times are of CLOCK_MONOTONIC.
type completion struct {
	sent   time.Duration
	tokens []time.Duration
	input  int
}

func (c completion) ttft() time.Duration { return c.tokens[0] - c.sent }

// decoding is the time from the first token to the last one.
func (c completion) decoding() time.Duration { return c.tokens[len(c.tokens)-1] - c.tokens[0] }

// readAside asks a server on a core for completions, one after the other, for some time. The number of output tokens
// goes round from least to most.
func readAside(t *testing.T, core int, host string, port int, model string, input, least, most int, lasts time.Duration) ([]completion, error) {
	if err := user.OwnThread(t, core); err != nil {
		return nil, err
	}
	r, err := dial(host, port, model)
	if err != nil {
		return nil, fmt.Errorf("reference: connect to %s, port %d: %w", host, port, err)
	}
	defer unix.Close(r.fd)
	var out []completion
	for begun := time.Now(); time.Since(begun) < lasts; {
		// A step that has no divisor in common with the number of lengths meets each of them.
		output := least + len(out)*28%(most-least+1)
		c, err := r.complete(len(out), input, output)
		if err == nil && (len(c.tokens) != output || c.input != input) {
			err = fmt.Errorf("%d tokens for %d, of %d for %d of the prompt", len(c.tokens), output, c.input, input)
		}
		if err != nil {
			return nil, fmt.Errorf("reference: completion %d: %w", len(out), err)
		}
		out = append(out, c)
	}
	return out, nil
}

func dial(host string, port int, model string) (*reference, error) {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // it blocks: nothing stands between the kernel and the reader
	if err != nil {
		return nil, err
	}
	r := &reference{fd: fd, host: netip.AddrPortFrom(address, uint16(port)).String(), model: model}
	if err := errors.Join(
		unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: address.As4()}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30}),
	); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return r, nil
}

func monotonic() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}

// complete asks for one completion and reads it to its end.
func (r *reference) complete(n, input, output int) (completion, error) {
	prompt := make([]string, input)
	for i := range prompt {
		prompt[i] = strconv.Itoa(1000 + 37*n + i)
	}
	body := fmt.Sprintf(`{"model":%q,"prompt":[%s],"max_tokens":%d,"min_tokens":%d,"ignore_eos":true,"temperature":0,"stream":true,"stream_options":{"include_usage":true}}`,
		r.model, strings.Join(prompt, ","), output, output)
	ask := fmt.Sprintf("POST /v1/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", r.host, len(body), body)
	sent, err := monotonic()
	if err != nil {
		return completion{}, err
	}
	if _, err := unix.Write(r.fd, []byte(ask)); err != nil { // a socket that blocks takes all of it
		return completion{}, fmt.Errorf("send: %w", err)
	}
	if err := r.head(); err != nil {
		return completion{}, err
	}
	c := completion{sent: sent}
	err = r.stream(&c)
	return c, err
}

// head reads the status and the headers.
func (r *reference) head() error {
	var lines []string
	for {
		line, err := r.line()
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	if lines[0] != "HTTP/1.1 200 OK" || !slices.Contains(lines, "Transfer-Encoding: chunked") {
		return fmt.Errorf("the answer begins with %q", lines)
	}
	return nil
}

// stream reads the chunks of the body, and the events in them.
func (r *reference) stream(c *completion) error {
	var text []byte
	done := false
	for {
		chunk, err := r.chunk()
		if err != nil {
			return err
		}
		if len(chunk) == 0 {
			if !done || len(text) > 0 {
				return fmt.Errorf("the stream ends with %q", text)
			}
			return nil
		}
		text = append(text, chunk...)
		for {
			event, rest, whole := bytes.Cut(text, []byte("\n\n"))
			if !whole {
				break
			}
			text = rest
			data, isData := bytes.CutPrefix(event, []byte("data: "))
			if !isData || done {
				return fmt.Errorf("the event %q is none", event)
			}
			if done = string(data) == "[DONE]"; done {
				continue
			}
			if err := r.event(data, c); err != nil {
				return err
			}
		}
	}
}

// event reads one event. Of this server each token is one with a text.
func (r *reference) event(data []byte, c *completion) error {
	var e struct {
		Choices []struct {
			Text string `json:"text"`
		} `json:"choices"`
		Usage *struct {
			Prompt int `json:"prompt_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("the event %q: %w", data, err)
	}
	if len(e.Choices) > 0 && e.Choices[0].Text != "" {
		c.tokens = append(c.tokens, r.at)
	}
	if e.Usage != nil {
		c.input = e.Usage.Prompt
	}
	return nil
}

// chunk is one of a chunked body, RFC 9112, section 7.1; the last one is empty.
func (r *reference) chunk() ([]byte, error) {
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseUint(line, 16, 24)
	if err != nil {
		return nil, fmt.Errorf("the size of a chunk: %w", err)
	}
	for len(r.raw) < int(size) {
		if err := r.read(); err != nil {
			return nil, err
		}
	}
	chunk := bytes.Clone(r.raw[:size])
	r.raw = r.raw[size:]
	switch end, err := r.line(); {
	case err != nil:
		return nil, err
	case end != "":
		return nil, fmt.Errorf("after a chunk comes %q", end)
	}
	return chunk, nil
}

// line is one line without its end.
func (r *reference) line() (string, error) {
	for {
		if line, rest, whole := bytes.Cut(r.raw, []byte("\r\n")); whole {
			r.raw = rest
			return string(line), nil
		}
		if err := r.read(); err != nil {
			return "", err
		}
	}
}

// read waits for bytes and stamps them.
func (r *reference) read() error {
	var b [16 << 10]byte
	n, err := unix.Read(r.fd, b[:])
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(r.fd, b[:])
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return errors.New("the server closed the connection")
	}
	r.raw = append(r.raw, b[:n]...)
	r.at, err = monotonic()
	return err
}

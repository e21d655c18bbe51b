package s3

import (
	"errors"
	"fmt"
	"io"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
)

// answer takes in the answer to a request.
func (w *worker) answer(does operation, obj object, h http1.Head) (outcome, error) {
	switch {
	case h.Status >= 500:
		return w.refusal(outcome{kind: load.HTTP5xx, code: h.Status})
	case h.Status != 200 && (h.Status != 204 || does != opDelete):
		return w.refusal(outcome{kind: load.HTTP4xx, code: h.Status})
	case w.connection.Early():
		return outcome{kind: load.StreamError, sample: fmt.Sprintf("HTTP %d before the server had the whole request", h.Status)}, errGivenUp
	case does == opHead && h.Length != obj.size:
		return outcome{kind: load.Corrupt, sample: fmt.Sprintf("Content-Length %d of an object of %d bytes", h.Length, obj.size)}, nil
	case does == opGet:
		return w.get(obj, h)
	}
	return outcome{}, w.rest()
}

// rest reads a short body that nobody needs.
func (w *worker) rest() error {
	for {
		if _, err := w.body.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// refusal reads the body of an error and keeps its beginning, an XML document, under a line with its code and message.
func (w *worker) refusal(out outcome) (outcome, error) {
	const longest = 64 << 10
	var err error
	for read := 0; err == nil && read < longest; {
		var piece []byte
		piece, err = w.body.Next()
		out.sample += string(piece[:min(len(piece), sampleBytes-len(out.sample))])
		read += len(piece)
	}
	switch {
	case err == nil:
		err = http1.ErrTooLong
	case errors.Is(err, io.EOF):
		err = nil
	}
	if code, message := brief(out.sample); code != "" {
		out.sample = code + ": " + message + "\n" + out.sample
	}
	return out, err
}

// get reads an object.
func (w *worker) get(obj object, h http1.Head) (outcome, error) {
	if h.Length >= 0 && h.Length != obj.size {
		return outcome{kind: load.Corrupt, sample: fmt.Sprintf("Content-Length %d of an object of %d bytes", h.Length, obj.size)}, errGivenUp
	}
	if w.body.Buffered() || obj.size == 0 {
		w.first = w.connection.At
	}
	read := w.check
	if w.workload.options.Plan.Discard {
		read = w.discard
	}
	size, err := read(obj)
	if differs, is := errors.AsType[*corruption](err); is {
		return outcome{kind: load.Corrupt, sample: differs.Error()}, err
	}
	switch {
	case err != nil:
		return w.broken(outcome{}, err, load.Truncated), err
	case size > obj.size:
		return outcome{kind: load.Corrupt, sample: fmt.Sprintf("%d bytes of an object of %d bytes", size, obj.size)}, nil
	case size < obj.size:
		return outcome{kind: load.Short, sample: fmt.Sprintf("%d bytes of %d", size, obj.size)}, nil
	}
	return outcome{}, nil
}

// errGivenUp says that the rest of an answer is not read, so that the connection cannot be used again.
var errGivenUp = errors.New("the rest of the answer is not wanted")

// discard drops the body and returns its length.
func (w *worker) discard(object) (int64, error) {
	for size := int64(0); ; {
		n, err := w.body.Discard()
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		size += int64(n)
		w.arrived(n)
	}
}

// check compares the body with what was stored and returns its length.
func (w *worker) check(obj object) (int64, error) {
	if w.buffer == nil {
		w.buffer = make([]byte, readBytes)
	}
	c := checker{identity: obj.identity, size: obj.size}
	kept := 0 // bytes of a block whose rest has not arrived
	for {
		n, err := w.body.Read(w.buffer[kept:])
		switch {
		case errors.Is(err, io.EOF) && kept > 0 && c.offset == c.size:
			return c.size, &corruption{c.offset, "the answer is longer than the object"}
		case errors.Is(err, io.EOF):
			return c.offset + int64(kept), nil
		case err != nil:
			return c.offset, err
		}
		w.arrived(n)
		have := w.buffer[:kept+n]
		taken, err := c.next(have)
		if err != nil {
			return c.offset, err
		}
		kept = copy(w.buffer, have[taken:])
		if c.offset == c.size && kept > 0 {
			return c.size, &corruption{c.offset, "the answer is longer than the object"}
		}
	}
}

// arrived notes that n bytes of content came.
func (w *worker) arrived(n int) {
	w.op.Count(bytesRead, w.connection.At, int64(n))
	w.moved += int64(n)
	if w.first == 0 {
		w.first = w.connection.At
	}
	w.connection.Content()
}

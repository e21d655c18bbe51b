package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
	"slices"
	"strconv"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
	"assay.bench/internal/rundir"
)

// worker makes requests one after the other on a connection of its own.
type worker struct {
	workload   *Workload
	connection *http1.Connection
	signer     *signer
	content    *content
	order      order
	digest     hash.Hash

	// Of the request under way; first is when the first byte of content came, 0 before that.
	op    *load.Op
	body  http1.Body
	first int64

	message  []byte
	path     []byte
	checksum []byte
	buffer   []byte
	calls    Calls // outside of the load
}

const (
	// readBytes is how much of a body is read at once where it is checked.
	readBytes = 256 << 10
	// together is the longest body that goes out in one write with the head.
	together    = 64 << 10
	sampleBytes = 512
)

func newWorker(ctx context.Context, w *Workload) *worker {
	return &worker{
		workload: w, connection: http1.New(ctx, &w.http), digest: sha256.New(),
		signer: newSigner(w.options.Credentials, w.options.Plan.Region, w.host), calls: Calls{},
	}
}

// Close ends the connection.
func (w *worker) Close() { w.connection.End() }

// Do makes one attempt.
func (w *worker) Do(op *load.Op) {
	does, obj := w.workload.offer.of(op.Request, &w.order)
	op.Operation = int(does)
	w.prepare(does, obj)
	op.Sent = w.workload.options.Clock.Now()
	out := w.exchange(op, does, obj)
	if op.Done == 0 {
		op.Done = w.workload.options.Clock.Now()
	}
	if out.sent {
		op.Count(firstCall+int(does), op.Done, 1)
	}
	if does == opPut && out.kind == "" {
		op.Count(bytesWritten, op.Done, obj.size)
	}
	switch {
	case out.err != nil:
		op.FailErr(out.kind, out.err)
	case out.kind != "":
		op.Fail(out.kind, out.code, out.sample)
	default:
		op.End = w.connection.At
		w.observe(op, does)
	}
}

func (w *worker) observe(op *load.Op, does operation) {
	switch does {
	case opPut:
		op.SinceScheduled(putTime, op.End)
	case opGet:
		op.SinceScheduled(getTime, op.End)
		op.SinceScheduled(getTTFB, w.first)
	case opHead:
		op.SinceScheduled(headTime, op.End)
	case opDelete:
		op.SinceScheduled(deleteTime, op.End)
	}
}

func (o operation) method() string {
	return [operations]string{opPut: "PUT", opGet: "GET", opHead: "HEAD", opDelete: "DELETE"}[o]
}

// prepare writes the head of a request into message, and its body too where that is short.
func (w *worker) prepare(does operation, obj object) {
	w.path = obj.appendKey(append(w.path[:0], w.workload.root...)) // a key needs no escapes
	r := request{method: does.method(), path: w.path, payload: emptyPayload}
	b := append(append(w.message[:0], r.method...), ' ')
	b = append(append(b, w.path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, w.workload.host...), "\r\nUser-Agent: assay\r\n"...)
	if does == opPut {
		w.protect(&r, obj)
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), obj.size, 10), "\r\n"...)
	}
	b = append(w.signer.append(b, r, w.workload.options.Wall()), "\r\n"...)
	if does == opPut && obj.size <= together {
		b = append(b, w.writes().at(obj.identity, 0, obj.size)...)
	}
	w.message = b
}

// writes is the content of what this worker writes; those that only read need none.
func (w *worker) writes() *content {
	if w.content == nil {
		w.content = &content{pool: slices.Clone(w.workload.pool)}
	}
	return w.content
}

// protect says in the request how its body is protected.
func (w *worker) protect(r *request, obj object) {
	r.payload = unsignedPayload
	switch w.workload.options.Plan.Payload {
	case rundir.PayloadSHA256:
		w.digest.Reset()
		for b := range w.pieces(obj) {
			w.digest.Write(b)
		}
		r.payload = hex.EncodeToString(w.digest.Sum(nil))
	case rundir.PayloadCRC32C:
		sum := uint32(0)
		for b := range w.pieces(obj) {
			sum = crc32.Update(sum, castagnoli(), b)
		}
		w.checksum = base64.StdEncoding.AppendEncode(w.checksum[:0], binary.BigEndian.AppendUint32(nil, sum))
		r.checksum = w.checksum
	}
}

// pieces hands out the content of an object. Each piece holds until the next.
func (w *worker) pieces(obj object) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for off := int64(0); off < obj.size; off += poolBytes {
			if !yield(w.writes().at(obj.identity, off, obj.size-off)) {
				return
			}
		}
	}
}

// outcome is how an attempt ended; the zero kind is a success. sent says that a connection took the head of the request:
// what went out may have been counted by the server.
type outcome struct {
	sent   bool
	kind   load.Kind
	code   int
	sample string
	err    error
}

// exchange sends the request and reads the answer.
func (w *worker) exchange(op *load.Op, does operation, obj object) outcome {
	c := w.connection
	if err := c.Open(op.Sent, w.workload.options.Timeouts.From(op.Sent)); err != nil {
		return outcome{kind: http1.DialKind(err), err: err}
	}
	keep := false
	defer func() { c.Finish(keep) }()
	var out outcome
	if err := c.Write(w.message); err != nil {
		return w.unanswered(out, err, does)
	}
	out.sent = true
	if err := w.sendBody(does, obj); err != nil {
		return w.unanswered(out, err, does)
	}
	h, err := c.Head()
	if err != nil {
		return w.unanswered(out, err, does)
	}
	if does == opHead || h.Status == 204 {
		h.Chunked = false
	}
	w.op, w.first, w.body = op, 0, http1.NewBody(&c.Stream, h)
	if does == opHead {
		w.body = http1.NewBody(&c.Stream, http1.Head{Status: h.Status})
	}
	out, err = w.answer(does, obj, h)
	out.sent = true
	op.Done = c.At
	keep = err == nil && !h.Close && w.body.Over() && len(c.Unread()) == 0
	return out
}

// sendBody sends what the message does not hold of the body of a write.
func (w *worker) sendBody(does operation, obj object) error {
	if does != opPut || obj.size <= together {
		return nil
	}
	for b := range w.pieces(obj) {
		if err := w.connection.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// answer takes in the answer to a request.
func (w *worker) answer(does operation, obj object, h http1.Head) (outcome, error) {
	switch {
	case h.Status >= 500:
		return w.refusal(outcome{kind: load.HTTP5xx, code: h.Status})
	case h.Status != 200 && (h.Status != 204 || does != opDelete):
		return w.refusal(outcome{kind: load.HTTP4xx, code: h.Status})
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
	if w.first == 0 {
		w.first = w.connection.At
	}
	w.connection.Content()
}

// unanswered is the outcome of a request to which no answer came.
func (w *worker) unanswered(out outcome, err error, does operation) outcome {
	if does == opPut {
		w.workload.unanswered.Store(true)
	}
	return w.broken(out, err, load.Reset)
}

// broken is the outcome of an error of the connection.
func (w *worker) broken(out outcome, err error, ended load.Kind) outcome {
	var words string
	if out.kind, words = w.connection.Failure(err, ended); words != "" {
		out.sample = words
	} else {
		out.err = err
	}
	return out
}

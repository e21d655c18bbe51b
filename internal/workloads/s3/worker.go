package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"iter"
	"net/http"
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
	// heard is when the first byte of the answer came, of a read that of its content; moved is how much content arrived, or
	// was written for certain.
	heard, moved int64

	ended    <-chan struct{} // the load
	line     []byte          // of the log
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
		workload: w, ended: ctx.Done(), connection: http1.New(ctx, &w.http), digest: sha256.New(),
		signer: newSigner(w.options.Credentials, w.options.Plan.Region, w.host), calls: Calls{},
	}
}

// Close ends the connection.
func (w *worker) Close() { w.connection.End() }

// noObject is the sample of load.NoObject.
const noObject = "nothing was sent, for all that this rank has written is deleted already: other writes failed, or have not ended"

// Do makes one attempt.
func (w *worker) Do(op *load.Op) {
	does, obj := w.workload.offer.of(op.Request, &w.order)
	op.Operation = int(does)
	w.heard, w.moved = 0, 0
	ledger := w.workload.ledger
	switch does {
	case opPut:
		ledger.begin(obj)
	case opDelete:
		var found bool
		if obj, found = ledger.take(obj); !found {
			op.Fail(load.NoObject, 0, noObject)
			w.log(op, does, obj, outcome{kind: load.NoObject}, false)
			return
		}
	}
	// The attempt begins here: to hash what it sends is a part of it, and no delay of the client.
	op.Sent = w.workload.options.Clock.Now()
	w.prepare(does, obj)
	out := w.exchange(op, does, obj)
	if op.Done == 0 {
		op.Done = w.workload.options.Clock.Now()
	}
	if out.sent {
		op.Count(firstCall+int(does), op.Done, 1)
	}
	switch {
	case does == opPut && out.kind == "":
		op.Count(bytesWritten, op.Done, obj.size)
		w.moved = obj.size
		ledger.keep(obj)
	case does == opDelete && out.code > 0 && out.code != http.StatusNotFound:
		ledger.keep(obj) // the server says that it did not do it
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
	w.log(op, does, obj, out, true)
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

func (o operation) name() string {
	return [operations]string{opPut: Put, opGet: Get, opHead: Head, opDelete: Delete}[o]
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
	c, now := w.connection, op.Sent
	limits := w.workload.options.Timeouts.From(op.Sent)
	if does == opPut { // whose content took its time
		now = w.workload.options.Clock.Now()
		limits.Await(now)
	}
	if err := c.Open(now, limits); err != nil {
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
	w.heard = c.At
	w.op, w.first, w.body = op, 0, http1.NewBody(&c.Stream, h)
	if does == opHead {
		w.body = http1.NewBody(&c.Stream, http1.Head{Status: h.Status})
	}
	out, err = w.answer(does, obj, h)
	out.sent = true
	op.Done = c.At
	if w.first != 0 {
		w.heard = w.first
	}
	keep = err == nil && !h.Close && w.body.Over() && len(c.Unread()) == 0
	return out
}

// sendBody sends what the message does not hold of the body of a write.
func (w *worker) sendBody(does operation, obj object) error {
	if does != opPut || obj.size <= together {
		return nil
	}
	for b := range w.pieces(obj) {
		if err := w.connection.WriteMore(b); err != nil || w.connection.Early() {
			return err
		}
	}
	w.connection.Sent()
	return nil
}

// unanswered is the outcome of a request to which no answer came.
func (w *worker) unanswered(out outcome, err error, does operation) outcome {
	if does == opPut {
		w.workload.ledger.cutOff()
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

package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
)

// Calls that the set-up and the clean-up make, by the names of the S3 API.
const (
	callCreateBucket  = "CreateBucket"
	callListObjectsV2 = "ListObjectsV2"
	callPutObject     = "PutObject"
	callGetObject     = "GetObject"
	callHeadObject    = "HeadObject"
	callDeleteObject  = "DeleteObject"
)

// longestAnswer bounds the answer to a call: a list of a thousand keys of at most 1,024 bytes, escaped, fits.
const longestAnswer = 8 << 20

// apiError is an answer that says no.
type apiError struct {
	Status  int    `xml:"-"`
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

func (e *apiError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("HTTP %d", e.Status)
	}
	return fmt.Sprintf("HTTP %d %s: %s", e.Status, e.Code, sentence(e.Message))
}

// errNoS3 says that somebody answered who does not speak S3.
var errNoS3 = errors.New("the endpoint does not speak S3: name the API's address, not a console's or a proxy's")

// call makes one request outside of the load, as often as persist does, and returns the body of its answer.
func (w *worker) call(ctx context.Context, name string, r request, body []byte) (answer []byte, err error) {
	err = w.persist(ctx, func() error {
		answer, err = w.once(name, r, body)
		return err
	})
	return answer, err
}

// once is one attempt of call.
func (w *worker) once(name string, r request, body []byte) ([]byte, error) {
	sum := sha256.Sum256(body)
	r.payload = hex.EncodeToString(sum[:])
	b := append(append(w.message[:0], r.method...), ' ')
	b = append(b, r.path...)
	if len(r.query) > 0 {
		b = append(append(b, '?'), r.query...)
	}
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), w.workload.host...), "\r\nUser-Agent: assay\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	b = append(w.signer.append(b, r, w.workload.options.Wall()), "\r\n"...)
	b = append(b, body...)
	w.message = b

	c, now := w.connection, w.workload.options.Clock.Now()
	if err := c.Open(now, w.workload.options.Timeouts.From(now)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, &failure{http1.DialKind(err), err})
	}
	keep := false
	defer func() { c.Finish(keep) }()
	if err := c.Write(w.message); err != nil {
		return nil, fmt.Errorf("%s: %w", name, w.failed(err))
	}
	w.calls[name]++ // it went out, so the server may have counted it
	answer, err := w.called(r.method)
	refused, _ := errors.AsType[*apiError](err)
	keep = err == nil || refused != nil
	switch {
	case err == nil:
		return answer, nil
	case refused == nil && !errors.Is(err, errNoS3):
		err = w.failed(err)
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// failed is an error of the connection with its kind.
func (w *worker) failed(err error) error {
	kind, _ := w.connection.Failure(err, load.Reset)
	return &failure{kind, err}
}

// called reads the whole answer to a message; one that says no is an *apiError.
func (w *worker) called(method string) ([]byte, error) {
	c := w.connection
	h, err := c.Head()
	if err != nil {
		return nil, err
	}
	if method == "HEAD" {
		h.Length, h.Chunked = 0, false
	}
	body := http1.NewBody(&c.Stream, h)
	var answer []byte
	for {
		piece, err := body.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if answer = append(answer, piece...); len(answer) > longestAnswer {
			return nil, http1.ErrTooLong
		}
	}
	if h.Close {
		defer c.Close()
	}
	if h.Status/100 == 2 {
		return answer, nil
	}
	return nil, refusal(method, h.Status, answer)
}

// refusal reads an answer that says no. What is no document of S3's is a sign of another server, unless the server is in
// trouble, for then a proxy may speak for it.
func refusal(method string, status int, answer []byte) error {
	refused := &apiError{Status: status}
	if method == "HEAD" || xml.Unmarshal(answer, refused) == nil && refused.Code != "" {
		return refused
	}
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		return &apiError{Status: status}
	}
	return fmt.Errorf("%w (HTTP %d)", errNoS3, status)
}

// status is the HTTP status of a call's error; 0 for none.
func status(err error) int {
	if refused, is := errors.AsType[*apiError](err); is {
		return refused.Status
	}
	return 0
}

// store puts one object outside of the load, as often as persist does.
func (w *worker) store(ctx context.Context, obj object) error {
	return w.persist(ctx, func() error { return w.storeOnce(obj) })
}

func (w *worker) storeOnce(obj object) error {
	op := &load.Op{Sent: w.workload.options.Clock.Now()}
	w.prepare(opPut, obj)
	out := w.exchange(op, opPut, obj)
	if out.sent {
		w.calls[callPutObject]++
	}
	err := out.err
	switch {
	case out.kind == "":
		return nil
	case out.code > 0:
		code, message := brief(out.sample)
		err = &apiError{Status: out.code, Code: code, Message: message}
	case err == nil:
		err = errors.New(out.sample)
	}
	return fmt.Errorf("%s of %s: %s: %w", callPutObject, w.path, out.kind, w.advised(&failure{out.kind, err}))
}

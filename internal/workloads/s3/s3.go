// Package s3 loads an object store through the S3 API: it writes, reads, looks up and deletes objects of its own below a
// prefix of its own, and checks what it reads.
//
// It signs with a signer of its own and talks through package http1, without a request or a response object: what a
// client does beside the exchange is part of every latency that it measures. Retries of the load are those of package load
// alone, so that each attempt is an event; the set-up and the clean-up persist by themselves.
package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
	"assay.bench/internal/rundir"
)

// Metrics of this workload, beside those of package load: the time of each operation from the scheduled instant to its
// end, and GetTTFB to the first byte of the content.
const (
	Put     = "put"
	Get     = "get"
	GetTTFB = "get_ttfb"
	Head    = "head"
	Delete  = "delete"
)

const (
	putTime = iota
	getTime
	getTTFB
	headTime
	deleteTime
)

// Options of the workload. Plan, URL, Credentials, Clock, InFlight and Ranks are required.
type Options struct {
	Plan rundir.S3
	// URL of the endpoint, such as http://host:9000. Buckets are addressed by path.
	URL         string
	Credentials Credentials
	// Seed makes the mix, the sizes and the content. Repeats and clients that share a bucket differ in it or in the prefix.
	Seed uint64
	// InFlight is how many requests are under way at once, over all ranks. Closed says that so many workers make one after
	// the other.
	InFlight int
	Closed   bool
	// Rank is this one, from 0 to Ranks-1.
	Rank, Ranks int
	// The longest waits for the first byte of an answer, for the next one and for the whole exchange; 0 for none.
	Timeouts http1.Timeouts
	Clock    load.Clock
	// Events, if set, gets one JSON line for each attempt: id, operation, key, phase, outcome and code, the instants
	// scheduled, sent, first and end in ns of the clock, and the bytes of content that were moved. It must not wait long.
	Events io.Writer
	// Wall dates the signatures; nil is time.Now.
	Wall func() time.Time
	// Dial opens connections; nil is TCP. TLS is for https; nil trusts the system's certificates.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	TLS  *tls.Config
}

// Workload is the workload; it implements load.Workload.
type Workload struct {
	options Options
	http    http1.Options
	host    string // as the header has it
	root    []byte // /bucket/prefix/, escaped
	offer   *offer
	// stored are the objects that Store has stored, toStore all that it will.
	stored, toStore atomic.Int64
	// pool is copied by each worker that writes: to make it takes a millisecond, which no request may wait for.
	pool []byte
	// pauses number the pauses of the set-up and the clean-up.
	pauses atomic.Uint64
	// claimed says that the prefix is ours.
	claimed atomic.Bool
	ledger  *ledger
	events  sync.Mutex
}

// New checks the options and prepares what all requests share. It opens no connection.
func New(o Options) (*Workload, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("s3: target: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" || strings.Trim(base.Path, "/") != "" {
		return nil, fmt.Errorf("s3: target %q: use the URL of the endpoint alone, such as http://host:9000", o.URL)
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	w := &Workload{
		options: o, host: base.Host,
		http:  http1.OptionsFor(base, o.TLS, o.Clock),
		offer: newOffer(&o.Plan, o.Seed, o.InFlight, o.Ranks, o.Closed),
		pool:  newPool(o.Seed, o.Plan.Size.Max),
	}
	w.ledger = newLedger(w.offer, o.Rank)
	if o.Dial != nil {
		w.http.Dial = o.Dial
	}
	w.root = appendEscaped(nil, "/"+o.Plan.Bucket+"/"+o.Plan.Prefix+"/", false)
	return w, nil
}

func (o *Options) validate() error {
	p := &o.Plan
	weights := []int{p.Mix.Put, p.Mix.Get, p.Mix.Head, p.Mix.Delete}
	sum := 0
	for _, w := range weights {
		if sum += w; w < 0 {
			return errors.New("a weight of the mix is below 0")
		}
	}
	switch {
	case sum < 1 || sum > maxRound:
		return fmt.Errorf("the weights of the mix add up to %d: they must come to at least 1 and at most %d", sum, maxRound)
	case p.Mix.Delete > p.Mix.Put:
		return fmt.Errorf("%d deletes for each %d writes: there is never more to delete than was written", p.Mix.Delete, p.Mix.Put)
	case p.Objects < 1 && p.Mix.Get+p.Mix.Head > 0:
		return errors.New("there are no objects to read: name at least 1")
	case p.Bucket == "" || p.Prefix == "" || strings.Contains(p.Bucket, "/"):
		return errors.New("a bucket and a prefix are needed")
	case p.Size.Min < 0 || p.Size.Max < p.Size.Min:
		return fmt.Errorf("sizes from %d to %d bytes: give at least 0, and max not below min", p.Size.Min, p.Size.Max)
	case p.Size.Distribution == rundir.SizeLogNormal && !(p.Size.Median >= 1 && p.Size.Sigma > 0):
		return errors.New("a log-normal size needs a median of at least 1 byte and a sigma above 0")
	case p.Size.Distribution != rundir.SizeUniform && p.Size.Distribution != rundir.SizeLogNormal:
		return fmt.Errorf("size distribution %q: use %s or %s", p.Size.Distribution, rundir.SizeUniform, rundir.SizeLogNormal)
	case p.Payload != rundir.PayloadUnsigned && p.Payload != rundir.PayloadSHA256 && p.Payload != rundir.PayloadCRC32C:
		return fmt.Errorf("payload %q: use %s, %s or %s", p.Payload, rundir.PayloadUnsigned, rundir.PayloadSHA256, rundir.PayloadCRC32C)
	case o.InFlight < 1:
		return errors.New("nothing is in flight")
	case o.Rank < 0 || o.Rank >= o.Ranks:
		return fmt.Errorf("rank %d of %d: ranks count from 0 to one less than their number", o.Rank, o.Ranks)
	case o.Clock == nil:
		return errors.New("no clock is given")
	case o.Credentials.AccessKey == "" || o.Credentials.SecretKey == "":
		return errors.New("there is no access key or no secret key")
	}
	return nil
}

// Metrics are the names of this package, in the order of its indices.
func (w *Workload) Metrics() []string { return []string{Put, Get, GetTTFB, Head, Delete} }

// Totals of this workload: bytes of content that arrived, and that were sent by writes that ended; and each call of the S3
// API on the wire, by its name, as the server counts them.
const (
	BytesRead    = "bytes_read"
	BytesWritten = "bytes_written"
)

const (
	bytesRead = iota
	bytesWritten
	firstCall // the call of operation 0; those of the others follow
)

// Operations are the kinds of requests.
func (w *Workload) Operations() []string {
	return []string{opPut: Put, opGet: Get, opHead: Head, opDelete: Delete}
}

// Totals are BytesRead, BytesWritten, and the calls in the order of Operations.
func (w *Workload) Totals() []string {
	return []string{BytesRead, BytesWritten, callPutObject, callGetObject, callHeadObject, callDeleteObject}
}

// Headline is load.MetricE2E.
func (w *Workload) Headline() string { return load.MetricE2E }

// Worker makes a worker with a connection of its own, which it opens when it needs it.
func (w *Workload) Worker(ctx context.Context, _ int) (load.Worker, error) {
	return newWorker(ctx, w), nil
}

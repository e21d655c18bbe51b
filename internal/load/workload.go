package load

import (
	"context"
	"math"
	"strconv"
)

// Workload is what a load does. It is shared by all workers and safe for concurrent use.
type Workload interface {
	// Metrics names what Op.Observe feeds, in the order of its indices; at most 16, none of them a name of this package.
	Metrics() []string
	// Operations names the kinds of requests, in the order of Op.Operation; at most 8, nil where all are alike.
	Operations() []string
	// Totals names what Op.Count feeds, in the order of its indices; at most 16.
	Totals() []string
	// Headline names the metric whose median scales the limit of the send lag: one of Metrics, or MetricE2E.
	Headline() string
	// Worker makes worker n of this rank. Each request in flight must end soon after ctx does.
	Worker(ctx context.Context, n int) (Worker, error)
}

// Worker makes one request at a time; each has one goroutine.
type Worker interface {
	// Do makes one attempt and returns when it ended. It sets op.Sent, and op.End or op.Fail.
	Do(op *Op)
	// Close frees what the worker holds.
	Close()
}

// Request says which request is due.
type Request struct {
	Phase Phase
	// Index is the number of the request within its phase, over all ranks.
	Index uint64
	// Attempt is 0, and 1, 2, ... for its retries.
	Attempt int
	// Scheduled is the instant at which the request was due.
	Scheduled int64
}

// Key is a number that no other request of the client has: what is sent is a function of the seed and this.
func (r Request) Key() uint64 { return uint64(r.Phase)<<56 | r.Index }

// AppendName appends a name that no other attempt of the client has: 17 in the measurement, w17 in the warm-up, c17 in
// the cool-down, with -a1 for the first retry.
func (r Request) AppendName(b []byte) []byte {
	switch r.Phase {
	case Warmup:
		b = append(b, 'w')
	case Cooldown:
		b = append(b, 'c')
	}
	b = strconv.AppendUint(b, r.Index, 10)
	if r.Attempt > 0 {
		b = append(b, "-a"...)
		b = strconv.AppendInt(b, int64(r.Attempt), 10)
	}
	return b
}

// Op is one request under way, and what a worker says of it. Instants are on the run's clock.
type Op struct {
	Request
	// Sent is the instant before the first byte of the attempt, or the dial for it, went out, or before the worker began to
	// make what it sends, where that is part of the attempt. Without it the attempt counts as sent when Do was called.
	Sent int64
	// End is the instant to which the latency e2e runs: the last content.
	End int64
	// Operation is the kind of the request, by its place in Workload.Operations. A worker sets it in each attempt, also in
	// one that fails.
	Operation int
	// Done is the instant at which the exchange was over and the worker free; without it, that at which Do returned.
	Done int64

	recorder  *recorder
	batch     *batch
	firstSent int64
	observed  bool
	kind      Kind
	code      int
	sample    string
	// totals are what the request has counted so far: everywhere, and inside the window.
	totals [maxTotals]struct{ all, window int64 }
}

const (
	maxOperations = 8
	maxTotals     = 16
)

// Fail says that the attempt failed. A code is an HTTP status or 0; of sample the first 512 bytes are kept.
func (o *Op) Fail(kind Kind, code int, sample string) {
	if o.observed {
		panic("load: Fail after Observe: a worker observes only when it knows that the request succeeded")
	}
	o.kind, o.code, o.sample = kind, code, sample
}

// FailErr is Fail for an error of the network; it also notes when descriptors or ports ran out.
func (o *Op) FailErr(kind Kind, err error) {
	o.recorder.exhausted(err)
	o.Fail(kind, 0, err.Error())
}

// Observe adds a value n times to metric i of Workload.Metrics. Only a request that succeeded is observed.
func (o *Op) Observe(i int, value int64, n int) {
	o.observed = true
	if o.batch != nil && n > 0 {
		o.batch.metrics[builtin+i].add(value, uint32(n))
	}
}

// SinceScheduled observes the time from the scheduled instant.
func (o *Op) SinceScheduled(i int, at int64) { o.Observe(i, at-o.Scheduled, 1) }

// SinceSent observes the time from the instant at which the first attempt was sent.
func (o *Op) SinceSent(i int, at int64) { o.Observe(i, at-o.firstSentOr(o.Sent), 1) }

// Count adds n to total i of Workload.Totals at an instant, whatever becomes of the request. What is counted Nowhen is in
// no window.
func (o *Op) Count(i int, at, n int64) {
	o.totals[i].all += n
	if o.recorder.inWindow(at) {
		o.totals[i].window += n
	}
}

// Nowhen is an instant outside of every window.
const Nowhen = math.MaxInt64

func (o *Op) firstSentOr(sent int64) int64 {
	if o.firstSent != 0 {
		return o.firstSent
	}
	return sent
}

// attempt prepares the op for attempt n.
func (o *Op) attempt(n int) {
	o.Attempt = n
	o.Sent, o.End, o.Done, o.Operation = 0, 0, 0, 0
	o.kind, o.code, o.sample = ok, 0, ""
}

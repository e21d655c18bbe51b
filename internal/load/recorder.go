package load

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
)

// Metrics that this package records of every request that succeeded.
const (
	// MetricE2E runs from the scheduled instant to Op.End, MetricE2EFromSend from the first attempt's Op.Sent.
	MetricE2E         = "e2e"
	MetricE2EFromSend = "e2e_from_send"
	// MetricSendLag runs from the scheduled instant to the first attempt's Op.Sent.
	MetricSendLag = "send_lag"
)

const (
	e2e = iota
	e2eFromSend
	sendLag
	// builtin is the number of metrics of this package; those of the workload follow.
	builtin
)

const sampleBytes = 512

// recorder holds what came of the requests. Its counters are atomic: recording takes no lock and, once the pages of the
// histograms are there, allocates nothing. A batch costs about 1 KiB for each metric and quarter octave of its values:
// some 6 MB a rank with 8 metrics that each spread over three octaves.
type recorder struct {
	names []string
	// totals are what the workload counts, and operations its kinds of requests, by its indices: one without a name where
	// all are alike.
	totals     []total
	operations []string
	// from and batchLength place a request of the measured window in its batch.
	from, batchLength int64
	// to is the end of the measured window; it moves forward when the load ends early.
	to      atomic.Int64
	batches [Batches]atomic.Pointer[batch]
	counts  [phases]counters
	// completed succeeded inside the window.
	completed atomic.Int64
	// lag is of every request that was sent in the window, failed ones included; recent is the e2e of every success.
	lag, recent        hist
	descriptors, ports atomic.Bool
	texts              texts

	mu sync.Mutex
	// errors are the requests that failed, attempts every attempt that did: also one that was followed by another.
	errors, attempts [phases]map[errorKey]*ErrorCount
}

type batch struct {
	metrics []hist
	// failed counts the requests that were due in the batch and failed, by operation.
	failed [maxOperations]atomic.Int64
}

type counters struct {
	offered, sent, attempts, unsent atomic.Int64
	// ended are by operation.
	ended [maxOperations]struct{ succeeded, failed atomic.Int64 }
}

// total is one total: of all phases, and inside the window.
type total struct {
	name        string
	all, window atomic.Int64
}

type errorKey struct {
	operation int
	kind      Kind
	code      int
}

// newRecorder records a measured window of the given start and length.
func newRecorder(metrics, operations, totals []string, from, length int64) *recorder {
	if len(operations) == 0 {
		operations = []string{""}
	}
	r := &recorder{
		operations:  operations,
		totals:      make([]total, len(totals)),
		names:       append([]string{MetricE2E, MetricE2EFromSend, MetricSendLag}, metrics...),
		from:        from,
		batchLength: max(1, (length+Batches-1)/Batches),
	}
	for i, name := range totals {
		r.totals[i].name = name
	}
	r.to.Store(from + length)
	return r
}

// begin makes an op the given request; a worker uses one op over and over.
func (r *recorder) begin(op *Op, req Request) {
	*op = Op{Request: req, recorder: r}
	if req.Phase == Measure {
		op.batch = r.batchAt(req.Scheduled)
	}
}

func (r *recorder) batchAt(at int64) *batch {
	i := min(max(0, (at-r.from)/r.batchLength), Batches-1)
	slot := &r.batches[i]
	if b := slot.Load(); b != nil {
		return b
	}
	slot.CompareAndSwap(nil, &batch{metrics: make([]hist, len(r.names))})
	return slot.Load()
}

func (r *recorder) inWindow(at int64) bool { return at >= r.from && at < r.to.Load() }

func (r *recorder) offered(p Phase) { r.counts[p].offered.Add(1) }

// sending counts an attempt that is about to be sent.
func (r *recorder) sending(op *Op) {
	c := &r.counts[op.Phase]
	c.attempts.Add(1)
	if op.Attempt == 0 {
		c.sent.Add(1)
	}
}

// unsent counts an attempt that ended before anything of it was sent.
func (r *recorder) unsent(op *Op) { r.counts[op.Phase].unsent.Add(1) }

// sent notes the send lag once the first attempt was sent.
func (r *recorder) sent(op *Op) {
	op.firstSent = op.Sent
	if op.Phase == Measure {
		r.lag.add(op.Sent-op.Scheduled, 1)
	}
}

// ended counts a request that is over.
func (r *recorder) ended(op *Op) {
	c := &r.counts[op.Phase]
	for i := range r.totals {
		if n := op.totals[i]; n.all != 0 {
			r.totals[i].all.Add(n.all)
			r.totals[i].window.Add(n.window)
		}
	}
	switch op.kind {
	case unfinished:
	case ok:
		c.ended[op.Operation].succeeded.Add(1)
		r.succeeded(op)
	default:
		c.ended[op.Operation].failed.Add(1)
		if op.batch != nil {
			op.batch.failed[op.Operation].Add(1)
		}
		r.fail(&r.errors, op)
	}
}

// attemptFailed counts an attempt that failed, whatever becomes of its request.
func (r *recorder) attemptFailed(op *Op) { r.fail(&r.attempts, op) }

func (r *recorder) succeeded(op *Op) {
	r.recent.add(op.End-op.Scheduled, 1)
	if r.inWindow(op.End) {
		r.completed.Add(1)
	}
	if op.batch == nil {
		return
	}
	m := op.batch.metrics
	m[e2e].add(op.End-op.Scheduled, 1)
	m[e2eFromSend].add(op.End-op.firstSent, 1)
	m[sendLag].add(op.firstSent-op.Scheduled, 1)
}

func (r *recorder) fail(in *[phases]map[errorKey]*ErrorCount, op *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in[op.Phase] == nil {
		in[op.Phase] = map[errorKey]*ErrorCount{}
	}
	key := errorKey{op.Operation, op.kind, op.code}
	e := in[op.Phase][key]
	if e == nil {
		e = &ErrorCount{Operation: r.operations[op.Operation], Kind: string(op.kind), Code: op.code, Sample: printable(op.sample)}
		in[op.Phase][key] = e
	}
	e.Count++
}

// exhausted notes that descriptors or ports ran out, if that is what an error says.
func (r *recorder) exhausted(err error) {
	if outOfDescriptors(err) {
		r.descriptors.Store(true)
	}
	if outOfPorts(err) {
		r.ports.Store(true)
	}
}

// sums are the totals of the workload.
func (r *recorder) sums() []Total {
	out := make([]Total, len(r.totals))
	for i := range r.totals {
		t := &r.totals[i]
		out[i] = Total{Name: t.name, All: t.all.Load(), Window: t.window.Load()}
	}
	return out
}

// counted are the counts of the given phases.
func (r *recorder) counted(of ...Phase) Counts {
	t := Counts{Completed: r.completed.Load()}
	for _, p := range of {
		c := &r.counts[p]
		// What ended is read before what was offered, so that a snapshot never holds more ends than beginnings.
		for i := range r.operations {
			t.Succeeded += c.ended[i].succeeded.Load()
			t.Failed += c.ended[i].failed.Load()
		}
		t.Sent += c.sent.Load()
		t.Unsent += c.unsent.Load()
		t.Attempts += c.attempts.Load()
		t.Offered += c.offered.Load()
	}
	return t
}

// ofOperations are the requests of the window by operation.
func (r *recorder) ofOperations() []Operation {
	out := make([]Operation, len(r.operations))
	for i, name := range r.operations {
		c := &r.counts[Measure].ended[i]
		out[i] = Operation{Name: name, Succeeded: c.succeeded.Load(), Failed: c.failed.Load(), FailedBatches: r.failedBatches(i)}
	}
	return out
}

// failedBatches are the failed requests of an operation in the window by batch; nil without any.
func (r *recorder) failedBatches(operation int) []int64 {
	all, some := make([]int64, Batches), false
	for i := range r.batches {
		if b := r.batches[i].Load(); b != nil {
			all[i] = b.failed[operation].Load()
			some = some || all[i] != 0
		}
	}
	if !some {
		return nil
	}
	return all
}

// failures are the failed requests of the given phases by kind, the most frequent first.
func (r *recorder) failures(of ...Phase) []ErrorCount { return r.kinds(&r.errors, of) }

func (r *recorder) kinds(in *[phases]map[errorKey]*ErrorCount, of []Phase) []ErrorCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := map[errorKey]ErrorCount{}
	for _, p := range of {
		for key, e := range in[p] {
			total, seen := sum[key]
			if !seen {
				total = ErrorCount{Operation: e.Operation, Kind: e.Kind, Code: e.Code, Sample: e.Sample}
			}
			total.Count += e.Count
			sum[key] = total
		}
	}
	var list []ErrorCount
	for _, e := range sum {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Code, b.Code))
	})
	return list
}

// printable is a sample as text that can stand in a JSON file and on a terminal.
func printable(sample string) string {
	if len(sample) > sampleBytes {
		sample = sample[:sampleBytes]
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(sample, ""))
}

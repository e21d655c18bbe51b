package load

import (
	"errors"
)

// Batches is the number of equal parts of the measured window that have histograms of their own.
const Batches = 64

// Modes of a Result.
const (
	ModeClosed = "closed"
	ModeOpen   = "open"
)

// Result is what one rank did in one run. Times are in nanoseconds.
type Result struct {
	// Mode is ModeClosed or ModeOpen; Concurrency and Rate are this rank's share.
	Mode        string
	Concurrency int
	Rate        float64
	Seed        uint64
	Rank, Ranks int
	// ScheduleHash is the same on every rank and on any number of ranks.
	ScheduleHash string
	// T0 is the start on the wall clock, in Unix ns. StartLate is how much later than Options.Start the rank began.
	T0, StartLate int64
	// Warmup, Window and Cooldown are the lengths of the phases as they were; Batch is the length of one of Batches
	// equal parts of the window as it was planned.
	Warmup, Window, Cooldown, Batch int64
	// Truncated says that the load ended before its time, Aborted that it ended itself by Options.Abort; Reason says
	// why.
	Truncated, Aborted bool
	Reason             string
	// Measured counts the requests that were due in the window; All counts every request.
	Measured, All Counts
	// Totals are what the workload counted, failed requests included.
	Totals []Total
	// Errors are the failed requests in Measured by kind, AllErrors those in All.
	Errors, AllErrors []ErrorCount
	// FailedAttempts are the attempts of the requests in Measured that failed, by kind: also those that were followed by
	// another, which may have succeeded.
	FailedAttempts []ErrorCount
	// Operations are the requests in Measured by kind; one without a name where all are alike.
	Operations []Operation
	// Metrics are over the requests in Measured that succeeded, in a fixed order; those without a value are left out.
	Metrics []Metric
	Audit   Audit
}

// Total is what was counted under a name; zero where the workload counts no such thing.
func (r *Result) Total(name string) Total {
	for _, t := range r.Totals {
		if t.Name == name {
			return t
		}
	}
	return Total{Name: name}
}

// Operation is what became of one kind of requests.
type Operation struct {
	Name              string
	Succeeded, Failed int64
	// FailedBatches are the failed ones by the batch in which they were due; nil without any.
	FailedBatches []int64
}

// Total is what a workload counted under one name: in all phases, and inside the window.
type Total struct {
	Name        string
	All, Window int64
}

// Counts are numbers of requests.
type Counts struct {
	// Offered were due, Sent were sent, Succeeded and Failed ended. What was offered and is in none of the last two was
	// still under way when the load was stopped.
	Offered   int64
	Sent      int64
	Succeeded int64
	Failed    int64
	// Attempts were made, retries included; of them Unsent never left this side, for the server was not reached or there was
	// nothing to ask for. The others were on the wire.
	Attempts int64
	Unsent   int64
	// Completed succeeded inside the window, whenever they were due.
	Completed int64
}

// ErrorCount is how many requests, or attempts, failed in one way.
type ErrorCount struct {
	// Operation is the kind of the requests; "" where all are alike.
	Operation string
	Kind      string
	Code      int
	Count     int64
	Sample    string
}

// Metric is one histogram, whole and in batches by scheduled instant.
type Metric struct {
	Name, Unit string
	// Count, Sum, Min and Max are exact.
	Count, Sum, Min, Max int64
	// Histogram is HDR V2, compressed, base64, 3 significant digits.
	Histogram string
	Batches   []Batch
}

// Batch is a metric in one part of the window; Histogram is "" where it is empty.
type Batch struct {
	Count     int64
	Sum       int64
	Histogram string
}

// Audit is what a rank knows of itself over the measured window. Ratios are shares of window × GOMAXPROCS.
type Audit struct {
	// Sound is false when the client limited the result; Violations name the limits.
	Sound      bool
	Violations []string
	// SendLagP99 and SendLagMax are over every request that was due in the window and sent, failed ones included.
	SendLagP99    int64
	SendLagMax    int64
	SendLagLimit  int64
	RunQueueRatio float64
	RunQueueLimit float64
	CPURatio      float64
	// Throttled is how long the cgroup was throttled, GCPauseMax the longest pause of the garbage collector.
	Throttled  int64
	GCPauseMax int64
	// Descriptors and Ports ran out.
	Descriptors bool
	Ports       bool
	// Saturated says that requests waited for maxInFlight, SaturatedFor how long.
	Saturated    bool
	SaturatedFor int64
	GOMAXPROCS   int
}

// ErrNotBegun says that there is no result before T0.
var ErrNotBegun = errors.New("load: it has not begun")

// result is the result so far; reason is why it is asked for before the end.
func (r *Run) result(reason string) (*Result, error) {
	if !r.begun.Load() {
		return nil, ErrNotBegun
	}
	o := r.options
	metrics, medians := r.recorder.metrics(r.ended.Load())
	out := &Result{
		Seed: o.Seed, Rank: o.Rank, Ranks: o.Ranks, ScheduleHash: o.ScheduleHash,
		T0: r.t0, StartLate: r.late,
		Batch:      r.recorder.batchLength,
		Measured:   r.recorder.counted(Measure),
		All:        r.recorder.counted(Warmup, Measure, Cooldown),
		Totals:     r.recorder.sums(),
		Errors:     r.recorder.failures(Measure),
		AllErrors:  r.recorder.failures(Warmup, Measure, Cooldown),
		Operations: r.recorder.ofOperations(),

		FailedAttempts: r.recorder.kinds(&r.recorder.attempts, []Phase{Measure}),
		Metrics:        metrics,
		Audit:          r.auditor.judge(r.recorder, medians[r.workload.Headline()], r.saturation(o.Clock.Now())),
	}
	if o.Closed != nil {
		out.Mode, out.Concurrency = ModeClosed, share(o.Closed.Concurrency, o.Rank, o.Ranks)
	} else {
		out.Mode, out.Rate = ModeOpen, o.Open.Rate/float64(o.Ranks)
	}
	r.addEnd(out, reason)
	return out, nil
}

// addEnd fills in how and when the load ended, and how long its phases really were.
func (r *Run) addEnd(out *Result, reason string) {
	now := r.options.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	offered := min(now, r.end())
	switch {
	case closed(r.stop):
		out.Truncated, out.Aborted, out.Reason = true, r.aborted, r.reason
		offered = min(offered, max(r.stopped, r.start))
	case !r.ended.Load():
		out.Truncated, out.Reason = true, reason
	}
	lengths := r.options.Lengths
	part := func(p Phase) int64 {
		return min(lengths.of(p), max(0, offered-r.start-lengths.start(p)))
	}
	out.Warmup, out.Window, out.Cooldown = part(Warmup), part(Measure), part(Cooldown)
}

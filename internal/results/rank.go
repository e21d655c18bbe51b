package results

// RankVersion is the version of a rank's result.json.
const RankVersion = 1

// Rank is the result of one rank of a client in one repeat: its counts and its histograms whole. It is all that is
// needed to merge ranks, to join repeats and to compute intervals. Times are in nanoseconds.
type Rank struct {
	Version int    `json:"version"`
	Client  string `json:"client"`
	Rank    int    `json:"rank"`
	Ranks   int    `json:"ranks"`
	Repeat  int    `json:"repeat"`
	// Workload is inference or s3; Mode is closed or open.
	Workload string `json:"workload"`
	Mode     string `json:"mode"`
	// Payload is how the bodies of writes were protected, and Content what became of what was read, of a load of objects.
	Payload string `json:"payload,omitempty"`
	Content string `json:"content,omitempty"`
	// Concurrency and Rate are this rank's share of a closed and of an open loop.
	Concurrency int     `json:"concurrency,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	// Seed is the client's; each repeat has one that is made of it.
	Seed uint64 `json:"seed"`
	// ScheduleHash is the SHA-256 of the client's whole schedule in this repeat: the same on any number of ranks.
	ScheduleHash string `json:"scheduleHash,omitempty"`
	// T0 is the start of the load by this rank's wall clock, Unix ns. StartLate is how much later than the barrier's
	// T0 the rank began.
	T0        int64 `json:"t0"`
	StartLate int64 `json:"startLate,omitempty"`
	// Warmup, Window and Cooldown are the lengths of the phases as they were; the measured window is
	// [T0+Warmup, T0+Warmup+Window). Batch is the length of one of Batches equal parts of the window.
	Warmup   int64 `json:"warmup"`
	Window   int64 `json:"window"`
	Cooldown int64 `json:"cooldown"`
	Batch    int64 `json:"batch"`
	// Truncated says that the load ended before its time; Reason says why.
	Truncated bool   `json:"truncated,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// Measured counts the requests that were scheduled in the window; All counts every request, warm-up included.
	Measured Counts `json:"measured"`
	All      Counts `json:"all"`
	// Errors by kind of the taxonomy, over Measured.
	Errors []ErrorCount `json:"errors,omitempty"`
	// FailedAttempts are the attempts of the requests in Measured that failed, where failed requests are tried again: also
	// those that were followed by another, which may have succeeded.
	FailedAttempts []ErrorCount `json:"failedAttempts,omitempty"`
	// Operations are the requests in Measured by kind: one without a name where all are alike.
	Operations []Operation `json:"operations"`
	// Totals are what the workload counted, failed requests included.
	Totals []Total `json:"totals,omitempty"`
	// Warnings are what a reader must know beside the numbers, such as objects that could not be removed.
	Warnings []string `json:"warnings,omitempty"`
	// Metrics are the histograms over the requests in Measured that succeeded; those without a value are left out.
	Metrics []Metric `json:"metrics"`
	Audit   Audit    `json:"audit"`
	// SHA256 is over the compact JSON of the file with this field empty; End is true and last, so that a cut file is
	// never read as whole.
	SHA256 string `json:"sha256"`
	End    bool   `json:"end"`
}

// Batches is the number of equal parts of the window for which a rank keeps histograms of their own.
const Batches = 64

// Operation is what became of one kind of requests.
type Operation struct {
	Name      string `json:"name,omitempty"`
	Succeeded int64  `json:"succeeded"`
	Failed    int64  `json:"failed"`
	// FailedBatches are those that failed in each of Batches equal parts of the window, by scheduled instant. Without it
	// the intervals take failures for independent of each other.
	FailedBatches []int64 `json:"failedBatches,omitempty"`
}

// Total is what a workload counted under one name, such as output_tokens or bytes_read: in all phases, and inside the
// window, which is the numerator of a throughput.
type Total struct {
	Name   string `json:"name"`
	All    int64  `json:"all"`
	Window int64  `json:"window"`
}

// Total is what was counted under a name; zero where the workload counts no such thing.
func (r Rank) Total(name string) Total {
	t, _ := totalOf(r.Totals, name)
	return t
}

// totalOf is what was counted under a name, and whether the workload counts such a thing.
func totalOf(totals []Total, name string) (t Total, counted bool) {
	for _, t := range totals {
		if t.Name == name {
			return t, true
		}
	}
	return Total{Name: name}, false
}

// Counted is the result with more of what was counted under a name, outside of the window.
func (r Rank) Counted(name string, n int64) Rank {
	r.Totals = addTotals(r.Totals, []Total{{Name: name, All: n}})
	return r
}

// Counts are numbers of requests.
type Counts struct {
	// Offered were scheduled, Sent were sent, Succeeded and Failed ended. Offered = Succeeded + Failed once all ended.
	Offered   int64 `json:"offered"`
	Sent      int64 `json:"sent"`
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	// Attempts were made, retries included; of them Unsent never left the client, for the server was not reached (dns,
	// connect, tls) or there was nothing to ask for (no_object). The others were on the wire.
	Attempts int64 `json:"attempts"`
	Unsent   int64 `json:"unsent,omitempty"`
	// Completed succeeded inside the window, whenever they were scheduled: the numerator of the throughput.
	Completed int64 `json:"completed"`
}

// ErrorCount is one kind of failure: dns, connect, tls, reset, timeout_first, timeout_idle, timeout_total, http_4xx,
// http_5xx, stream_error, truncated, empty, short, corrupt or no_object.
type ErrorCount struct {
	// Operation is the kind of the requests; "" where all are alike.
	Operation string `json:"operation,omitempty"`
	Kind      string `json:"kind"`
	// Code is the HTTP status, where there is one.
	Code   int    `json:"code,omitempty"`
	Count  int64  `json:"count"`
	Sample string `json:"sample,omitempty"`
}

// Metric is one histogram, whole and in batches by scheduled instant. Values are in Unit.
type Metric struct {
	// Name is ttft, e2e, tpot, itl_token, itl_chunk, put, get, get_ttfb, head, delete, send_lag, ttft_from_send or
	// e2e_from_send.
	Name string `json:"name"`
	// Unit is ns.
	Unit  string `json:"unit"`
	Count int64  `json:"count"`
	// Sum is exact; Min and Max are exact.
	Sum int64 `json:"sum"`
	Min int64 `json:"min"`
	Max int64 `json:"max"`
	// Histogram is HDR V2, compressed, base64, 3 significant digits.
	Histogram string `json:"histogram"`
	// Batches are like Histogram, one for each part of the window; "" where it is empty.
	Batches []Batch `json:"batches,omitempty"`
}

// Batch is a metric in one part of the window.
type Batch struct {
	Count     int64  `json:"count"`
	Sum       int64  `json:"sum"`
	Histogram string `json:"histogram,omitempty"`
}

// Audit is what a client knows of itself over the measured window. Ratios are shares of window × GOMAXPROCS.
type Audit struct {
	// Sound is false when the client limited the result; Violations name the limits.
	Sound      bool     `json:"sound"`
	Violations []string `json:"violations,omitempty"`
	// SendLagP99 and SendLagMax against SendLagLimit, in ns.
	SendLagP99   int64 `json:"sendLagP99"`
	SendLagMax   int64 `json:"sendLagMax"`
	SendLagLimit int64 `json:"sendLagLimit"`
	// RunQueueRatio against RunQueueLimit.
	RunQueueRatio float64 `json:"runQueueRatio"`
	RunQueueLimit float64 `json:"runQueueLimit"`
	CPURatio      float64 `json:"cpuRatio"`
	// Throttled is how long the cgroup was throttled, GCPauseMax the longest pause, in ns.
	Throttled  int64 `json:"throttled"`
	GCPauseMax int64 `json:"gcPauseMax"`
	// Descriptors and Ports say that they ran out.
	Descriptors bool `json:"descriptors,omitempty"`
	Ports       bool `json:"ports,omitempty"`
	// Saturated says that requests waited for maxInFlight in an open loop; SaturatedFor is how long, in ns.
	Saturated    bool  `json:"saturated,omitempty"`
	SaturatedFor int64 `json:"saturatedFor,omitempty"`
	GOMAXPROCS   int   `json:"gomaxprocs"`
}

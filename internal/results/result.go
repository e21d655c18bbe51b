package results

import "time"

// Schema names the version of result.json.
const Schema = "assay.bench/result/v1"

// Outcomes, in the words of the Benchmark's condition Succeeded.
const (
	Passed             = "Passed"
	SLOViolated        = "SLOViolated"
	Undecided          = "Undecided"
	MeasurementInvalid = "MeasurementInvalid"
	Partial            = "Partial"
	Failed             = "Failed"
	Aborted            = "Aborted"
	TimedOut           = "TimedOut"
)

// ExitCode is the exit code of a program that reports the outcome.
func ExitCode(outcome string) int {
	switch outcome {
	case Passed:
		return 0
	case SLOViolated:
		return 3
	case MeasurementInvalid, Partial:
		return 4
	case Undecided:
		return 7
	case Aborted:
		return 130
	}
	return 5
}

// Result is result.json: everything that is said of a run. Every text is made from it.
type Result struct {
	Schema    string `json:"schema"`
	Benchmark string `json:"benchmark"`
	Namespace string `json:"namespace"`
	Run       string `json:"run"`
	// Outcome is one of the constants; Message says why in a sentence.
	Outcome string `json:"outcome"`
	Message string `json:"message"`
	// Started and Ended are the controller's times; Took is the time between, in seconds.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Took    float64   `json:"took"`
	// Seed of the run. TimeScale is empty for 1. Baseline says that others may be compared with this result: it is whole,
	// sound and not scaled.
	Seed      int64  `json:"seed"`
	TimeScale string `json:"timeScale,omitempty"`
	Baseline  bool   `json:"baseline"`
	// Site, Directory and Jobs say where it ran. SharedNode says that client and server ran on one node.
	Site       string `json:"site"`
	Directory  string `json:"directory"`
	Jobs       []Job  `json:"jobs"`
	SharedNode bool   `json:"sharedNode"`
	// RepeatsPlanned and RepeatsWhole: a repeat is whole when every rank of every client measured to its end.
	RepeatsPlanned int    `json:"repeatsPlanned"`
	RepeatsWhole   int    `json:"repeatsWhole"`
	Restart        string `json:"restart"`

	SLOs        []Verdict       `json:"slos"`
	Clients     []ClientResult  `json:"clients"`
	Services    []ServiceResult `json:"services"`
	CrossChecks []CrossCheck    `json:"crossChecks"`
	// Counted are the cross-checks added up over all repeats, their repeat 0; Agrees says that each repeat agrees.
	Counted []CrossCheck `json:"counted,omitempty"`
	// Warnings are for the reader; they do not change the outcome.
	Warnings []string `json:"warnings"`
	// SpecHash is the SHA-256 of the spec; Version is the program's.
	SpecHash string `json:"specHash"`
	Version  string `json:"version"`
}

// Job is one job of the batch system.
type Job struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Attempt int    `json:"attempt"`
	Nodes   string `json:"nodes"`
	Reason  string `json:"reason"`
}

// Value is one number with its counts and its interval, or the reason why it has none.
type Value struct {
	Metric    string `json:"metric"`
	Statistic string `json:"statistic"`
	// Unit is s, 1/s, B/s, or 1 for a share.
	Unit string `json:"unit"`
	// Value is nil when there is none; Note says why.
	Value *float64 `json:"value"`
	// Requests and Runs that it is taken over. Samples is the number of values where one request has many: token gaps.
	Requests int64 `json:"requests"`
	Samples  int64 `json:"samples,omitempty"`
	Runs     int   `json:"runs"`
	// Low and High are a 95 % interval over Interval: Runs, Requests, or None, and Note then says why.
	Low      *float64 `json:"low"`
	High     *float64 `json:"high"`
	Interval string   `json:"interval"`
	// AtLeast says that there is a Low but no High: too few requests, or too many that failed. All that can be said is
	// that the true value is at least Low, and so it is printed.
	AtLeast bool   `json:"atLeast,omitempty"`
	Note    string `json:"note,omitempty"`
}

// Kinds of Value.Interval.
const (
	OverRuns     = "Runs"
	OverRequests = "Requests"
	NoInterval   = "None"
)

// ClientResult is one client over its merged ranks and joined repeats.
type ClientResult struct {
	Name     string `json:"name"`
	Target   string `json:"target"`
	Workload string `json:"workload"`
	Model    string `json:"model,omitempty"` // that it asks for
	Mode     string `json:"mode"`
	// Payload is how a load of objects protects what it writes: Unsigned, SHA256 or CRC32C. Content is what becomes of what it
	// reads: Verify or Discard.
	Payload     string  `json:"payload,omitempty"`
	Content     string  `json:"content,omitempty"`
	Concurrency int     `json:"concurrency,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	Ranks       int     `json:"ranks"`
	// Warmup, Window and Cooldown in seconds, of one repeat.
	Warmup   float64 `json:"warmup"`
	Window   float64 `json:"window"`
	Cooldown float64 `json:"cooldown"`
	Seed     uint64  `json:"seed"`
	// ScheduleHash is that of repeat 1, whose seed is the client's own.
	ScheduleHash string  `json:"scheduleHash,omitempty"`
	Values       []Value `json:"values"`
	// Measured counts the requests that were scheduled in the windows, All every request; Errors are of Measured, and so
	// are Operations, which there are where the load mixes kinds of requests: those of which one was measured.
	Measured   Counts           `json:"measured"`
	All        Counts           `json:"all"`
	Errors     []ErrorCount     `json:"errors"`
	Operations []OperationCount `json:"operations,omitempty"`
	// FailedAttempts are the attempts of the requests in Measured that failed, where failed requests are tried again.
	FailedAttempts []ErrorCount `json:"failedAttempts,omitempty"`
	// InFlight is the mean number of requests in flight by Little's law, throughput times mean latency: in a closed loop
	// without think time it must agree with the concurrency.
	InFlight float64 `json:"inFlight"`
	// Sound is false when the client limited the result; Limits say how.
	Sound  bool     `json:"sound"`
	Limits []string `json:"limits,omitempty"`
	// Saturated says that requests waited for maxInFlight.
	Saturated bool         `json:"saturated,omitempty"`
	Repeats   []RepeatPart `json:"repeats"`
}

// OperationCount is what became of the measured requests of one kind. One that never ended is of no known kind.
type OperationCount struct {
	Name      string `json:"name"`
	Succeeded int64  `json:"succeeded"`
	Failed    int64  `json:"failed"`
}

// RepeatPart is one client in one repeat.
type RepeatPart struct {
	Repeat int `json:"repeat"`
	// Ranks that are there, of those planned. Whole says that all are and none was truncated or late.
	Ranks    int     `json:"ranks"`
	Whole    bool    `json:"whole"`
	Reason   string  `json:"reason,omitempty"`
	Measured Counts  `json:"measured"`
	All      Counts  `json:"all"`
	Totals   []Total `json:"totals"`
	Values   []Value `json:"values"`
	Audits   []Audit `json:"audits"`
	// StartLate is the latest start of a rank after T0, in seconds; T0 is Unix time in nanoseconds.
	StartLate float64 `json:"startLate"`
	T0        int64   `json:"t0"`
	// ScheduleHash is the SHA-256 of the client's schedule in this repeat; each has a seed of its own.
	ScheduleHash string `json:"scheduleHash,omitempty"`
	// InFlight is as in ClientResult.
	InFlight float64 `json:"inFlight"`
}

// ServiceResult is one service.
type ServiceResult struct {
	Name     string `json:"name"`
	Engine   string `json:"engine"`
	Endpoint string `json:"endpoint"`
	// Endpoints are those of all replicas, in their order, where there are several: worker n of a client, counted over its
	// ranks, loaded the one at n modulo their number.
	Endpoints []string `json:"endpoints,omitempty"`
	// Outcome is the reason of its end.
	Outcome string `json:"outcome"`
	Message string `json:"message,omitempty"`
	// ScrapesDue, ScrapesGood and Coverage, their ratio.
	ScrapesDue  int64   `json:"scrapesDue"`
	ScrapesGood int64   `json:"scrapesGood"`
	Coverage    float64 `json:"coverage"`
	// GPUs say of each rank whether its server saw the GPUs that it was given; none where the service asked for none.
	GPUs []GPUCheck `json:"gpus,omitempty"`
	// Image that its server ran in; nil for none.
	Image *ServiceImage `json:"image,omitempty"`
}

// ServiceImage is the image of a server: Digest is the one that the recipe names, SHA256 that of the file that ran, "" where
// nobody has looked. Two pulls of one digest make two files that differ.
type ServiceImage struct {
	URI    string `json:"uri"`
	Digest string `json:"digest,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Size   int64  `json:"size,omitempty"`
}

// GPUCheck is what one rank of a service found when it compared the GPUs of its step with those that its server sees.
type GPUCheck struct {
	Rank int    `json:"rank"`
	Host string `json:"host"`
	// State is GPUVerified, GPUUnverified or GPUWrong; Message says why it is not the first.
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
	// Given and Seen are the UUIDs.
	Given []string `json:"given,omitempty"`
	Seen  []string `json:"seen,omitempty"`
}

// States of a GPUCheck.
const (
	GPUVerified   = "Verified"
	GPUUnverified = "Unverified"
	GPUWrong      = "Wrong"
)

// CrossCheck compares a counter of the server with a total of the clients in one repeat, warm-up included.
type CrossCheck struct {
	Service string `json:"service"`
	Repeat  int    `json:"repeat"`
	Metric  string `json:"metric"`
	// Labels that the series had to have, such as name="PutObject"; "" for all series of the metric.
	Labels string `json:"labels,omitempty"`
	Total  string `json:"total"`
	// Server is nil when the counter could not be read.
	Server     *float64 `json:"server"`
	Clients    int64    `json:"clients"`
	Difference float64  `json:"difference"`
	Tolerance  float64  `json:"tolerance"`
	Agrees     bool     `json:"agrees"`
}

// Verdict is one SLO and how it stands.
type Verdict struct {
	Client    string `json:"client"`
	Metric    string `json:"metric"`
	Statistic string `json:"statistic"`
	// AtMost or AtLeast, in Unit.
	AtMost  *float64 `json:"atMost,omitempty"`
	AtLeast *float64 `json:"atLeast,omitempty"`
	Unit    string   `json:"unit"`
	// Verdict is Met, Violated, Undecided or NotJudged.
	Verdict string `json:"verdict"`
	Value   Value  `json:"value"`
	// Why says how the verdict was reached, and for Undecided what it would take.
	Why string `json:"why"`
}

// Verdicts.
const (
	Met       = "Met"
	Violated  = "Violated"
	NotJudged = "NotJudged"
)

package load

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Options say what one rank does. Concurrency, rate and maxInFlight are totals over all ranks.
type Options struct {
	// Rank is from 0 to Ranks-1.
	Rank, Ranks int
	Seed        uint64
	// Exactly one of Closed and Open.
	Closed *ClosedLoop
	Open   *OpenLoop
	// Lengths of the phases; Measure is above 0.
	Lengths Lengths
	// Retries after the first attempt, with a pause that starts at BackOff and doubles.
	Retries int
	BackOff time.Duration
	// DrainTimeout is how long after the last request was offered the load waits for what is in flight; then that fails
	// as timeout_total. 0 is one minute. It is meant to be the longest time that a request may take.
	DrainTimeout time.Duration
	// Abort ends a hopeless run; nil for never.
	Abort *Abort
	// Limits tighten the audit.
	Limits Limits
	// ScheduleHash is Hash, where it is known already; New takes the time for it otherwise.
	ScheduleHash string
	// Start is the instant T0 on Clock; 0 is at once. T0 is the same instant on the wall clock, in Unix ns: it is copied
	// into the result. With Start 0 the load reads it from Wall as it begins; nil is time.Now.
	Start int64
	T0    int64
	Wall  func() time.Time
	Clock Clock
	// Root is the file system of the machine at "/", for proc and sys/fs/cgroup.
	Root fs.FS
}

// ClosedLoop keeps Concurrency requests in flight; each worker starts the next one ThinkTime after its last one ended.
// Worker w of Concurrency belongs to rank w mod ranks, and its k-th request of a phase has the index k·Concurrency + w.
type ClosedLoop struct {
	Concurrency int
	ThinkTime   time.Duration
}

// OpenLoop starts Rate requests per second by a Schedule. Beyond MaxInFlight they wait in the client, with their
// scheduled instants. A rank has the share of MaxInFlight that it would have of a concurrency, and at least 1.
type OpenLoop struct {
	Rate        float64
	Arrival     string
	MaxInFlight int
}

// Abort ends a run as soon as at least ErrorRatio of the requests that ended within the last Window failed. It looks
// from the end of the first Window on.
type Abort struct {
	ErrorRatio float64
	Window     time.Duration
}

// Limits tighten the self-audit; zero fields and looser values take the defaults.
type Limits struct {
	// SendLag bounds the p99 of the send lag; the default is the greater of 2 ms and 2 % of the headline's median.
	SendLag time.Duration
	// RunQueueRatio bounds the time that runnable threads waited for a CPU, as a share of window × GOMAXPROCS; 0.05.
	RunQueueRatio float64
}

const defaultDrain = time.Minute

// share is how many of n things, dealt out in turn, the rank gets.
func share(n, rank, ranks int) int { return (n - rank + ranks - 1) / ranks }

func (o Options) validate() error {
	if o.Clock == nil || o.Root == nil {
		return errors.New("a load needs a clock and the machine's file system")
	}
	return o.validateOffer()
}

// validateOffer checks what there is before there is a clock.
func (o Options) validateOffer() error {
	switch {
	case (o.Closed == nil) == (o.Open == nil):
		return errors.New("a load has exactly one of a closed and an open loop")
	case o.Ranks < 1 || o.Rank < 0 || o.Rank >= o.Ranks:
		return fmt.Errorf("rank %d of %d: ranks count from 0 to one less than their number", o.Rank, o.Ranks)
	case o.Lengths.Measure <= 0 || o.Lengths.Warmup < 0 || o.Lengths.Cooldown < 0:
		return fmt.Errorf("phases of %v: the measurement must be above 0, the others not below it", o.Lengths)
	case o.Retries < 0 || o.BackOff < 0 || o.DrainTimeout < 0:
		return errors.New("retries, backOff and the drain timeout cannot be below 0")
	}
	if o.Abort != nil && (o.Abort.ErrorRatio <= 0 || o.Abort.Window <= 0) {
		return fmt.Errorf("abort at ratio %v over %v: both must be above 0", o.Abort.ErrorRatio, o.Abort.Window)
	}
	if o.Closed != nil {
		return o.validateClosed()
	}
	return o.validateOpen()
}

func (o Options) validateClosed() error {
	if o.Closed.ThinkTime < 0 {
		return fmt.Errorf("think time %v is below 0", o.Closed.ThinkTime)
	}
	if o.Closed.Concurrency < o.Ranks {
		return fmt.Errorf("concurrency %d over %d ranks: it is the total and cannot be below the number of ranks",
			o.Closed.Concurrency, o.Ranks)
	}
	return nil
}

func (o Options) validateOpen() error {
	switch {
	case !(o.Open.Rate > 0 && o.Open.Rate <= 1e7):
		return fmt.Errorf("rate %v per second: give one above 0 and at most 1e7", o.Open.Rate)
	case o.Open.Arrival != Constant && o.Open.Arrival != Poisson:
		return fmt.Errorf("arrival %q: use %s or %s", o.Open.Arrival, Constant, Poisson)
	case o.Open.MaxInFlight < 1:
		return fmt.Errorf("maxInFlight %d: give at least 1", o.Open.MaxInFlight)
	}
	return nil
}

func (o Options) schedule() Schedule {
	return Schedule{Arrival: o.Open.Arrival, Rate: o.Open.Rate, Seed: o.Seed, Lengths: o.Lengths}
}

// Hash is the SHA-256 in hex of the whole schedule, the same for each rank. For an open loop it takes 0.1 s for each
// million requests: time to be taken before T0. It needs no clock.
func (o Options) Hash() (string, error) {
	if err := o.validateOffer(); err != nil {
		return "", fmt.Errorf("load: %w", err)
	}
	if o.Closed != nil {
		return closedHash(*o.Closed, o.Seed, o.Lengths), nil
	}
	return o.schedule().Hash(), nil
}

package llmsim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Defaults of a Config whose fields are zero.
const (
	DefaultModel       = "assay/sim"
	DefaultMaxNumSeqs  = 256
	DefaultMaxModelLen = 32768
	DefaultGrace       = 5 * time.Second
)

// Config says what a Server serves and how it behaves. The zero value is valid: it answers at once.
type Config struct {
	// Model is the served name; empty means DefaultModel.
	Model string
	// TTFT is the time to the first token of a request that does not wait.
	TTFT Latency
	// ITL is the time between two tokens of a request.
	ITL Latency
	// MaxNumSeqs is the number of prompts that are answered at once, the others wait first in, first out; 0 means
	// DefaultMaxNumSeqs.
	MaxNumSeqs int
	// MaxModelLen is the largest sum of input and output tokens of a prompt; 0 means DefaultMaxModelLen.
	MaxModelLen int
	// Slowdown multiplies TTFT and ITL when MaxNumSeqs prompts are answered at once. It grows linearly from 1 for a
	// prompt that is alone. At least 1; 0 means 1.
	Slowdown float64
	// Startup is the time from New until the server serves: before, /health, /ping and all routes that need the
	// model answer 503.
	Startup time.Duration
	// Stall stops all answers once; nil means never.
	Stall *Stall
	// Faults make shares of the requests fail, each type at most once, their ratios together at most 1.
	Faults []Fault
	// Seed makes all draws repeatable.
	Seed uint64
	// APIKey is the bearer token that requests below /v1/ must carry; empty means none.
	APIKey string
	// EmissionLog gets one record for each prompt when it ends, as ReadEmissions reads them; nil means no log. Each
	// record is one call of Write, never two at a time.
	EmissionLog io.Writer
	// Version is what /version answers; empty means "llmsim".
	Version string
	// Grace is the time that requests in flight may take to end after Serve was told to stop; 0 means DefaultGrace.
	Grace time.Duration
	// Now is the wall clock, for the creation times in answers and the start time in metrics; nil means time.Now.
	// Latencies never use it.
	Now func() time.Time
}

// Latency is a normal distribution that is cut off at 30 % and 170 % of its mean: a draw outside is repeated.
type Latency struct {
	Mean time.Duration
	// Deviation is the standard deviation before the cut, at most 30 % of the mean.
	Deviation time.Duration
}

// Stall stops the answers of completions and chats, from After until After + Length, counted from the first such
// request. What is due in this time leaves right after it. The other routes go on answering, as those of a server
// whose engine hangs.
type Stall struct {
	After  time.Duration
	Length time.Duration
}

// FaultType is a way in which a request fails.
type FaultType string

// The ways in which a request can fail.
const (
	// RateLimit answers 429 with Retry-After at once.
	RateLimit FaultType = "RateLimit"
	// ServerError answers 500 at once.
	ServerError FaultType = "ServerError"
	// Reset closes the connection with a TCP RST before any answer.
	Reset FaultType = "Reset"
	// Truncate ends a stream properly after half of the tokens, but without finish reason and [DONE]. A whole answer
	// loses its second half and the connection.
	Truncate FaultType = "Truncate"
	// StreamError sends an error after half of the tokens, with status 200. A whole answer is only the error.
	StreamError FaultType = "StreamError"
	// Empty finishes without any token, with status 200.
	Empty FaultType = "Empty"
	// HTML answers with a web page and status 200 at once.
	HTML FaultType = "HTML"
)

// FaultTypes returns all types.
func FaultTypes() []FaultType {
	return []FaultType{RateLimit, ServerError, Reset, Truncate, StreamError, Empty, HTML}
}

// Fault makes a share of the requests for completions and chats fail in one way.
type Fault struct {
	Type FaultType
	// Ratio of the requests that fail so, from 0 to 1.
	Ratio float64
}

// Validate returns all that is wrong with c, or nil.
func (c Config) Validate() error {
	errs := []error{c.TTFT.validate("ttft"), c.ITL.validate("itl"), c.Stall.validate(), validateFaults(c.Faults)}
	if c.MaxNumSeqs < 0 || c.MaxModelLen < 0 {
		errs = append(errs, fmt.Errorf("maxNumSeqs %d, maxModelLen %d: use positive numbers", c.MaxNumSeqs, c.MaxModelLen))
	}
	if c.Slowdown != 0 && !(c.Slowdown >= 1 && c.Slowdown <= 1e6) {
		errs = append(errs, fmt.Errorf("slowdown %g: use a factor from 1 to 1000000", c.Slowdown))
	}
	if c.Startup < 0 || c.Grace < 0 {
		errs = append(errs, fmt.Errorf("startup %s, grace %s: use positive durations", c.Startup, c.Grace))
	}
	if strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, errors.New("api key: use printable ASCII without spaces, as an HTTP header can carry"))
	}
	return errors.Join(errs...)
}

func (l Latency) validate(name string) error {
	if l.Mean < 0 || l.Deviation < 0 {
		return fmt.Errorf("%s: mean %s, deviation %s: use positive durations", name, l.Mean, l.Deviation)
	}
	if float64(l.Deviation) > 0.3*float64(l.Mean) {
		return fmt.Errorf("%s: deviation %s exceeds 30 %% of the mean %s: lower it", name, l.Deviation, l.Mean)
	}
	return nil
}

func (s *Stall) validate() error {
	if s == nil || s.After >= 0 && s.Length > 0 {
		return nil
	}
	return fmt.Errorf("stall: after %s, length %s: use a length above 0 and an after of at least 0", s.After, s.Length)
}

func validateFaults(faults []Fault) error {
	var errs []error
	seen, sum := map[FaultType]bool{}, 0.0
	for _, f := range faults {
		if !known(f.Type) {
			errs = append(errs, fmt.Errorf("fault %q is unknown: use one of %v", f.Type, FaultTypes()))
		}
		if seen[f.Type] {
			errs = append(errs, fmt.Errorf("fault %s is given twice: give one ratio", f.Type))
		}
		if !(f.Ratio >= 0 && f.Ratio <= 1) {
			errs = append(errs, fmt.Errorf("fault %s: ratio %g: use a number from 0 to 1", f.Type, f.Ratio))
		}
		seen[f.Type] = true
		sum += f.Ratio
	}
	if sum > 1+1e-9 {
		errs = append(errs, fmt.Errorf("faults: the ratios add up to %g: they may not exceed 1", sum))
	}
	return errors.Join(errs...)
}

func known(t FaultType) bool {
	return slices.Contains(FaultTypes(), t)
}

// withDefaults returns c with the defaults in place of zero values.
func (c Config) withDefaults() Config {
	if c.Model == "" {
		c.Model = DefaultModel
	}
	if c.MaxNumSeqs == 0 {
		c.MaxNumSeqs = DefaultMaxNumSeqs
	}
	if c.MaxModelLen == 0 {
		c.MaxModelLen = DefaultMaxModelLen
	}
	if c.Slowdown == 0 {
		c.Slowdown = 1
	}
	if c.Version == "" {
		c.Version = "llmsim"
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

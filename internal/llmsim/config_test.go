package llmsim

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	tests := map[string]struct {
		reason string
		c      Config
		want   string // part of the error; empty for none
	}{
		"zero": {reason: "every field has a default"},
		"full": {
			reason: "all fields at their bounds",
			c: Config{
				TTFT: Latency{10 * time.Millisecond, 3 * time.Millisecond}, Slowdown: 1, Seed: 1, APIKey: "s3cr3t~!",
				Stall: &Stall{Length: 1}, Faults: []Fault{{RateLimit, 0.5}, {HTML, 0.5}},
			},
		},
		"deviation":    {"the cut at 30 % would bend the distribution", Config{ITL: Latency{10, 4}}, "itl: deviation 4ns exceeds 30 %"},
		"negative":     {"time does not run backwards", Config{TTFT: Latency{-1, 0}}, "ttft: mean -1ns"},
		"deviation0":   {"a deviation without a mean", Config{TTFT: Latency{0, 1}}, "exceeds 30 %"},
		"seqs":         {"no room for any request", Config{MaxNumSeqs: -1}, "maxNumSeqs -1"},
		"slowdown":     {"load never makes a server faster", Config{Slowdown: 0.5}, "slowdown 0.5"},
		"slowdown nan": {"NaN compares false with all", Config{Slowdown: math.NaN()}, "slowdown NaN"},
		"startup":      {"negative startup", Config{Startup: -1}, "startup -1ns"},
		"grace":        {"negative grace", Config{Grace: -1}, "grace -1ns"},
		"stall":        {"a stall needs a length", Config{Stall: &Stall{After: 1}}, "stall: after 1ns, length 0s"},
		"fault type":   {"a typo", Config{Faults: []Fault{{"Reste", 0.1}}}, `fault "Reste" is unknown`},
		"fault twice":  {"which of the two?", Config{Faults: []Fault{{Reset, 0.1}, {Reset, 0.2}}}, "fault Reset is given twice"},
		"fault ratio":  {"more than all", Config{Faults: []Fault{{Reset, 1.5}}}, "ratio 1.5"},
		"fault nan":    {"NaN compares false with all", Config{Faults: []Fault{{Reset, math.NaN()}}}, "ratio NaN"},
		"fault sum":    {"more than all together", Config{Faults: []Fault{{Reset, 0.6}, {HTML, 0.6}}}, "add up to 1.2"},
		"key":          {"a header cannot carry it", Config{APIKey: "a\nb"}, "api key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.c.Validate()
			if tt.want == "" && err != nil {
				t.Errorf("%s: Validate() = %v, want nil", tt.reason, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: Validate() = %v, want an error with %q", tt.reason, err, tt.want)
			}
			if _, newErr := New(tt.c); (newErr == nil) != (err == nil) {
				t.Errorf("%s: New() error = %v, but Validate() = %v", tt.reason, newErr, err)
			}
		})
	}
}

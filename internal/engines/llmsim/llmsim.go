// Package llmsim is the engine of the built-in simulator of an OpenAI-compatible server.
package llmsim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/engines/openai"
	"assay.bench/internal/rundir"
)

// Engine runs spec.llmsim.
type Engine struct{}

// Name is the engine's field in a Service's spec.
func (Engine) Name() string { return "llmsim" }

// Chosen says whether the parameters name this engine.
func (Engine) Chosen(p *v1alpha1.ServiceParameters) bool { return p.LLMSim != nil }

// The defaults of the API, for objects that did not go through admission.
const (
	defaultModel  = "assay/sim"
	defaultSeqs   = 256
	defaultLength = 32768
	emissions     = "emissions.jsonl"
)

// maxDeviation is the largest deviation of a latency, as a share of its mean: beyond it the cut-off at 30 % and 170 %
// would bend the distribution.
const maxDeviation = 0.3

// Plan renders the command line of assay-node llmsim.
func (Engine) Plan(p *v1alpha1.ServiceParameters, seed uint64, s *rundir.Service) error {
	c := p.LLMSim
	model := cmp.Or(c.Model, defaultModel)
	if c.Seed > 0 {
		seed = uint64(c.Seed)
	}
	argv := []string{
		"assay-node", "llmsim",
		"--host", "$(HOST)", "--port", "$(PORT)",
		"--model", model,
		"--max-num-seqs", strconv.Itoa(int(cmp.Or(c.MaxNumSeqs, defaultSeqs))),
		"--max-model-len", strconv.Itoa(int(cmp.Or(c.MaxModelLen, defaultLength))),
		"--seed", strconv.FormatUint(seed, 10),
		"--emissions", "$(DIR)/" + emissions,
	}
	behaviour, err := behaviour(c)
	if err != nil {
		return err
	}
	argv = append(argv, behaviour...)
	s.Argv = argv
	s.Ports = []rundir.Port{{Name: "http"}}
	s.Emissions = emissions
	openai.Plan(s, model)
	return nil
}

// behaviour renders latencies, slow-down, start-up, stall and faults.
func behaviour(c *v1alpha1.LLMSimEngine) ([]string, error) {
	ttft, err := latency("ttft", c.TTFT, 30*time.Millisecond)
	if err != nil {
		return nil, err
	}
	itl, err := latency("itl", c.ITL, 4*time.Millisecond)
	if err != nil {
		return nil, err
	}
	argv := slices.Concat(ttft, itl)
	if c.Slowdown != "" {
		if f, err := c.Slowdown.Float(); err != nil || f < 1 {
			return nil, v1alpha1.At("slowdown", fmt.Errorf("%s is below 1; 1 means no slow-down", c.Slowdown))
		}
		argv = append(argv, "--slowdown", string(c.Slowdown))
	}
	if c.Startup != "" {
		argv = append(argv, "--startup", string(c.Startup))
	}
	if c.Stall != nil {
		argv = append(argv, "--stall-after", c.Stall.After.Or(0).String(), "--stall-length", string(c.Stall.Length))
	}
	total := 0.0
	for i, f := range c.Faults {
		ratio, err := f.Ratio.Float()
		if err != nil {
			return nil, v1alpha1.At(fmt.Sprintf("faults[%d].ratio", i), err)
		}
		if total += ratio; total > 1 {
			return nil, v1alpha1.At(fmt.Sprintf("faults[%d].ratio", i), errors.New("the ratios add up to more than 1"))
		}
		argv = append(argv, "--fault", f.Type+"="+string(f.Ratio))
	}
	return argv, nil
}

// latency renders --<name>-mean and --<name>-deviation.
func latency(name string, l v1alpha1.Latency, fallback time.Duration) ([]string, error) {
	mean, deviation := fallback, time.Duration(0)
	var err error
	if l.Mean != "" {
		if mean, err = time.ParseDuration(string(l.Mean)); err != nil {
			return nil, v1alpha1.At(name+".mean", err)
		}
	}
	if l.Deviation != "" {
		if deviation, err = time.ParseDuration(string(l.Deviation)); err != nil {
			return nil, v1alpha1.At(name+".deviation", err)
		}
	}
	if float64(deviation) > maxDeviation*float64(mean) {
		return nil, v1alpha1.At(name+".deviation", fmt.Errorf("%s is more than 30 %% of the mean %s", deviation, mean))
	}
	return []string{"--" + name + "-mean", mean.String(), "--" + name + "-deviation", deviation.String()}, nil
}

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay.bench/internal/llmsim"
	"assay.bench/internal/rundir"
)

// simKey is the environment variable of the simulator's API key: vLLM's own name.
const simKey = "VLLM_API_KEY"

// simFlags are the flags of `assay-node llmsim` that are not a field of its configuration.
type simFlags struct {
	config                  llmsim.Config
	host                    string
	port                    int
	stallAfter, stallLength time.Duration
	faults                  []string
	emissions               string
}

func simCommand(w *World) *cobra.Command {
	var f simFlags
	c := &cobra.Command{Use: "llmsim", Short: "Run a server that behaves like one for large language models", Args: cobra.NoArgs,
		Long: "Run a server with the routes, the streams and the metrics of an OpenAI-compatible one, and latencies that are\n" +
			"drawn from a seed. The environment variable " + simKey + " holds the API key that it asks for; without it, none.",
		RunE: func(*cobra.Command, []string) error {
			err := runSim(w, f)
			if err != nil {
				fmt.Fprintf(w.Stderr, "assay-node llmsim: %v\n", err)
				return exit(rundir.ExitFailed)
			}
			return nil
		}}
	fl := c.Flags()
	fl.StringVar(&f.host, "host", "127.0.0.1", "address to listen on")
	fl.IntVar(&f.port, "port", 8000, "port to listen on; 0 takes a free one")
	fl.StringVar(&f.config.Model, "model", "", "name of the served model")
	fl.DurationVar(&f.config.TTFT.Mean, "ttft-mean", 0, "mean time to the first token")
	fl.DurationVar(&f.config.TTFT.Deviation, "ttft-deviation", 0, "its standard deviation")
	fl.DurationVar(&f.config.ITL.Mean, "itl-mean", 0, "mean time between two tokens")
	fl.DurationVar(&f.config.ITL.Deviation, "itl-deviation", 0, "its standard deviation")
	fl.IntVar(&f.config.MaxNumSeqs, "max-num-seqs", 0, "requests that are answered at once; the others wait")
	fl.IntVar(&f.config.MaxModelLen, "max-model-len", 0, "most input and output tokens of a request together")
	fl.Float64Var(&f.config.Slowdown, "slowdown", 0, "factor on latencies when max-num-seqs requests are answered at once")
	fl.DurationVar(&f.config.Startup, "startup", 0, "time until it serves")
	fl.DurationVar(&f.stallAfter, "stall-after", 0, "time from the first request to a stall of all answers")
	fl.DurationVar(&f.stallLength, "stall-length", 0, "length of the stall; 0 for none")
	fl.StringArrayVar(&f.faults, "fault", nil, "TYPE=RATIO: make a share of the requests fail; may be given again")
	fl.Uint64Var(&f.config.Seed, "seed", 0, "seed of all draws")
	fl.StringVar(&f.emissions, "emissions", "", "file that gets the time of each token")
	return c
}

func runSim(w *World, f simFlags) (err error) {
	f.config.APIKey = w.getenv(simKey)
	f.config.Now = w.Now
	f.config.Version = Version()
	if f.config.Faults, err = parseFaults(f.faults); err != nil {
		return err
	}
	if f.stallLength > 0 {
		f.config.Stall = &llmsim.Stall{After: f.stallAfter, Length: f.stallLength}
	}
	if f.emissions != "" {
		file, err := os.OpenFile(f.emissions, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		f.config.EmissionLog = file
	}
	s, err := llmsim.New(f.config)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(f.host, strconv.Itoa(f.port)))
	if err != nil {
		return err
	}
	fmt.Fprintf(w.Stdout, "llmsim serves on %s\n", l.Addr())
	go func() {
		select {
		case <-w.Signals:
			stop()
		case <-ctx.Done():
		}
	}()
	return s.Serve(ctx, l)
}

// parseFaults reads the values of --fault.
func parseFaults(flags []string) ([]llmsim.Fault, error) {
	var out []llmsim.Fault
	for _, s := range flags {
		name, text, _ := strings.Cut(s, "=")
		ratio, err := strconv.ParseFloat(text, 64)
		if err != nil || name == "" || !(ratio >= 0 && ratio <= 1) {
			return nil, fmt.Errorf("--fault %q: it is TYPE=RATIO with a ratio from 0 to 1, such as Reset=0.01", s)
		}
		out = append(out, llmsim.Fault{Type: llmsim.FaultType(name), Ratio: ratio})
	}
	return out, nil
}

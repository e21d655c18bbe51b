// Package app is the command line: it joins the control plane, the controllers and the batch systems, and is the only
// place that sees the operating system's arguments, environment, signals and exit codes.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Exit codes beside those of a result's outcome.
const (
	exitOK             = 0
	exitUsage          = 2
	exitInfrastructure = 5
	exitAborted        = 130
)

// exitError ends the program with a code. Its error may be nil when everything was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage marks an error as the user's: exit code 2.
func usage(err error) error { return &exitError{code: exitUsage, err: err} }

// Main runs one command and returns its exit code.
func Main(o OS) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	root := newRoot(&o)
	root.SetArgs(o.Args)
	root.SetIn(o.Stdin)
	root.SetOut(o.Stdout)
	root.SetErr(o.Stderr)
	err := root.ExecuteContext(ctx)
	if _, _, unknown := root.Find(o.Args); err != nil && unknown != nil {
		err = usage(fmt.Errorf("%w; see assay --help", unknown))
	}
	return code(o, err)
}

// code prints an error once and turns it into an exit code. An error of the command line itself is the user's.
func code(o OS, err error) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		fmt.Fprintf(o.Stderr, "assay: %v\n", err)
		return exitInfrastructure
	}
	if exit.err != nil {
		fmt.Fprintf(o.Stderr, "assay: %v\n", exit.err)
	}
	return exit.code
}

// newRoot lists every command.
func newRoot(o *OS) *cobra.Command {
	root := &cobra.Command{
		Use:   "assay",
		Short: "Benchmark the servers of an AI factory, on this machine or on a Slurm supercomputer",
		Long: `assay runs benchmarks that are written as YAML: servers under test, loads, objectives and repeats.

Exit codes: 0 passed, 2 recipe or usage, 3 an objective violated, 4 measurement invalid or partial,
5 infrastructure, 7 undecided, 129 the terminal went away and the run goes on, 130 aborted.

A control plane is the API server and the controllers that one assay run, or assay up, starts. Its origin is the eight
digits that assay run prints first and assay attach lists: attach, gc and logs take it.`,
		Example: `  assay run recipes/quickstart.yaml
  assay validate recipes/quickstart.yaml
  eval "$(assay up)" && assay kubectl get bm,bsvc,lc,sj -A`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
	})
	root.CompletionOptions.DisableDescriptions = false
	for _, command := range commands(o) {
		if command.Args != nil {
			command.Args = asUsage(command.Args)
		}
		root.AddCommand(command)
	}
	return root
}

// asUsage makes an error about arguments the user's.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
		}
		return nil
	}
}

// readFile reads a recipe; - is standard input.
func readFile(o *OS, path string) ([]byte, error) {
	if path == "-" {
		return readAll(o.Stdin)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Errorf("recipe: %w", err))
	}
	if len(b) > maxRecipe {
		return nil, usage(fmt.Errorf("recipe %s: larger than %d bytes", path, maxRecipe))
	}
	return b, nil
}

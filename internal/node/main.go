package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"assay.bench/internal/rundir"
)

// exitUsage is the exit code of a wrong command line.
const exitUsage = 2

// Main is the process: it asks the operating system for everything that the node needs and never returns.
func Main() {
	unix.Umask(0o077)
	w, err := realWorld()
	if err != nil {
		fmt.Fprintf(os.Stderr, "assay-node: %v\n", err)
		os.Exit(rundir.ExitFailed)
	}
	os.Exit(Run(w))
}

func realWorld() (*World, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own path: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	return &World{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Executable: exe, Hostname: host, PID: os.Getpid(), TempDir: os.TempDir(),
		Now: time.Now, Mono: monotonic, Signals: signals,
	}, nil
}

// monotonic reads CLOCK_MONOTONIC, which all processes of a host share; Go's own reading is private to a process.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// Version is the version of this program.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// exitError carries an exit code through cobra, without a message: that has been given already.
type exitError int

// Error is for the case that it is printed after all.
func (c exitError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Run runs one command line and returns the exit code.
func Run(w *World) int {
	root := commands(w)
	root.SetArgs(w.Args)
	root.SetOut(w.Stdout)
	root.SetErr(w.Stderr)
	err := root.ExecuteContext(context.Background())
	var code exitError
	switch {
	case err == nil:
		return rundir.ExitOK
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(w.Stderr, "assay-node: %v\nSee assay-node --help.\n", err)
	return exitUsage
}

func commands(w *World) *cobra.Command {
	root := &cobra.Command{
		Use:   "assay-node",
		Short: "What Assay runs on a compute node",
		Long: `assay-node is the part of Assay that runs on a compute node. A job's script starts it; people rarely do.

  job     runs one attempt: starts every service and every client of its plan, and waits for them
  serve   runs one rank of a service: its server, its probes, its scrapes
  load    runs one rank of a client: its load, repeat by repeat
  pull    puts an image into a site's store, as a job does before a run
  llmsim  is a server that behaves like one for large language models

Exit codes: 0 done as planned, 1 a component failed (its exit.json says how), 2 wrong command line,
74 the disk of the run directory is full, 78 the plan has a version that this assay-node does not know.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(jobCommand(w), rankCommand(w, "serve", "Run one rank of a service", serveRank),
		rankCommand(w, "load", "Run one rank of a client", loadRank), simCommand(w), filesCommand(w), pullCommand(w), versionCommand(w))
	return root
}

func versionCommand(w *World) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(w.Stdout, "assay-node %s (plan version %d)\n", Version(), rundir.Version)
			return err
		}}
}

func jobCommand(w *World) *cobra.Command {
	var dir string
	var lost time.Duration
	c := &cobra.Command{Use: "job --dir ATTEMPT", Short: "Run one attempt of a job", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return exit(runJob(w, dir, lost)) }}
	attemptFlags(c, &dir, &lost)
	return c
}

// attemptFlags are those of every command that works in an attempt's folder.
func attemptFlags(c *cobra.Command, dir *string, lost *time.Duration) {
	c.Flags().StringVar(dir, "dir", "", "folder of the attempt, which holds plan.json")
	c.Flags().DurationVar(lost, "lost-after", DefaultLostAfter, "how long the heartbeat of another rank may stand still")
	if err := c.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag is defined one line above
	}
}

func rankCommand(w *World, verb, short string, run func(*rank, secrets) int) *cobra.Command {
	var dir, name string
	var number int
	var ofStep bool
	var lost time.Duration
	c := &cobra.Command{Use: verb + " --dir ATTEMPT --component NAME --rank N", Short: short, Args: cobra.NoArgs,
		Long: short + " of a plan. The component's credential comes over the standard input, as JSON.",
		RunE: func(*cobra.Command, []string) error {
			j, err := openJob(dir)
			if err != nil {
				fmt.Fprintf(w.Stderr, "assay-node %s: %v\n", verb, err)
				return exit(asEnding(err).code)
			}
			if ofStep {
				if number, err = rankOfStep(w); err != nil {
					fmt.Fprintf(w.Stderr, "assay-node %s: %v\n", verb, err)
					return exit(rundir.ExitFailed)
				}
				mark(w, j, name, number)
			}
			s, err := readSecrets(w.Stdin)
			if err != nil {
				fmt.Fprintf(w.Stderr, "assay-node %s: %v\n", verb, err)
				return exit(rundir.ExitFailed)
			}
			return exit(run(&rank{world: w, job: j, name: name, number: number, lostAfter: lost,
				dir: rundir.Rank(j.dir, name, number)}, s))
		}}
	attemptFlags(c, &dir, &lost)
	c.Flags().StringVar(&name, "component", "", "name of the service or client in the plan")
	c.Flags().IntVar(&number, "rank", 0, "number of the rank, from 0")
	c.Flags().BoolVar(&ofStep, "rank-of-step", false, "take the number that srun gave this task of a step")
	c.MarkFlagsMutuallyExclusive("rank", "rank-of-step")
	return c
}

func exit(code int) error {
	if code == rundir.ExitOK {
		return nil
	}
	return exitError(code)
}

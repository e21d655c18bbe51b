package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay.bench/internal/app/state"
	"assay.bench/internal/rundir"
)

// pruneOptions are the flags of assay prune.
type pruneOptions struct {
	olderThan   time.Duration
	yes, dryRun bool
}

func newPrune(o *OS) *cobra.Command {
	var opts pruneOptions
	c := &cobra.Command{
		Use:   "prune",
		Short: "Show what dead control planes and ended runs left behind, ask, and remove it",
		Long: `prune lists the state of dead control planes of assay run, and the run folders of ended runs of assay up, with
their sizes, and removes them after asking. It never touches a run whose job may still write, nor a control plane that
is alive, nor the folder that assay run --output wrote.`,
		Example: "  assay prune --older-than 168h\n  assay prune --yes",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return prune(c.Context(), o, opts)
		},
	}
	c.Flags().DurationVar(&opts.olderThan, "older-than", 0, "only what is older than this, such as 168h")
	c.Flags().BoolVarP(&opts.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&opts.dryRun, "dry-run", false, "only show")
	return c
}

// leftover is one folder that may be removed.
type leftover struct {
	path, what string
	size       int64
	modified   time.Time
}

func prune(ctx context.Context, o *OS, opts pruneOptions) error {
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return err
	}
	folders, err := state.List(root)
	if err != nil {
		return err
	}
	var list []leftover
	for _, f := range folders {
		found, err := leftovers(ctx, f)
		if err != nil {
			return err
		}
		for _, l := range found {
			if o.Now().Sub(l.modified) >= opts.olderThan {
				list = append(list, l)
			}
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(o.Stderr, "assay: nothing to remove")
		return nil
	}
	var total int64
	for _, l := range list {
		fmt.Fprintf(o.Stdout, "%8s  %s  %s  (%s)\n", bytesWords(l.size), l.modified.Local().Format("2006-01-02 15:04"), l.path, l.what)
		total += l.size
	}
	if opts.dryRun {
		return nil
	}
	if !opts.yes && !ask(o, fmt.Sprintf("Remove these %d folders (%s)? [y/N] ", len(list), bytesWords(total))) {
		fmt.Fprintln(o.Stderr, "assay: nothing was removed")
		return nil
	}
	var errs []error
	for _, l := range list {
		errs = append(errs, os.RemoveAll(l.path))
	}
	return errors.Join(errs...)
}

// ask reads one line; only y and yes agree.
func ask(o *OS, question string) bool {
	fmt.Fprint(o.Stderr, question)
	line, _ := bufio.NewReader(o.Stdin).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}

// leftovers are what may go of one control plane. A live job keeps everything: it may still write.
func leftovers(ctx context.Context, f state.Folder) ([]leftover, error) {
	live, err := liveJobs(ctx, f)
	if err != nil {
		return nil, err
	}
	switch {
	case len(live) > 0:
		return nil, nil
	case f.Info.Kind == state.KindRun && !f.Running():
		what := "state of a dead assay run"
		if len(f.Info.Benchmarks) > 0 {
			what += " of " + strings.Join(f.Info.Benchmarks, ", ")
		}
		return measure(what, f.Path)
	case f.Info.Kind == state.KindUp:
		return runFolders(f)
	}
	return nil, nil
}

// runFolders are <work>/<origin>/<namespace>/<owner>/<run> of a standing control plane.
func runFolders(f state.Folder) ([]leftover, error) {
	paths, err := filepath.Glob(filepath.Join(f.Work(), f.Info.Origin, "*", "*", "*"))
	if err != nil {
		return nil, fmt.Errorf("run folders: %w", err)
	}
	var out []leftover
	for _, p := range paths {
		if f.Running() && !fileExists(filepath.Join(p, rundir.ResultFile)) {
			continue // its jobs have ended, and the controllers still read what they wrote
		}
		found, err := measure("results of an ended run of assay up "+f.Info.Context, p)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func measure(what, path string) ([]leftover, error) {
	l := leftover{path: path, what: what}
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		l.size += info.Size()
		if info.ModTime().After(l.modified) {
			l.modified = info.ModTime()
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	return []leftover{l}, nil
}

func bytesWords(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), 0
	for value >= unit && suffix < 4 {
		value /= unit
		suffix++
	}
	return fmt.Sprintf("%.1f %ciB", value, " KMGT"[suffix])
}

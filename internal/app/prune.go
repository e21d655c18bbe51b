package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay.bench/internal/app/state"
	"assay.bench/internal/controlplane"
)

// pruneOptions are the flags of assay prune.
type pruneOptions struct {
	olderThan                time.Duration
	yes, dryRun, uncollected bool
}

func newPrune(o *OS) *cobra.Command {
	var opts pruneOptions
	c := &cobra.Command{
		Use:   "prune",
		Short: "Show what dead control planes and ended runs left behind, ask, and remove it",
		Long: `prune lists the state of dead control planes of assay run, and the run folders of ended runs of assay up, with
their sizes, and removes them after asking. It never touches a run whose job may still write, nor a control plane that
is alive, nor the folder that assay run --output wrote. Results that nobody has collected are listed with the command that
does it, assay attach for a run that was left alone and assay up for the others, and stay unless --uncollected is given.
Only while assay up runs is it known whether a Benchmark or LoadClient is still there: where it was deleted nobody
collects what its run left, and that may go.
Jobs of a dead control plane that still run are ended by assay gc, not by prune.
In a workDir that a Site names the folder bin stays: other control planes may use the program in it.`,
		Example: "  assay prune --older-than 168h\n  assay prune --yes",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return prune(c.Context(), o, opts)
		},
	}
	c.Flags().DurationVar(&opts.olderThan, "older-than", 0, "only what is older than this, such as 168h")
	c.Flags().BoolVarP(&opts.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&opts.uncollected, "uncollected", false, "also remove runs whose results were not yet collected")
	c.Flags().BoolVar(&opts.dryRun, "dry-run", false, "only show")
	return c
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
		found, err := leftovers(ctx, f, f.Running())
		if err != nil {
			return err
		}
		for _, l := range found {
			if o.Now().Sub(l.modified) >= opts.olderThan {
				list = append(list, l)
			}
		}
	}
	list, total := opts.show(o, list)
	if len(list) == 0 {
		fmt.Fprintln(o.Stderr, "assay: nothing to remove")
		return nil
	}
	if opts.dryRun {
		return nil
	}
	if !opts.yes && !ask(o, fmt.Sprintf("Remove these %d folders (%s)? [y/N] ", len(list), bytesWords(total))) {
		fmt.Fprintln(o.Stderr, "assay: nothing was removed")
		return nil
	}
	var errs []error
	for _, f := range folders {
		errs = append(errs, opts.remove(ctx, o, f, slices.DeleteFunc(slices.Clone(list), func(l leftover) bool { return l.of.Path != f.Path })))
	}
	return errors.Join(errs...)
}

// takes says whether a folder may go: results that nobody has only when that is asked for.
func (p pruneOptions) takes(l leftover) bool { return l.keep == "" || p.uncollected }

// show prints what is left behind, and returns what of it may go.
func (p pruneOptions) show(o *OS, list []leftover) (out []leftover, total int64) {
	for _, l := range list {
		words := l.what
		if l.keep != "" {
			words += ", " + l.keep
		}
		fmt.Fprintf(o.Stdout, "%8s  %s  %s  (%s)\n", bytesWords(l.size), l.modified.Local().Format("2006-01-02 15:04"), l.path, words)
		if p.takes(l) {
			out = append(out, l)
			total += l.size
		}
	}
	if kept := len(list) - len(out); kept > 0 {
		fmt.Fprintf(o.Stderr, "assay: %d of these stay, for their results may not be collected yet: do what is shown, or give --uncollected to lose them\n", kept)
	}
	return out, total
}

// remove takes the lock of a control plane, so that nobody opens it, looks once more, and removes what may still go. One
// that was listed while it ran goes on: its controllers never come back to a run that has a result.
func (p pruneOptions) remove(ctx context.Context, o *OS, f state.Folder, list []leftover) error {
	if len(list) == 0 {
		return nil
	}
	lock, err := f.Hold(o.Now())
	_, running := errors.AsType[*controlplane.InUseError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // somebody else removed it
	case running:
	case err != nil:
		return err
	default:
		defer lock.Close()
	}
	if f, err = state.Open(f.Path); err != nil {
		return err
	}
	again, err := leftovers(ctx, f, running)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range list {
		i := slices.IndexFunc(again, func(a leftover) bool { return a.path == l.path && p.takes(a) })
		if i < 0 {
			fmt.Fprintf(o.Stderr, "assay: %s stays: it is in use again\n", l.path)
			continue
		}
		errs = append(errs, again[i].remove())
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

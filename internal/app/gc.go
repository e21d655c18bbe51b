package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay.bench/controllers/site"
	"assay.bench/internal/app/state"
	"assay.bench/internal/controlplane"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/local"
)

// gcOptions are the flags of assay gc.
type gcOptions struct {
	origin      string
	sites       []string
	yes, dryRun bool
	// watch is how long a control plane of another host has to be silent, pace how often jobs that end are looked at.
	watch, pace time.Duration
}

func newGC(o *OS) *cobra.Command {
	opts := gcOptions{watch: 2*site.BeatEvery + 10*time.Second, pace: 2 * time.Second}
	c := &cobra.Command{
		Use:   "gc",
		Short: "Show what the dead control planes of this user still run, ask, and end it",
		Long: `gc lists the jobs of every dead control plane of this user, on this machine and at the Slurm sites that one of them has
used or that --site names, and ends them after asking: it cancels, looks again until they are gone, and removes the
control plane's mark in the site's work folder. The state of a dead assay run goes with it, unless results are left in it
that nobody has collected. Run folders and results are never removed: gc says where they are.

It touches nothing of a control plane that is alive, of another user, or of which there are only jobs and no mark. One on
another machine is dead when its mark has not changed for 70 seconds, which gc waits for, nor the control.json of a job.`,
		Example: `  assay gc --dry-run
  assay gc --origin 3fa9c1d2
  assay gc --site site.yaml --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return gc(c.Context(), o, opts)
		},
	}
	c.Flags().StringVar(&opts.origin, "origin", "", "only the control plane whose origin begins with these digits")
	c.Flags().StringArrayVar(&opts.sites, "site", nil, "also ask the Sites in this recipe")
	c.Flags().BoolVarP(&opts.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&opts.dryRun, "dry-run", false, "only show")
	_ = c.RegisterFlagCompletionFunc("origin", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return deadOrigins(o), cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// deadOrigins are the digits of this host's dead control planes, to complete --origin with.
func deadOrigins(o *OS) []string {
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return nil
	}
	folders, err := state.List(root)
	if err != nil {
		return nil
	}
	var out []string
	for _, f := range folders {
		if lifeOfFolder(f) == dead {
			out = append(out, f.Short())
		}
	}
	return out
}

func gc(ctx context.Context, o *OS, opts gcOptions) error {
	s, err := look(ctx, o, opts.sites)
	if err != nil {
		return err
	}
	defer s.close()
	s.sayTroubles(o)
	list, err := opts.choose(s.origins)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(o.Stderr, "assay: no dead control plane has left anything to end")
		return nil
	}
	if err := opts.show(o, list); err != nil || opts.dryRun {
		return err
	}
	if !opts.yes {
		if !o.Asks {
			return usage(errors.New("gc asks before it ends jobs, and there is no terminal to ask at: give --yes"))
		}
		if !ask(o, fmt.Sprintf("End %d jobs of %d dead control planes? [y/N] ", liveOf(list), len(list))) {
			fmt.Fprintln(o.Stderr, "assay: nothing was ended")
			return nil
		}
	}
	var errs []error
	for _, one := range list {
		if err := opts.end(ctx, o, one); err != nil {
			errs = append(errs, fmt.Errorf("control plane %s: %w", one.short, err))
		}
	}
	return errors.Join(errs...)
}

func liveOf(list []*origin) (n int) {
	for _, one := range list {
		n += one.live()
	}
	return n
}

// choose leaves the control planes that are not known to be alive and have left something. One that is named and may not
// be touched is refused.
func (g gcOptions) choose(all []*origin) ([]*origin, error) {
	var out []*origin
	for _, one := range all {
		if g.origin == "" {
			if one.untouchable() == "" && one.leaves() {
				out = append(out, one)
			}
			continue
		}
		if strings.HasPrefix(one.full, g.origin) || strings.HasPrefix(one.short, g.origin) {
			out = append(out, one)
		}
	}
	if g.origin == "" {
		return out, nil
	}
	switch len(out) {
	case 0:
		return nil, usage(fmt.Errorf("no control plane begins with %q: assay jobs lists them; --site asks a site that none of this machine's has used", g.origin))
	case 1:
	default:
		return nil, usage(fmt.Errorf("%d control planes begin with %q: give more digits; assay jobs lists them", len(out), g.origin))
	}
	if why := out[0].untouchable(); why != "" {
		return nil, usage(fmt.Errorf("%s (%s) is left alone: %s", out[0].short, out[0].words, why))
	}
	if !out[0].leaves() {
		return nil, nil
	}
	return out, nil
}

// untouchable says why nothing of a control plane may be ended; "" where it may.
func (one *origin) untouchable() string {
	switch {
	case one.doubt != "":
		return one.doubt
	case one.life == alive:
		return "it is alive: end it where it runs, with Ctrl-C or assay down"
	case one.life == unknown && one.folder != nil:
		return "only its cluster knows whether its manager lives: assay drain ends what it runs"
	case one.life == unknown:
		return "nothing tells whose its jobs are or whether it lives: end them with scancel, if they are yours"
	}
	return ""
}

// leaves says that there is something to end, or to remove. A mark alone, of a run that has ended on another host, is worth
// no long look.
func (one *origin) leaves() bool {
	marked := slices.ContainsFunc(one.places, func(p *place) bool { return p.marked })
	return one.live() > 0 || one.life == dead && marked || one.stateGoes()
}

// stateGoes says that nothing needs the state of a control plane any more.
func (one *origin) stateGoes() bool {
	return one.folder != nil && spent(*one.folder) && len(one.unasked) == 0
}

// spent says that the state of a control plane is of no more use: its results are where they should be.
func spent(f state.Folder) bool {
	return f.Info.Kind == state.KindRun && (f.Info.Collected || len(f.Info.Benchmarks) == 0)
}

// show prints the jobs, and what becomes of the rest.
func (g gcOptions) show(o *OS, list []*origin) error {
	if err := printRows(o, rowsOf(list, false)); err != nil {
		return err
	}
	for _, one := range list {
		for _, line := range one.rest() {
			fmt.Fprintf(o.Stderr, "assay: %s: %s\n", one.short, line)
		}
	}
	return nil
}

// rest tells what is there beside jobs, and what becomes of it.
func (one *origin) rest() []string {
	var out []string
	for _, p := range one.places {
		out = append(out, fmt.Sprintf("what its runs wrote stays at the Site %s in %s", p.reach.name, path.Join(p.reach.workDir, one.full)))
	}
	f := one.folder
	if f == nil {
		return out
	}
	for _, work := range f.Info.WorkDirs {
		if dir := path.Join(work, one.full); fileExists(dir) && !slices.ContainsFunc(one.places, func(p *place) bool { return p.reach.workDir == work }) {
			out = append(out, "what its runs wrote stays in "+dir)
		}
	}
	switch {
	case len(one.unasked) > 0:
		out = append(out, fmt.Sprintf("its state %s stays, for it may have jobs at a Site that did not answer: %s", f.Path, strings.Join(one.unasked, ", ")))
	case spent(*f) && f.Info.Output != "":
		out = append(out, fmt.Sprintf("its state %s goes; its results are in %s", f.Path, f.Info.Output))
	case spent(*f):
		out = append(out, fmt.Sprintf("its state %s goes; it has no results", f.Path))
	case f.Info.Kind == state.KindUp:
		out = append(out, fmt.Sprintf("its state %s stays: assay up --context %s takes it up again", f.Path, f.Info.Context))
	default:
		out = append(out, fmt.Sprintf("its state %s stays, for its results are not collected: assay attach %s does that, assay prune --uncollected removes them", f.Path, one.short))
	}
	return out
}

// end ends everything of a control plane that is dead, while nobody can take it up.
func (g gcOptions) end(ctx context.Context, o *OS, one *origin) error {
	locks, err := one.hold(o)
	defer func() {
		for _, l := range locks {
			_ = l.Close()
		}
	}()
	if err != nil {
		return err
	}
	if one.life == silent {
		if err := g.watches(ctx, o, one); err != nil {
			return err
		}
	}
	if err := g.endLocal(ctx, o, one); err != nil {
		return err
	}
	for _, p := range one.places {
		if err := g.endAt(ctx, o, one, p); err != nil {
			return fmt.Errorf("site %s: %w", p.reach.name, err)
		}
	}
	if one.folder == nil || !one.stateGoes() {
		return nil
	}
	if err := one.folder.Remove(); err != nil {
		return err
	}
	fmt.Fprintf(o.Stderr, "assay: %s: removed %s\n", one.short, one.folder.Path)
	return nil
}

// hold takes the locks of a control plane's state, so that nobody opens it meanwhile.
func (one *origin) hold(o *OS) (locks []io.Closer, err error) {
	var folders []state.Folder
	if one.folder != nil {
		folders = append(folders, *one.folder)
	}
	for _, p := range one.places {
		if f, here := stateOf(o, p.at); p.marked && here && !slices.ContainsFunc(folders, func(k state.Folder) bool { return k.Path == f.Path }) {
			folders = append(folders, f)
		}
	}
	for _, f := range folders {
		lock, err := f.Hold(o.Now())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if held, ok := errors.AsType[*controlplane.InUseError](err); ok {
			return locks, usage(fmt.Errorf("it lives again: %w; nothing was ended", held))
		}
		if err != nil {
			return locks, err
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

// endLocal ends the jobs on this host. Who looks starts none of those that wait.
func (g gcOptions) endLocal(ctx context.Context, o *OS, one *origin) error {
	if countLive(one.local) == 0 {
		return nil
	}
	var host *local.Host
	cancel := func(ctx context.Context, id string) error {
		if host == nil {
			var err error
			if host, err = local.Open(local.Options{StateDir: one.folder.Jobs(), Origin: one.full}); err != nil {
				return err
			}
		}
		return host.Cancel(ctx, id)
	}
	return g.endAll(ctx, o, one, localSite, func(ctx context.Context) ([]slurmbridge.Job, error) { return localJobs(ctx, *one.folder) }, cancel)
}

// endAt ends the jobs at a site, and removes the mark there once none is left.
func (g gcOptions) endAt(ctx context.Context, o *OS, one *origin, p *place) error {
	if err := p.stands(ctx, one.full); err != nil {
		return err
	}
	jobs, err := p.reach.jobs(ctx, one.full)
	if err != nil {
		return err
	}
	if err := g.endAll(ctx, o, one, p.reach.name, jobs.List, jobs.Cancel); err != nil || !p.marked {
		return err
	}
	if err := p.stands(ctx, one.full); err != nil {
		return err
	}
	return p.reach.removeMark(ctx, one.full)
}

// goneWithinSite is how long jobs may take to be gone, beside the site's time between TERM and KILL.
const goneWithinSite = 3 * time.Minute

// endAll cancels until a look finds no job that lives.
func (g gcOptions) endAll(ctx context.Context, o *OS, one *origin, where string,
	list func(context.Context) ([]slurmbridge.Job, error), cancel func(context.Context, string) error) error {
	ctx, stop := context.WithTimeoutCause(ctx, goneWithinSite, fmt.Errorf("some jobs are still there after %s: see assay jobs, and try again", goneWithinSite))
	defer stop()
	told := map[string]bool{}
	for {
		jobs, err := list(ctx)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			switch {
			case j.Over() && told[j.ID]:
				fmt.Fprintf(o.Stderr, "assay: %s: job %s at %s is gone\n", one.short, j.ID, where)
				delete(told, j.ID)
			case !j.Over():
				told[j.ID] = true
				if err := cancel(ctx, j.ID); err != nil {
					return err
				}
			}
		}
		if countLive(jobs) == 0 {
			return nil
		}
		select {
		case <-time.After(g.pace):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

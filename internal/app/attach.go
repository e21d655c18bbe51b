package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
)

func newAttach(o *OS) *cobra.Command {
	return &cobra.Command{
		Use:   "attach [ORIGIN]",
		Short: "Take up a detached run again, or list the runs",
		Long: `attach without ORIGIN lists the runs of this user on this machine. With the first digits of an origin it opens
that run's control plane again, shows its progress, and writes its results as assay run would have.`,
		Example: "  assay attach\n  assay attach 3fa9c1d2",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			root, err := state.Root(o.Env, o.Home, o.UID)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listRuns(o, root)
			}
			return attach(c.Context(), o, root, args[0])
		},
	}
}

func listRuns(o *OS, root string) error {
	list, err := state.List(root)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(o.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORIGIN\tBENCHMARKS\tSTARTED\tPROCESS\tOUTPUT")
	for _, f := range list {
		if f.Info.Kind != state.KindRun || len(f.Info.Benchmarks) == 0 {
			continue
		}
		process := "detached"
		if f.Running() {
			process = fmt.Sprintf("%d on %s", f.Info.PID, f.Info.Host)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Short(), strings.Join(f.Info.Benchmarks, ","),
			f.Info.Created.Local().Format("2006-01-02 15:04:05"), process, f.Info.Output)
	}
	return w.Flush()
}

func attach(ctx context.Context, o *OS, root, digits string) error {
	folder, err := state.Find(root, digits)
	if err != nil {
		return usage(err)
	}
	if folder.Info.Kind != state.KindRun || len(folder.Info.Benchmarks) == 0 {
		return usage(fmt.Errorf("%s is a standing control plane: use export KUBECONFIG=%s", folder.Short(), slurmbridge.Quote(folder.Kubeconfig())))
	}
	signals := make(chan os.Signal, 4)
	defer o.Notify(signals, endSignals()...)()
	p, err := openPlane(ctx, o, folder)
	if err != nil {
		return err
	}
	s := &session{
		o: o, plane: p, output: output{path: folder.Info.Output, made: []string{folder.Info.Output}}, format: formatText,
		names: folder.Info.Benchmarks, progress: newProgress(o), signals: signals,
	}
	s.progress.sayf("assay: attached to %s", folder.Short())
	if folder.Info.Collected { // the last attempt could not end what it had started
		s.progress.sayf("assay: the results are in %s already", folder.Info.Output)
		return s.clean(ctx)
	}
	return s.finish(ctx)
}

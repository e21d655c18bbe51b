package app

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/local"
)

func newJobs(o *OS) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List the jobs of every control plane of this user, alive or dead",
		Long: `jobs lists what runs on this machine for every control plane of this user. A control plane whose process is
gone is dead; its jobs end by themselves, and assay attach or assay up takes them up again. Of a dead one, a job that has
not begun begins only then. The jobs of assay manager --allow-host-sites carry the first digits of their cluster's UID;
whether a manager is there only the cluster knows.`,
		Example: "  assay jobs --all",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return listJobs(c.Context(), o, all)
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "show ended jobs too")
	return c
}

func listJobs(ctx context.Context, o *OS, all bool) error {
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return err
	}
	folders, err := state.List(root)
	if err != nil {
		return err
	}
	clusters, err := state.Clusters(root)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(o.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORIGIN\tCONTROL PLANE\tJOB\tNAME\tSTATE\tREASON")
	for _, f := range slices.Concat(folders, clusters) {
		jobs, err := localJobs(ctx, f)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if j.Over() && !all {
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Short(), planeWords(f), j.ID, j.Key, j.State, j.Reason)
		}
	}
	return w.Flush()
}

// planeWords say what a control plane is and, where this host knows it, whether it lives.
func planeWords(f state.Folder) string {
	if f.Info.Kind == state.KindManager {
		return "manager of a cluster"
	}
	words := f.Info.Kind
	if f.Info.Context != "" {
		words += " " + f.Info.Context
	}
	if f.Running() {
		return words + ", alive"
	}
	return words + ", dead"
}

// localJobs reads the records of a control plane's local jobs, whether or not it lives. It starts none of those that wait.
func localJobs(ctx context.Context, f state.Folder) ([]slurmbridge.Job, error) {
	jobs, err := local.Look(ctx, local.Options{StateDir: f.Jobs(), Origin: f.Info.Origin})
	if err != nil {
		return nil, fmt.Errorf("jobs of %s: %w", f.Short(), err)
	}
	return jobs, nil
}

// liveJobs are those that may still write.
func liveJobs(ctx context.Context, f state.Folder) ([]slurmbridge.Job, error) {
	jobs, err := localJobs(ctx, f)
	if err != nil {
		return nil, err
	}
	var out []slurmbridge.Job
	for _, j := range jobs {
		if !j.Over() {
			out = append(out, j)
		}
	}
	return out, nil
}

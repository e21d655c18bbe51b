package app

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/local"
)

// jobsOptions are the flags of assay jobs.
type jobsOptions struct {
	all    bool
	sites  []string
	format string
}

func newJobs(o *OS) *cobra.Command {
	var opts jobsOptions
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List the jobs of every control plane of this user, alive or dead",
		Long: `jobs lists what runs for every control plane of this user: on this machine, and at every Slurm site that one of them
has used. Another site, or another machine's control planes, are seen with --site, which takes a recipe with the Site in
it. A site that does not answer is named on standard error.

A control plane whose process is gone is dead; its jobs end by themselves, and assay attach or assay up takes them up
again, while assay gc ends them. Of a dead one, a job on this machine that has not begun begins only then. One of another
machine counts as alive while it writes its mark in the site's work folder, and as silent when it has not for more than
90 seconds: it is dead, or cut off. The jobs of assay manager carry the first digits of their cluster's UID; without a
mark only the cluster knows whether a manager is there.`,
		Example: "  assay jobs --all\n  assay jobs --site site.yaml\n  assay jobs -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return listJobs(c.Context(), o, opts)
		},
	}
	c.Flags().BoolVarP(&opts.all, "all", "a", false, "show ended jobs too")
	c.Flags().StringArrayVar(&opts.sites, "site", nil, "also ask the Sites in this recipe")
	c.Flags().StringVarP(&opts.format, "output", "o", formatText, "text or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// jobRow is a job in the list.
type jobRow struct {
	Origin       string `json:"origin"`
	ControlPlane string `json:"controlPlane"`
	Life         life   `json:"life"`
	Site         string `json:"site"`
	Job          string `json:"job"`
	Name         string `json:"name"`
	State        string `json:"state"`
	Reason       string `json:"reason"`
	Nodes        string `json:"nodes,omitempty"`
}

func listJobs(ctx context.Context, o *OS, opts jobsOptions) error {
	if opts.format != formatText && opts.format != formatJSON {
		return usage(fmt.Errorf("--output %q: use text or json", opts.format))
	}
	s, err := look(ctx, o, opts.sites)
	if err != nil {
		return err
	}
	defer s.close()
	rows := rowsOf(s.origins, opts.all)
	if opts.format == formatJSON {
		e := json.NewEncoder(o.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Jobs     []jobRow  `json:"jobs"`
			Troubles []trouble `json:"unreachable"`
		}{append([]jobRow{}, rows...), append([]trouble{}, s.troubles...)})
	}
	if err := printRows(o, rows); err != nil {
		return err
	}
	s.sayTroubles(o)
	return nil
}

// sayTroubles names the sites that did not answer, a line each.
func (s *survey) sayTroubles(o *OS) {
	for _, t := range s.troubles {
		fmt.Fprintf(o.Stderr, "assay: what runs at the Site %s is not known: %s\n", t.Site, t.Error)
	}
}

// rowsOf are the jobs of some origins.
func rowsOf(origins []*origin, all bool) []jobRow {
	var out []jobRow
	for _, one := range origins {
		add := func(where string, jobs []slurmbridge.Job) {
			for _, j := range jobs {
				if all || !j.Over() {
					out = append(out, jobRow{
						Origin: one.short, ControlPlane: one.words, Life: one.life, Site: where, Job: j.ID, Name: string(j.Key), State: j.State, Reason: j.Reason, Nodes: j.Nodes,
					})
				}
			}
		}
		add(localSite, one.local)
		for _, p := range one.places {
			add(p.reach.name, p.jobs)
		}
	}
	return out
}

func printRows(o *OS, rows []jobRow) error {
	w := tabwriter.NewWriter(o.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORIGIN\tCONTROL PLANE\tSITE\tJOB\tNAME\tSTATE\tREASON")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Origin, r.ControlPlane, r.Site, r.Job, r.Name, r.State, r.Reason)
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
	return fmt.Sprintf("%s, %s", words, lifeOfFolder(f))
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

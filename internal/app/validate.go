package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/app/state"
	"assay.bench/internal/plan"
)

func newValidate(o *OS) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check recipes strictly, and show what they cost at most",
		Long: `validate checks recipes as the API server does, and finds what it cannot see: unknown fields, rules between
fields, parameters of engines, and times that do not fit the time limit. Each error names file, line and column.
For each benchmark it shows the longest time that a job may take, the images that are pulled before, and the GPU-hours.`,
		Example: "  assay validate recipes/quickstart.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			objects, err := parseFiles(o, args)
			if err != nil {
				return err
			}
			if err := withThrowaway(c.Context(), o, func(p *plane) error {
				return check(c.Context(), p.client, objects)
			}); err != nil {
				return err
			}
			return showCosts(o, objects)
		},
	}
}

// withThrowaway runs f on a control plane without controllers whose state is gone afterwards.
func withThrowaway(ctx context.Context, o *OS, f func(*plane) error) error {
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return err
	}
	folder, err := state.Create(root, state.Info{Kind: state.KindRun, Created: o.Now(), Host: o.Host, PID: o.PID})
	if err != nil {
		return err
	}
	p, err := openServer(ctx, o, folder)
	if err != nil {
		return errors.Join(err, folder.Remove())
	}
	return errors.Join(f(p), p.close(ctx, o))
}

// showCosts prints the sum of times and the GPU-hours of each benchmark.
func showCosts(o *OS, objects []recipe.Object) error {
	for _, object := range objects {
		bm, err := benchmarkOf(object)
		if err != nil || bm == nil {
			fmt.Fprintf(o.Stdout, "%s: %s %s is valid\n", object.File, object.GetKind(), object.GetName())
			continue
		}
		fmt.Fprintf(o.Stdout, "%s: Benchmark %s is valid\n", object.File, bm.Name)
		steps, total := plan.Times(bm)
		for _, s := range steps {
			fmt.Fprintf(o.Stdout, "  %-16s %8s\n", s.Name, s.Length)
		}
		fmt.Fprintf(o.Stdout, "  %-16s %8s at most\n", "one job", total)
		for _, img := range plan.BenchmarkImages(bm) {
			fmt.Fprintf(o.Stdout, "  %-16s %s %s, unless it is in the site's store\n", "pulls before", img.URI, img.Digest)
		}
		if gpus := gpusOf(bm); gpus > 0 {
			jobs := 1
			if bm.Spec.Repeats.Restart == v1alpha1.RestartJob {
				jobs = int(max(1, bm.Spec.Repeats.Count))
			}
			fmt.Fprintf(o.Stdout, "  %-16s %8.2f at most\n", "GPU-hours", float64(jobs*gpus)*total.Round(time.Second).Hours())
		}
	}
	return nil
}

// gpusOf is the number of GPUs that a benchmark's services and clients hold at once.
func gpusOf(bm *v1alpha1.Benchmark) int {
	gpus := 0
	for _, s := range bm.Spec.Services {
		gpus += int(max(1, s.Replicas) * max(1, s.Resources.Nodes) * s.Resources.GPUsPerNode)
	}
	for _, c := range bm.Spec.Clients {
		gpus += int(max(1, c.Resources.Nodes) * c.Resources.GPUsPerNode)
	}
	return gpus
}

package app

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/benchmark"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/plan"
	"assay.bench/slurmbridge"
)

func newRender(o *OS) *cobra.Command {
	var showPlan bool
	c := &cobra.Command{
		Use:   "render FILE...",
		Short: "Print the job scripts that a recipe would submit",
		Long: `render prints every job script of the first run of each benchmark, as it would be submitted. Origin, UID and the
path of assay-node are made when a run starts; they stand here as zeros and as <workDir>/bin/assay-node.
The recipe must hold its Site, unless that is "local".`,
		Example: "  assay render recipes/quickstart.yaml\n  assay render recipe.yaml --plan",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			objects, err := parseFiles(o, args)
			if err != nil {
				return err
			}
			return withThrowaway(c.Context(), o, func(p *plane) error {
				return render(c.Context(), o, p, objects, showPlan)
			})
		},
	}
	c.Flags().BoolVar(&showPlan, "plan", false, "print plan.json of each job too")
	return c
}

// render checks the recipe, lets the API server fill in defaults, and prints the scripts.
func render(ctx context.Context, o *OS, p *plane, objects []recipe.Object, showPlan bool) error {
	if err := p.accept(ctx, objects); err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() != "Benchmark" {
			continue
		}
		bm := &v1alpha1.Benchmark{}
		if err := p.client.Get(ctx, types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}, bm); err != nil {
			return fmt.Errorf("look at %s: %w", object.GetName(), err)
		}
		s := &v1alpha1.Site{}
		if err := p.client.Get(ctx, types.NamespacedName{Namespace: bm.Namespace, Name: string(bm.Spec.Site)}, s); err != nil {
			return fmt.Errorf("look at the Site %s: %w", bm.Spec.Site, err)
		}
		if err := renderBenchmark(o, bm, s, showPlan); err != nil {
			return err
		}
	}
	return nil
}

// Stand-ins for what a run makes up when it starts.
const (
	renderOrigin = "00000000000000000000000000000000"
	renderUID    = "00000000-0000-0000-0000-000000000000"
)

func renderBenchmark(o *OS, bm *v1alpha1.Benchmark, s *v1alpha1.Site, showPlan bool) error {
	run := &v1alpha1.RunStatus{Name: "g1", Seed: max(1, bm.Spec.Seed), TimeScale: v1alpha1.Decimal(bm.Annotations[v1alpha1.AnnotationTimeScale])}
	planned := benchmark.Plan(bm, run)
	for i := range planned.Jobs {
		job := &planned.Jobs[i]
		job.UID = renderUID
		out, err := plan.Make(plan.Input{
			Job: job, Site: s, Services: planned.Services, Clients: planned.Clients, Attempt: 1,
			Origin: renderOrigin, WorkDir: s.Spec.WorkDir, Node: s.Spec.WorkDir + "/bin/assay-node",
		})
		if err != nil {
			return usage(fmt.Errorf("benchmark %s: %w", bm.Name, err))
		}
		script, err := out.Script.Render(slurmbridge.Key(out.Plan.Key))
		if err != nil {
			return usage(fmt.Errorf("benchmark %s: %w", bm.Name, err))
		}
		fmt.Fprintf(o.Stdout, "# %s/job.sh\n%s\n", out.Plan.Directory, script)
		if showPlan {
			fmt.Fprintf(o.Stdout, "# %s/plan.json\n%s\n", out.Plan.Directory, out.JSON)
		}
	}
	return nil
}

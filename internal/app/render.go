package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
		Long: `render prints every job script of the first run of each Benchmark, and of each Service and LoadClient that stands for
itself, as it would be submitted. Origin, UID and the path of assay-node are made when a run starts; they stand here as
zeros and as <workDir>/bin/assay-node. The job that pulls images from a registry comes first; where they are in the
site's store already it is not submitted. The recipe must hold its Site, unless that is "local", and the Service that a
LoadClient loads.`,
		Example: "  assay render recipes/quickstart.yaml\n  assay render recipe.yaml --plan",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			objects, err := parseFiles(o, args)
			if err != nil {
				return err
			}
			if err := canRender(objects); err != nil {
				return usage(err)
			}
			return withThrowaway(c.Context(), o, func(p *plane) error {
				return render(c.Context(), o, p, objects, showPlan)
			})
		},
	}
	c.Flags().BoolVar(&showPlan, "plan", false, "print plan.json of each job too")
	return c
}

// canRender refuses what render would print nothing of.
func canRender(objects []recipe.Object) error {
	for _, o := range objects {
		if isOurs(o, "SlurmJob") {
			return o.At("kind", "a SlurmJob is made by what runs in it: render a Benchmark, a Service or a LoadClient")
		}
	}
	if !slices.ContainsFunc(objects, isRun) {
		return objects[0].At("", "there is nothing to render: it takes a Benchmark, a Service or a LoadClient")
	}
	return nil
}

// render checks the recipe, lets the API server fill in defaults, and prints the scripts.
func render(ctx context.Context, o *OS, p *plane, objects []recipe.Object, showPlan bool) error {
	if _, err := p.accept(ctx, objects); err != nil {
		return err
	}
	for _, object := range objects {
		planned, err := planned(ctx, o, p.client, object)
		if err != nil {
			return err
		}
		if err := renderJobs(ctx, o, p.client, planned, showPlan); err != nil {
			return usage(fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err))
		}
	}
	return nil
}

// Stand-ins for what a run makes up when it starts.
const (
	renderOrigin = "00000000000000000000000000000000"
	renderUID    = "00000000-0000-0000-0000-000000000000"
	renderRun    = "g1"
)

// planned is what the first run of a stored object would make; nothing where its kind runs nothing.
func planned(ctx context.Context, o *OS, c client.Client, object recipe.Object) (out benchmark.Planned, err error) {
	name := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	switch {
	case isOurs(object, "Benchmark"):
		bm := &v1alpha1.Benchmark{}
		if err := c.Get(ctx, name, bm); err != nil {
			return out, fmt.Errorf("look at %s: %w", name, err)
		}
		run := &v1alpha1.RunStatus{Name: renderRun, Seed: max(1, bm.Spec.Seed), TimeScale: v1alpha1.Decimal(bm.Annotations[v1alpha1.AnnotationTimeScale])}
		return benchmark.Plan(bm, run), nil
	case isOurs(object, "Service"):
		s := &v1alpha1.Service{}
		if err := c.Get(ctx, name, s); err != nil {
			return out, fmt.Errorf("look at %s: %w", name, err)
		}
		return planService(s, o.Now())
	case isOurs(object, "LoadClient"):
		lc := &v1alpha1.LoadClient{}
		if err := c.Get(ctx, name, lc); err != nil {
			return out, fmt.Errorf("look at %s: %w", name, err)
		}
		if lc.Spec.Target.Service == "" {
			return planClient(lc, nil, o.Now())
		}
		s := &v1alpha1.Service{}
		if err := c.Get(ctx, types.NamespacedName{Namespace: lc.Namespace, Name: lc.Spec.Target.Service}, s); err != nil {
			return out, fmt.Errorf("look at the target of %s: %w", name, err)
		}
		return planClient(lc, s, o.Now())
	}
	return out, nil
}

// renderJobs prints the script of every job.
func renderJobs(ctx context.Context, o *OS, c client.Client, planned benchmark.Planned, showPlan bool) error {
	for i := range planned.Jobs {
		job := &planned.Jobs[i]
		s := &v1alpha1.Site{}
		if err := c.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: string(job.Spec.Site)}, s); err != nil {
			return fmt.Errorf("look at the Site %s: %w", job.Spec.Site, err)
		}
		job.UID = renderUID
		out, err := plan.Make(plan.Input{
			Job: job, Site: s, Services: planned.Services, Clients: planned.Clients, Attempt: 1,
			Origin: renderOrigin, WorkDir: s.Spec.WorkDir, Node: s.Spec.WorkDir + "/bin/assay-node",
		})
		if err != nil {
			return err
		}
		script, err := out.Script.Render(slurmbridge.Key(out.Plan.Key))
		if err != nil {
			return err
		}
		fmt.Fprintf(o.Stdout, "# %s/job.sh\n%s\n", out.Plan.Directory, script)
		if showPlan {
			fmt.Fprintf(o.Stdout, "# %s/plan.json\n%s\n", out.Plan.Directory, out.JSON)
		}
	}
	return nil
}

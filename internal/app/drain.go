package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

func newDrain(o *OS) *cobra.Command {
	var timeout time.Duration
	var yes bool
	c := &cobra.Command{
		Use:   "drain",
		Short: "Delete all benchmarks and Sites, and wait until their jobs are gone",
		Long: `drain deletes every Benchmark, LoadClient, Service and SlurmJob, in all namespaces, waits until they and their jobs
are gone, and then does the same with every Site. Run it while the operator runs, before that or its resource definitions
are removed: a Site that nobody lets go of keeps them from being deleted. Results stay.
` + clusterWords + `
On the standing control plane the next assay up makes the Site local again; assay down --drain keeps all Sites.`,
		Example: `  assay drain
  assay drain --yes --timeout 10m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := userConfig(o)
			if err != nil {
				return err
			}
			cl, err := newClient(config)
			if err != nil {
				return err
			}
			if !yes {
				if yes, err = mayDrain(c.Context(), o, cl, config.Host); err != nil || !yes {
					return err
				}
			}
			return drainAll(c.Context(), o, cl, drainKinds(), timeout)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return c
}

// mayDrain asks whether all that is there may go, and from where.
func mayDrain(ctx context.Context, o *OS, c client.Client, host string) (bool, error) {
	if !o.Asks {
		return false, usage(errors.New("drain asks before it deletes everything, and there is no terminal to ask at: give --yes"))
	}
	all := func(client.Object) bool { return true }
	benchmarks, err := items(ctx, c, &v1alpha1.BenchmarkList{}, all)
	if err != nil {
		return false, err
	}
	sites, err := items(ctx, c, &v1alpha1.SiteList{}, all)
	if err != nil {
		return false, err
	}
	if ask(o, fmt.Sprintf("Delete all objects of assay at %s, among them %d benchmarks and %d Sites, and end their jobs? [y/N] ", host, len(benchmarks), len(sites))) {
		return true, nil
	}
	fmt.Fprintln(o.Stderr, "assay: nothing was deleted")
	return false, nil
}

// drainAll deletes all objects of some kinds and waits until they are gone.
func drainAll(ctx context.Context, o *OS, c client.Client, kinds []client.ObjectList, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := removeAll(ctx, c, kinds, func(client.Object) bool { return true }); err != nil {
		return err
	}
	fmt.Fprintln(o.Stderr, "assay: drained: no benchmark, service, client or job is left")
	return nil
}

// runKinds are the kinds that hold jobs, those that make others first.
func runKinds() []client.ObjectList {
	return []client.ObjectList{
		&v1alpha1.BenchmarkList{}, &v1alpha1.LoadClientList{}, &v1alpha1.ServiceList{}, &v1alpha1.SlurmJobList{},
	}
}

// drainKinds are all that something of ours keeps: a Site last, for a job needs its own to end.
func drainKinds() []client.ObjectList { return append(runKinds(), &v1alpha1.SiteList{}) }

// removeAll deletes the objects that are wanted, kind by kind, and waits until those of each are gone: those that make
// others take what is theirs with them. ctx bounds the wait.
func removeAll(ctx context.Context, c client.Client, kinds []client.ObjectList, wanted func(client.Object) bool) error {
	begin := time.Now()
	for _, list := range kinds {
		var left []client.Object
		for {
			seen, err := items(ctx, c, list, wanted)
			if err == nil {
				if left = seen; len(left) == 0 {
					break
				}
				err = deleteAll(ctx, c, left)
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("after %s these are not gone: %v; their jobs have not ended, see assay jobs", time.Since(begin).Round(time.Second), names(left))
			case <-time.After(lookEvery / 5):
			}
		}
	}
	return nil
}

// deleteAll deletes the objects that were seen, and no other that has one of their names since.
func deleteAll(ctx context.Context, c client.Client, objects []client.Object) error {
	var errs []error
	for _, o := range objects {
		if !o.GetDeletionTimestamp().IsZero() {
			continue
		}
		uid := o.GetUID()
		err := c.Delete(ctx, o, client.Preconditions{UID: &uid})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("delete %s/%s: %w", o.GetNamespace(), o.GetName(), err))
		}
	}
	return errors.Join(errs...)
}

func names(objects []client.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.GetNamespace()+"/"+o.GetName())
	}
	return out
}

// items lists the objects of a kind that are wanted.
func items(ctx context.Context, c client.Client, list client.ObjectList, wanted func(client.Object) bool) ([]client.Object, error) {
	if err := c.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list what is left: %w", err)
	}
	objects, err := meta.ExtractList(list)
	if err != nil {
		return nil, fmt.Errorf("list what is left: %w", err)
	}
	var out []client.Object
	for _, object := range objects {
		if o, ok := object.(client.Object); ok && wanted(o) {
			out = append(out, o)
		}
	}
	return out, nil
}

package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

func newDrain(o *OS) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "drain",
		Short: "Delete all benchmarks and wait until their jobs are gone",
		Long: `drain deletes every Benchmark, Service, LoadClient and SlurmJob, in all namespaces, and waits until they and
their jobs are gone. Run it before the operator or its resource definitions are removed. Results stay.
It talks to the cluster of KUBECONFIG, else to the standing control plane of assay up.`,
		Example: "  assay drain --timeout 5m",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := userClient(o)
			if err != nil {
				return err
			}
			return drainAll(c.Context(), o, cl, timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return c
}

// drainable are the kinds that hold jobs, those that make others first.
func drainable() []client.ObjectList {
	return []client.ObjectList{
		&v1alpha1.BenchmarkList{}, &v1alpha1.LoadClientList{}, &v1alpha1.ServiceList{}, &v1alpha1.SlurmJobList{},
	}
}

// drainAll deletes our objects and waits until they are gone. Benchmarks go first, and take what is theirs with them.
func drainAll(ctx context.Context, o *OS, c client.Client, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, list := range drainable() {
		if err := deleteAll(ctx, c, list); err != nil {
			return err
		}
		for {
			left, err := names(ctx, c, list)
			if err != nil {
				return err
			}
			if len(left) == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("after %s these are not gone: %v; their jobs have not ended, see assay jobs", within, left)
			case <-time.After(lookEvery / 2):
			}
		}
	}
	fmt.Fprintln(o.Stderr, "assay: drained: no benchmark, service, client or job is left")
	return nil
}

func deleteAll(ctx context.Context, c client.Client, list client.ObjectList) error {
	objects, err := items(ctx, c, list)
	if err != nil {
		return err
	}
	var errs []error
	for _, object := range objects {
		errs = append(errs, client.IgnoreNotFound(c.Delete(ctx, object)))
	}
	return errors.Join(errs...)
}

func names(ctx context.Context, c client.Client, list client.ObjectList) ([]string, error) {
	objects, err := items(ctx, c, list)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, object := range objects {
		out = append(out, object.GetNamespace()+"/"+object.GetName())
	}
	return out, nil
}

func items(ctx context.Context, c client.Client, list client.ObjectList) ([]client.Object, error) {
	if err := c.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list what is left: %w", err)
	}
	objects, err := meta.ExtractList(list)
	if err != nil {
		return nil, fmt.Errorf("list what is left: %w", err)
	}
	var out []client.Object
	for _, object := range objects {
		if o, ok := object.(client.Object); ok {
			out = append(out, o)
		}
	}
	return out, nil
}

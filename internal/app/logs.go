package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

// logsOptions are the flags of assay logs.
type logsOptions struct {
	benchmark, component, namespace, origin string
	rank                                    int
	offset                                  int64
	follow                                  bool
}

func newLogs(o *OS) *cobra.Command {
	var opts logsOptions
	c := &cobra.Command{
		Use:   "logs BENCHMARK [COMPONENT]",
		Short: "Print the log of a component of a benchmark's run",
		Long: `logs prints what a service or a client of the newest run wrote; without COMPONENT the log of the batch job.
The last line on standard error is the offset at which the next call goes on. It reads the run's folder on this machine; of a
Site whose work folder this machine does not see, it says where the log is.
` + clusterWords,
		Example: `  assay logs quickstart sim
  assay logs quickstart loadgen --follow
  assay logs quickstart sim --offset 4096
  assay logs quickstart sim --origin 3fa9c1d2     # of an assay run that goes on`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			opts.benchmark = args[0]
			if len(args) > 1 {
				opts.component = args[1]
			}
			return logs(c.Context(), o, opts)
		},
	}
	c.Flags().StringVarP(&opts.namespace, "namespace", "n", defaultNamespace, "namespace of the benchmark")
	c.Flags().StringVar(&opts.origin, "origin", "", "first digits of a running assay run's control plane")
	c.Flags().IntVar(&opts.rank, "rank", 0, "instance of the component")
	c.Flags().Int64Var(&opts.offset, "offset", 0, "begin at this byte")
	c.Flags().BoolVarP(&opts.follow, "follow", "f", false, "go on until the benchmark is complete or a signal comes")
	return c
}

func logs(ctx context.Context, o *OS, opts logsOptions) error {
	c, err := originClient(o, opts.origin)
	if err != nil {
		return err
	}
	path, err := logPath(ctx, c, opts)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	defer o.Notify(signals, endSignals()...)()
	offset := opts.offset
	for {
		complete := isComplete(ctx, c, opts)
		n, err := copyFrom(o.Stdout, path, offset)
		offset += n
		if err != nil {
			return err
		}
		if opts.follow && !complete {
			select {
			case <-signals:
			case <-time.After(lookEvery):
				continue
			}
		}
		fmt.Fprintf(o.Stderr, "assay: next offset %d\n", offset)
		return nil
	}
}

// logPath finds the newest attempt of the job that the component runs in.
func logPath(ctx context.Context, c client.Client, opts logsOptions) (string, error) {
	var jobs v1alpha1.SlurmJobList
	if err := c.List(ctx, &jobs, client.InNamespace(opts.namespace), client.MatchingLabels{v1alpha1.LabelBenchmark: opts.benchmark}); err != nil {
		return "", fmt.Errorf("look for the jobs of %s: %w", opts.benchmark, err)
	}
	// The newest first: names sort r9 after r10.
	slices.SortFunc(jobs.Items, func(a, b v1alpha1.SlurmJob) int {
		return cmp.Or(cmp.Compare(b.Spec.Run.FirstRepeat, a.Spec.Run.FirstRepeat), b.CreationTimestamp.Compare(a.CreationTimestamp.Time))
	})
	known := []string{}
	for i := range jobs.Items {
		j := &jobs.Items[i]
		if j.Status.Directory == "" {
			continue
		}
		if _, err := os.Stat(j.Status.Directory); errors.Is(err, fs.ErrNotExist) && j.Status.JobID != "" {
			return "", usage(fmt.Errorf("the logs are in %s at the Site %s, which this machine does not see: read them there", j.Status.Directory, j.Spec.Site))
		}
		if opts.component == "" {
			return filepath.Join(j.Status.Directory, rundir.JobLogFile), nil
		}
		for _, ref := range j.Spec.Components {
			name, err := componentName(ctx, c, opts.namespace, ref)
			if err != nil {
				return "", err
			}
			if name == opts.component {
				return filepath.Join(rundir.Rank(j.Status.Directory, name, opts.rank), rundir.LogFile), nil
			}
			known = append(known, name)
		}
	}
	if len(known) == 0 {
		return "", usage(fmt.Errorf("benchmark %s in namespace %s has no job that started: see assay kubectl get bm,sj -n %s", opts.benchmark, opts.namespace, opts.namespace))
	}
	return "", usage(fmt.Errorf("benchmark %s has no component %q; it has %v", opts.benchmark, opts.component, known))
}

func componentName(ctx context.Context, c client.Client, namespace string, ref v1alpha1.ComponentReference) (string, error) {
	var object client.Object = &v1alpha1.LoadClient{}
	if ref.Kind == "Service" {
		object = &v1alpha1.Service{}
	}
	if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, object); err != nil {
		return "", fmt.Errorf("look at %s %s: %w", ref.Kind, ref.Name, err)
	}
	return plan.ComponentName(object), nil
}

func isComplete(ctx context.Context, c client.Client, opts logsOptions) bool {
	bm := &v1alpha1.Benchmark{}
	if err := c.Get(ctx, types.NamespacedName{Namespace: opts.namespace, Name: opts.benchmark}, bm); err != nil {
		return true
	}
	return bm.Status.Run == nil || bm.Status.Run.Ended()
}

// copyFrom writes a file from an offset on. A file that is not there yet is empty.
func copyFrom(w io.Writer, path string, offset int64) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	return io.Copy(w, f)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/app/state"
)

// runOptions are the flags of assay run.
type runOptions struct {
	files     []string
	output    string
	context   string
	timeScale string
	format    string
}

func newRun(o *OS) *cobra.Command {
	var opts runOptions
	c := &cobra.Command{
		Use:   "run FILE...",
		Short: "Apply recipes, show progress, wait, and write results",
		Long: `run starts a control plane of its own, applies the recipes, shows progress, waits until every benchmark is
complete, writes the results, and ends everything that it started: Benchmarks, LoadClients and Services. With
--context it does so on a standing control plane, and refuses a name that something there has already.

Ctrl-C cancels. When the terminal goes away the run goes on; assay attach finds it again.
FILE may be - for standard input.`,
		Example: `  assay run recipes/quickstart.yaml
  assay run recipe.yaml --output results/today --time-scale 0.1
  assay run recipe.yaml --context lab      # on the control plane that "assay up --context lab" started`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			opts.files = args
			return run(c.Context(), o, opts)
		},
	}
	c.Flags().StringVarP(&opts.output, "output", "o", "", "folder for the results; it must be new or empty (default results/<name>-<time>)")
	c.Flags().StringVar(&opts.context, "context", "", "use the standing control plane that assay up started with this context")
	c.Flags().StringVar(&opts.timeScale, "time-scale", "", "multiply warm-up, duration and cool-down, such as 0.1; the result is never a baseline")
	c.Flags().StringVar(&opts.format, "output-format", formatText, "what goes to standard output: text or json")
	_ = c.RegisterFlagCompletionFunc("output-format", cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// Formats of --output-format.
const (
	formatText = "text"
	formatJSON = "json"
)

func (r runOptions) check() error {
	if r.format != formatText && r.format != formatJSON {
		return usage(fmt.Errorf("--output-format %q: use text or json", r.format))
	}
	if r.timeScale == "" {
		return nil
	}
	if f, err := strconv.ParseFloat(r.timeScale, 64); err != nil || f <= 0 || f > 1000 {
		return usage(fmt.Errorf("--time-scale %q: use a number above 0 and at most 1000, such as 0.1", r.timeScale))
	}
	return nil
}

// run is assay run.
func run(ctx context.Context, o *OS, opts runOptions) error {
	if err := opts.check(); err != nil {
		return err
	}
	objects, err := parseFiles(o, opts.files)
	if err != nil {
		return err
	}
	names := benchmarkNames(objects)
	if len(names) == 0 {
		return usage(fmt.Errorf("%s: no Benchmark in it: assay run needs one", strings.Join(opts.files, ", ")))
	}
	for _, object := range objects {
		scale(object, opts.timeScale)
	}
	signals := make(chan os.Signal, 4)
	defer o.Notify(signals, endSignals()...)()
	out, err := newOutput(opts.outputPath(o, objects))
	if err != nil {
		return err
	}
	p, err := runPlane(ctx, o, opts, names, out)
	if err != nil {
		out.discard()
		return err
	}
	s := &session{o: o, plane: p, output: out, format: opts.format, names: names, progress: newProgress(o), signals: signals}
	if err := s.begin(ctx, objects); err != nil {
		return errors.Join(err, s.cancelled(ctx))
	}
	return s.finish(ctx)
}

// outputPath is --output, or a new folder below results/ in the current folder.
func (r runOptions) outputPath(o *OS, objects []recipe.Object) string {
	if r.output != "" {
		return r.output
	}
	name := "run"
	for _, object := range objects {
		if isOurs(object, "Benchmark") {
			name = object.GetName()
			break
		}
	}
	stamp := o.Now().Format("20060102-150405") + "-" + strconv.Itoa(o.PID)
	return filepath.Join(o.Dir, "results", name+"-"+stamp)
}

// benchmarkNames lists the benchmarks of a recipe as namespace/name.
func benchmarkNames(objects []recipe.Object) []string {
	var out []string
	for _, object := range objects {
		if isOurs(object, "Benchmark") {
			out = append(out, object.GetNamespace()+"/"+object.GetName())
		}
	}
	return out
}

// scale notes the time scale on what makes a load.
func scale(object recipe.Object, by string) {
	if by == "" || !isOurs(object, "Benchmark") && !isOurs(object, "LoadClient") {
		return
	}
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationTimeScale] = by
	object.SetAnnotations(annotations)
}

// runPlane opens the standing control plane of --context, or one of the run's own.
func runPlane(ctx context.Context, o *OS, opts runOptions, names []string, out output) (*plane, error) {
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return nil, err
	}
	if opts.context != "" {
		return standingPlane(root, opts.context)
	}
	files := make([]string, len(opts.files))
	for i, f := range opts.files {
		files[i] = absolute(o, f)
	}
	folder, err := state.Create(root, state.Info{
		Kind: state.KindRun, Created: o.Now(), Host: o.Host, PID: o.PID,
		Files: files, Output: out.path, Benchmarks: names,
	})
	if err != nil {
		return nil, err
	}
	p, err := openPlane(ctx, o, folder)
	if err != nil {
		return nil, errors.Join(err, folder.Remove())
	}
	return p, nil
}

func absolute(o *OS, path string) string {
	if path == "-" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(o.Dir, path)
}

// fileExists says whether a path can be seen.
func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

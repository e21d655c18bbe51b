package app

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// reportOptions are the flags of assay report.
type reportOptions struct{ table, markdown bool }

func newReport(o *OS) *cobra.Command {
	var opts reportOptions
	c := &cobra.Command{
		Use:   "report DIR...",
		Short: "Print the results of runs again, or their key numbers side by side",
		Long: `report reads the result.json of each DIR and prints its summary, as assay run does at its end. DIR is a folder that
assay run wrote (--output), the directory of a run, or a result.json itself. A folder without one stands for all results
in the folders directly below it.

With --table it prints one table instead: the key numbers of each client of each result, and under it which of the
results are not valid. docs/results.md says what each number is.

The exit code says whether the results could be read, not how the runs ended.`,
		Example: `  assay report results/today
  assay report results/vllm results/minio --table
  assay report results/vllm results/minio --table --markdown >> report.md`,
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return report(o, args, opts)
		},
	}
	c.Flags().BoolVar(&opts.table, "table", false, "print one table of the key numbers")
	c.Flags().BoolVar(&opts.markdown, "markdown", false, "print the table as Markdown, for a page")
	return c
}

func report(o *OS, paths []string, opts reportOptions) error {
	if opts.markdown && !opts.table {
		return usage(errors.New("--markdown is how the table is printed: add --table"))
	}
	files, all, err := readResults(o, paths)
	switch {
	case err != nil:
		return usage(err)
	case opts.markdown:
		return results.NewSlides(all).Markdown(o.Stdout)
	case opts.table:
		return results.NewSlides(all).Text(o.Stdout)
	}
	for i := range all {
		if len(all) > 1 { // nothing in a summary tells two runs of one benchmark apart
			if i > 0 {
				fmt.Fprintln(o.Stdout)
			}
			fmt.Fprintf(o.Stdout, "%s:\n", files[i])
		}
		if err := results.Summary(o.Stdout, all[i]); err != nil {
			return err
		}
	}
	return nil
}

// readResults reads the results of all paths, and the files that they are in. The error names every one that cannot be
// read.
func readResults(o *OS, paths []string) (files []string, all []results.Result, err error) {
	var problems []error
	for _, path := range paths {
		below, err := resultFiles(o, path)
		if err != nil {
			problems = append(problems, err)
		}
		for _, file := range below {
			r, err := readResult(o, file)
			if err != nil {
				problems = append(problems, err)
			}
			files, all = append(files, file), append(all, r)
		}
	}
	return files, all, errors.Join(problems...)
}

// whatToName ends an error about a path.
const whatToName = "name a folder that assay run wrote (--output), the directory of a run, or a result.json"

// resultFiles are the files that a path stands for: itself, the one in it, or those in the folders below it, as assay run
// writes them for several benchmarks.
func resultFiles(o *OS, path string) ([]string, error) {
	if path == "" {
		return nil, errors.New("an empty name: " + whatToName)
	}
	info, err := os.Stat(absolute(o, path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such folder: %s", path, whatToName)
	case err != nil:
		return nil, fmt.Errorf("result: %w: %s", err, whatToName)
	case info.Mode().IsRegular():
		return []string{path}, nil
	case !info.IsDir():
		return nil, fmt.Errorf("%s is neither a folder nor a file: %s", path, whatToName)
	}
	running := fileExists(filepath.Join(absolute(o, path), outputMark))
	if file := filepath.Join(path, rundir.ResultFile); fileExists(absolute(o, file)) {
		return []string{file}, nil
	}
	out, without, err := resultsBelow(o, path)
	switch {
	case err != nil:
		return nil, err
	case len(out) == 0 && running:
		return nil, fmt.Errorf("%s has no %s yet: assay run still writes to it, or was cut off: wait for it, or take it up with assay attach", path, rundir.ResultFile)
	case len(out) == 0:
		return nil, fmt.Errorf("%s has no %s: a run that was cancelled, or that goes on, has none: %s", path, rundir.ResultFile, whatToName)
	}
	for _, name := range without {
		fmt.Fprintf(o.Stderr, "assay: left out: %s has no %s\n", filepath.Join(path, name), rundir.ResultFile)
	}
	if running {
		fmt.Fprintf(o.Stderr, "assay: %s: assay run still writes to it, or was cut off: there may be more results\n", path)
	}
	return out, nil
}

// resultsBelow are the files in the folders directly below one, and the names of the folders that have none. Hidden ones
// are no results.
func resultsBelow(o *OS, path string) (files, without []string, err error) {
	entries, err := os.ReadDir(absolute(o, path))
	if err != nil {
		return nil, nil, fmt.Errorf("result: %w: %s", err, whatToName)
	}
	for _, e := range entries {
		file := filepath.Join(path, e.Name(), rundir.ResultFile)
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case fileExists(absolute(o, file)):
			files = append(files, file)
		case e.IsDir():
			without = append(without, e.Name())
		}
	}
	return files, without, nil
}

// readResult reads one file.
func readResult(o *OS, path string) (results.Result, error) {
	b, err := os.ReadFile(absolute(o, path))
	if err != nil {
		return results.Result{}, fmt.Errorf("result: %w: %s", err, whatToName)
	}
	r, err := results.Parse(b)
	why := errors.Unwrap(err)
	if r.Schema == "" && json.Valid(b) {
		why = errors.New("it names no schema; perhaps it is that of one rank")
	}
	switch {
	case err == nil:
		return r, nil
	case r.Schema != "" && r.Schema != results.Schema:
		return r, fmt.Errorf("%s has the schema %q, and this assay (%s) reads %q: read it with the assay that wrote it (%s)",
			path, r.Schema, version, results.Schema, cmp.Or(r.Version, "it does not say which"))
	case filepath.Base(path) != rundir.ResultFile:
		return r, fmt.Errorf("%s is neither a folder nor the result of a run: %w: %s", path, why, whatToName)
	}
	return r, fmt.Errorf("%s is not the result of a run, or not all of it: %w: %s", path, why, whatToName)
}

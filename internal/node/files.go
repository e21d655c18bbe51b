package node

import (
	"fmt"

	"github.com/spf13/cobra"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge/filewire"
)

// filesCommand serves a controller that is elsewhere. It is for programs: its input and output are binary.
func filesCommand(w *World) *cobra.Command {
	return &cobra.Command{Use: "files", Short: "Read and write files for a controller", Args: cobra.NoArgs, Hidden: true,
		Long: "Reads, makes or opens the files that one request on the standard input names, and answers on the standard output.",
		RunE: func(*cobra.Command, []string) error {
			if err := filewire.Serve(w.Stdin, w.Stdout); err != nil {
				fmt.Fprintf(w.Stderr, "assay-node files: %v\n", err)
				return exit(rundir.ExitFailed)
			}
			return nil
		}}
}

package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"assay.bench/internal/rundir"
)

// pullCommand is for people whose Site says that no job pulls, and for those who want an image there before.
func pullCommand(w *World) *cobra.Command {
	var store, digest string
	var insecure bool
	c := &cobra.Command{Use: "pull --store DIR --digest sha256:... URI", Short: "Put an image into a site's store", Args: cobra.ExactArgs(1),
		Long: `pull puts an image into the store of a site, the folder images of its workDir, unless it is there: with Apptainer, and
under the lock of the jobs that pull. URI is docker://, library:// or oci:///path, as in a recipe.`,
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := filepath.Abs(store)
			if err != nil {
				return err
			}
			sif := filepath.Join(dir, strings.TrimPrefix(digest, "sha256:")+".sif")
			return exit(runPull(w, rundir.ImagePull{URI: args[0], Digest: digest, SIF: sif, Insecure: insecure}))
		}}
	c.Flags().StringVar(&store, "store", "", "the folder images of the Site's workDir")
	c.Flags().StringVar(&digest, "digest", "", "digest of the image, sha256: and 64 digits")
	c.Flags().BoolVar(&insecure, "no-https", false, "the registry speaks plain HTTP")
	for _, name := range []string{"store", "digest"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return c
}

// runPull puts one image into its place, until a signal ends it.
func runPull(w *World, pull rundir.ImagePull) int {
	sayf := func(format string, args ...any) { fmt.Fprintf(w.Stderr, "assay-node pull: "+format+"\n", args...) }
	if err := pull.Check(); err != nil {
		sayf("%v", err)
		return exitUsage
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	var signals sync.WaitGroup
	signals.Go(func() {
		select {
		case <-over:
		case sig := <-w.Signals:
			cancel(endf(rundir.ExitReasonStopped, "ended by signal %s", sig))
		}
	})
	p := &puller{world: w, job: &job{dir: filepath.Dir(pull.SIF), plan: &rundir.Plan{Key: fmt.Sprintf("assay-pull-%d", w.PID)}},
		owner: newLockOwner(w), beat: lockBeat, poll: lockPoll, stale: lockStale, sayf: sayf, log: func(string, ...any) {}}
	err := p.one(ctx, pull)
	close(over)
	signals.Wait()
	if err != nil {
		sayf("%v", err)
		return asEnding(err).code
	}
	return rundir.ExitOK
}

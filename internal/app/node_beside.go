//go:build !embednode

package app

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"

	"assay.bench/internal/rundir"
)

// besideNode is the path of the assay-node beside this program.
func besideNode(o *OS) string { return filepath.Join(filepath.Dir(o.Executable), "assay-node") }

// nodeProgram is the assay-node beside this program, which is for this machine's architecture.
func nodeProgram(o *OS, arch string) ([]byte, error) {
	if arch != runtime.GOARCH {
		return nil, fmt.Errorf("this assay was built with an assay-node for %s only, and the site's machines are %s: use one that was built with make", runtime.GOARCH, arch)
	}
	b, err := os.ReadFile(besideNode(o))
	if err != nil {
		return nil, fmt.Errorf("this assay was built without assay-node, and there is none beside it: %w: build both with make", err)
	}
	return b, nil
}

var planVersion = regexp.MustCompile(`plan version (\d+)`)

// checkNode refuses an assay-node that does not know the plans that this program writes, before a job meets it.
func checkNode(ctx context.Context, o *OS) error {
	if _, err := nodeProgram(o, runtime.GOARCH); err != nil {
		return err
	}
	words, err := exec.CommandContext(ctx, besideNode(o), "version").Output()
	if err != nil {
		return fmt.Errorf("%s version: %w: build assay and assay-node with make", besideNode(o), err)
	}
	if m := planVersion.FindSubmatch(words); m != nil && string(m[1]) == strconv.Itoa(rundir.Version) {
		return nil
	}
	return fmt.Errorf("%s does not belong to this assay: it says %q, and plans of version %d are written here: build both with make",
		besideNode(o), words, rundir.Version)
}

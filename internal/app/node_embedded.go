//go:build embednode

package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"fmt"
	"io"
)

//go:embed nodebin/*.gz
var nodePrograms embed.FS

// nodeProgram is the assay-node that was built with this program, for an architecture as Go names it.
func nodeProgram(_ *OS, arch string) ([]byte, error) {
	name := "nodebin/assay-node-linux-" + arch + ".gz"
	packed, err := nodePrograms.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("this program holds no assay-node for %s: %w", arch, err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, r.Close()
}

// checkNode has nothing to find: the program that this one carries was built with it.
func checkNode(context.Context, *OS) error { return nil }

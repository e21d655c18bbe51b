//go:build embednode

package app

import (
	"context"
	"embed"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

//go:embed nodebin/*.zst
var nodePrograms embed.FS

// nodeProgram is the assay-node that was built with this program, for an architecture as Go names it.
func nodeProgram(_ *OS, arch string) ([]byte, error) {
	name := "nodebin/assay-node-linux-" + arch + ".zst"
	packed, err := nodePrograms.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("this program holds no assay-node for %s: %w", arch, err)
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	b, err := r.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// checkNode has nothing to find: the program that this one carries was built with it.
func checkNode(context.Context, *OS) error { return nil }

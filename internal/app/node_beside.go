//go:build !embednode

package app

import (
	"fmt"
	"os"
	"path/filepath"
)

// nodeProgram is the assay-node beside this program.
func nodeProgram(o *OS) ([]byte, error) {
	path := filepath.Join(filepath.Dir(o.Executable), "assay-node")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("this program was built without assay-node, and there is none beside it: %w: build with make", err)
	}
	return b, nil
}

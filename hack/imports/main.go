// Command imports checks that packages import each other only in the directions of the design.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// pkg is what go list says about one package.
type pkg struct {
	ImportPath string
	Imports    []string
	Module     *struct{ Path string }
}

func main() {
	packages, err := list()
	if err != nil {
		fmt.Fprintln(os.Stderr, "imports:", err)
		os.Exit(2)
	}
	faults := check(packages, "assay.bench")
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, f)
	}
	if len(faults) > 0 {
		fmt.Fprintln(os.Stderr, "The allowed directions are in hack/imports/table.go.")
		os.Exit(1)
	}
}

// list asks the go command for all packages of the module and what they depend on, without their tests.
func list() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports,Module", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start go list: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start go list: %w", err)
	}
	var packages []pkg
	for dec := json.NewDecoder(out); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		packages = append(packages, p)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return packages, nil
}

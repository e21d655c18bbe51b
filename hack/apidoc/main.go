// Command apidoc writes the API reference, one table per kind, from a folder of CRD YAML to standard output.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: apidoc FOLDER_OF_CRDS > api.md")
		os.Exit(2)
	}
	page, err := build(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
	if _, err := os.Stdout.Write(page); err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}

// build returns the whole page for the CRDs of a folder, in the order of their file names.
func build(dir string) ([]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list CRDs: %w", err)
	}
	var kinds []kind
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read CRD: %w", err)
		}
		k, ok, err := parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if ok {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("no CRD in %s", dir)
	}
	var page bytes.Buffer
	write(&page, kinds)
	return page.Bytes(), nil
}

// Command docs writes the reference of the commands into a folder.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"assay.bench/internal/app"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: docs FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(folder, "assay.md"))
	if err != nil {
		return err
	}
	if err := app.Reference(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

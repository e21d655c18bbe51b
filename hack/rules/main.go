// Command rules checks the house rules that no linter knows: lengths with written reasons, package comments, no open
// ends in comments, no sleeping or skipped tests.
package main

import (
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	faults, err := check(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
		os.Exit(2)
	}
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}

// check reads the Go files and shell scripts below root and returns one line "file:line: fault" each.
func check(root string) ([]string, error) {
	var faults []string
	documented := map[string]bool{} // folder -> has a package comment; only folders with Go files that are no tests
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipFolder(root, path)
		case strings.HasSuffix(path, ".go"):
			f, err := load(path)
			if err != nil {
				return err
			}
			faults = append(faults, f.check()...)
			if dir := filepath.Dir(path); !f.test && !f.ignored() && !ast.IsGenerated(f.ast) {
				documented[dir] = documented[dir] || f.ast.Doc != nil
			}
		case strings.HasSuffix(path, ".sh") || filepath.Base(path) == "Makefile":
			more, err := checkScript(path)
			if err != nil {
				return err
			}
			faults = append(faults, more...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	return append(faults, undocumented(documented)...), nil
}

// skipFolder keeps the walk out of folders that hold no code of ours.
func skipFolder(root, path string) error {
	name := filepath.Base(path)
	if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "node_modules") {
		return filepath.SkipDir
	}
	return nil
}

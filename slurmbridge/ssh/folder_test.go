package ssh_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge/ssh/sshtest"
)

// FuzzFolder looks at folders, makes them and puts a file into them, whatever they are called: the login node's shell
// executes nothing of the name, and what appears is these folders and this file.
func FuzzFolder(f *testing.F) {
	for _, name := range []string{
		"plain", "two words", "it's", `a"b`, "a|b", "$(: >pwned)", "`: >pwned`", "; : >pwned", "'; : >pwned; '", "-p", "$HOME", "~", "*", "\n: >pwned\n", "\\", "é", "%s",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		base := t.TempDir()
		folder := filepath.Join(base, name)
		if filepath.Dir(folder) != base || filepath.Base(folder) != name || os.Mkdir(folder, 0o700) != nil {
			return // no name of a folder
		}
		must(t, os.Remove(folder))
		h := openServer(t, sshtest.New(t, nil))
		must(t, h.Probe(t.Context(), folder))
		must(t, h.OwnFolders(t.Context(), filepath.Join(folder, name)))
		staged, err := h.Stage(t.Context(), folder, []byte("#!/bin/sh\n"))
		must(t, err)
		if diff := cmp.Diff([]string{name}, entries(t, base)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		rest := map[string]bool{name: true, "bin": true}
		for _, e := range entries(t, folder) {
			if !rest[e] {
				t.Errorf("%q appeared in %q", e, folder)
			}
		}
		if _, err := os.Stat(staged); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat("/pwned"); err == nil { // commands run in /
			t.Error("something was executed")
		}
	})
}

// entries are the names in a folder.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}

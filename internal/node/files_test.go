package node

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge/filewire"
)

// A controller on another machine reaches files through one command.
func TestFilesCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "status.json")
	write, err := filewire.WriteRequest([]filewire.File{{Path: file, Content: []byte("{}\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := filewire.ParseWrite(files(t, rundir.ExitOK, string(write))); err != nil {
		t.Fatal(err)
	}
	read, err := filewire.ReadRequest([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	got, err := filewire.ParseRead(files(t, rundir.ExitOK, string(read)), []string{file})
	if diff := cmp.Diff(map[string][]byte{file: []byte("{}\n")}, got); err != nil || diff != "" {
		t.Errorf("%v -want +got\n%s", err, diff)
	}
	if out := files(t, rundir.ExitFailed, "status.json\n"); len(out) > 0 {
		t.Errorf("what is no request is answered: %q", out)
	}
}

func files(t *testing.T, code int, stdin string) []byte {
	t.Helper()
	var out, words bytes.Buffer
	w := &World{Args: []string{"files"}, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &words}
	if got := Run(w); got != code || (code == 0) != (words.Len() == 0) {
		t.Fatalf("exit code %d, want %d: %s", got, code, words.String())
	}
	return out.Bytes()
}

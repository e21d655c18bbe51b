package app

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// The scripts and plans of the recipes for MeluXina, whole: what a person there would submit.
func TestMeluXina(t *testing.T) {
	files, err := filepath.Glob("../../recipes/meluxina/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("%v %v", files, err)
	}
	code, stdout, stderr := command(t, append([]string{"render", "--plan"}, absolutePaths(t, files)...)...)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	golden := filepath.Join("testdata", "meluxina.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), stdout); diff != "" {
		t.Errorf("another script or plan; run with -update if that is meant (-want +got):\n%s", diff)
	}
}

func absolutePaths(t *testing.T, paths []string) []string {
	t.Helper()
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		a, err := filepath.Abs(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

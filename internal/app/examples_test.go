package app

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table on the page of the examples is the one that their results give.
func TestExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, append([]string{"report", "--table", "--markdown"},
		absolutePaths(t, []string{"../../docs/examples/vllm-opt-125m", "../../docs/examples/minio-s3"})...)...)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	if !strings.Contains(string(page), stdout) {
		t.Errorf("the page does not hold this table:\n%s", stdout)
	}
}

// What stands beside each result of the examples is what this program prints of it.
func TestExampleSummaries(t *testing.T) {
	for _, name := range []string{"vllm-opt-125m", "minio-s3"} {
		folder := "../../docs/examples/" + name
		want, err := os.ReadFile(folder + "/summary.txt")
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := command(t, append([]string{"report"}, absolutePaths(t, []string{folder})...)...)
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		if diff := cmp.Diff(string(want), stdout); diff != "" {
			t.Errorf("%s/summary.txt (-there +printed):\n%s", name, diff)
		}
		for _, words := range []string{" Passed: ", "the counters of the server agree", "by the server  by the clients  difference"} {
			if !strings.Contains(stdout, words) {
				t.Errorf("%s lacks %q: run it anew", name, words)
			}
		}
	}
}

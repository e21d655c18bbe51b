package app

import (
	"os"
	"strings"
	"testing"
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

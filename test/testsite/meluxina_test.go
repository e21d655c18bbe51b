//go:build e2e

package testsite

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"assay.bench/test/site"
)

// The recipes for MeluXina render scripts that Slurm itself would take, under the names of partitions, QOS and accounts
// there.
func TestMeluXinaScripts(t *testing.T) {
	t.Parallel()
	s := site.Up(t, site.Slurm2411)
	scripts := rendered(t, s, built(t))
	if len(scripts) < 2 {
		t.Fatalf("%d scripts, want one for each experiment at least", len(scripts))
	}
	for i, script := range scripts {
		t.Run(name(t, script), func(t *testing.T) {
			s := s.For(t)
			path := filepath.Join(s.Get("SHARE"), "meluxina-"+string(rune('a'+i))+".sh")
			testOnly := func(script string) (string, int) {
				if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
					t.Fatal(err)
				}
				a := s.Exec("sbatch", "--test-only", path)
				return a.Stdout + a.Stderr, a.Code
			}
			if said, code := testOnly(script); code != 0 || !strings.Contains(said, "to start at") {
				t.Errorf("sbatch --test-only: exit code %d: %s", code, said)
			}
			// The answer is about these very names: with another account Slurm refuses the script.
			wrong := strings.ReplaceAll(script, "--account=p200000", "--account=p299999")
			if said, code := testOnly(wrong); code == 0 || !strings.Contains(said, "Invalid account") {
				t.Errorf("with an account that is not there, exit code %d: %s", code, said)
			}
		})
	}
}

// rendered are the job scripts of recipes/meluxina, as assay render prints them.
func rendered(t *testing.T, s *site.Site, programs string) []string {
	t.Helper()
	recipes, err := filepath.Glob(filepath.Join("..", "..", "recipes", "meluxina", "*.yaml"))
	if err != nil || len(recipes) == 0 {
		t.Fatalf("no recipe for MeluXina: %v", err)
	}
	argv := []string{filepath.Join(programs, "assay"), "render"}
	for _, r := range recipes {
		path, err := filepath.Abs(r)
		if err != nil {
			t.Fatal(err)
		}
		argv = append(argv, path)
	}
	return regexp.MustCompile(`(?m)^# /\S+/job\.sh\n`).Split(s.Must(argv).Stdout, -1)[1:]
}

// name is what the script's comment calls the job.
func name(t *testing.T, script string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^#SBATCH --comment='assay (\S+)`).FindStringSubmatch(script)
	if m == nil {
		t.Fatalf("the script says not what it is:\n%s", script)
	}
	return m[1]
}

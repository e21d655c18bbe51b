//go:build e2e

package testsite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/test/site"
)

// insideMark is set in a test program that runs on a site's login node, as its user.
const insideMark = "ASSAY_INSIDE_TESTSITE"

// isInside says that this program runs on a site's login node.
func isInside() bool { return os.Getenv(insideMark) != "" }

// runInside runs the test of the caller once more, in this very program, on the site's login node. What it needs of the
// site are names of "hack/testsite.sh env".
func runInside(t *testing.T, s *site.Site, needs ...string) {
	t.Helper()
	program := filepath.Join(s.Get("SHARE"), fmt.Sprintf("%s.%d", filepath.Base(os.Args[0]), os.Getpid()))
	content, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(program)
	argv := []string{"env", insideMark + "=1"}
	for _, name := range needs {
		argv = append(argv, "TESTSITE_"+name+"="+s.Get(name))
	}
	names := strings.Split(t.Name(), "/")
	for i := range names {
		names[i] = "^" + names[i] + "$"
	}
	a := s.Exec(append(argv, program, "-test.v", "-test.run", strings.Join(names, "/"), "-test.timeout", "15m", "-test.parallel", "16")...)
	t.Logf("on the login node: exit code %d\n%s%s", a.Code, a.Stdout, a.Stderr)
	if a.Code != 0 {
		t.Fail()
	}
}

// of is what "hack/testsite.sh env" calls TESTSITE_NAME, in a program that runInside started.
func of(t testing.TB, name string) string {
	t.Helper()
	value, ok := os.LookupEnv("TESTSITE_" + name)
	if !ok {
		t.Fatalf("runInside was not told TESTSITE_%s", name)
	}
	return value
}

//go:build e2e

// Package testsite runs the transports, and whole benchmarks, on real Slurm sites: hack/testsite.sh starts them, and
// docs/testsite.md tells what they are.
package testsite

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// insideMark is set in a test program that runs on a site's login node, as its user.
const insideMark = "ASSAY_INSIDE_TESTSITE"

// isInside says that this program runs on a site's login node.
func isInside() bool { return os.Getenv(insideMark) != "" }

// root is the folder of the repository.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// site is a site that is up: what "hack/testsite.sh env" prints of it.
type site struct {
	name string
	env  map[string]string
	t    testing.TB
}

// siteOf starts a site, unless it is up, and leaves it up: other tests use it too.
func siteOf(t testing.TB, name string) site {
	t.Helper()
	s := site{name: name, env: map[string]string{}, t: t}
	s.run("up", name)
	for line := range strings.Lines(s.run("env", name)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		s.env[strings.TrimPrefix(key, "TESTSITE_")] = strings.Trim(value, "'")
	}
	return s
}

// run runs hack/testsite.sh and returns what it printed.
func (s site) run(args ...string) string {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(context.Background(), filepath.Join(root(s.t), "hack", "testsite.sh"), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("testsite.sh %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// runInside runs the test of the caller once more, in this very program, on the site's login node.
func (s site) runInside(t *testing.T) {
	t.Helper()
	program := filepath.Join(s.env["SHARE"], fmt.Sprintf("%s.%d", filepath.Base(os.Args[0]), os.Getpid()))
	content, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(program)
	argv := []string{"exec", s.name, "--", "env", insideMark + "=" + s.name}
	for key, value := range s.env {
		argv = append(argv, "TESTSITE_"+key+"="+value)
	}
	names := strings.Split(t.Name(), "/")
	for i := range names {
		names[i] = "^" + names[i] + "$"
	}
	argv = append(argv, program, "-test.v", "-test.run", strings.Join(names, "/"), "-test.timeout", "15m")
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "hack", "testsite.sh"), argv...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("on the login node of %s: %v", s.name, err)
	}
}

// here is the site on whose login node this program runs.
func here(t testing.TB) site {
	s := site{name: os.Getenv(insideMark), env: map[string]string{}, t: t}
	for _, e := range os.Environ() {
		if key, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(key, "TESTSITE_") {
			s.env[strings.TrimPrefix(key, "TESTSITE_")] = value
		}
	}
	return s
}

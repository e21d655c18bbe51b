//go:build e2e

package testsite

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// door is one way to a site, and what runs through it.
type door struct {
	site, transport, recipe, placement string
}

// The placements of a benchmark.
const (
	plain         = "plain"         // SharedJob, one part
	heterogeneous = "heterogeneous" // SharedJob, services and clients in partitions of their own
	separate      = "separate"      // SeparateJobs
)

// doors are those that this tier goes through: together both recipes and every placement on 24.11, and two of the three
// on 22.05.
func doors() []door {
	const minio, vllm = "minio-s3", "vllm-opt-125m"
	return []door{
		{site.Slurm2411, "cli", minio, plain},
		{site.Slurm2411, "ssh", vllm, heterogeneous},
		{site.Slurm2411Plain, "ssh", minio, separate},
		{site.Slurm2205, "cli", vllm, plain},
		{site.Slurm2205, "ssh", minio, heterogeneous},
	}
}

// The recipes of the test site run through every door, each server in a container on a node of its own, the clients on
// two others.
func TestDoors(t *testing.T) {
	slot(t)
	programs := built(t)
	for _, name := range []string{site.Slurm2411, site.Slurm2411Plain, site.Slurm2205} {
		t.Run(name, func(t *testing.T) {
			s := site.Up(t, name)
			s.Images()
			for _, d := range doors() {
				if d.site == name {
					t.Run(d.transport+" "+d.recipe+" "+d.placement, func(t *testing.T) { d.run(t, s.For(t), programs) })
				}
			}
		})
	}
}

// built are the programs under test.
func built(t *testing.T) string {
	t.Helper()
	dir, ok := os.LookupEnv("ASSAY_BIN")
	if !ok {
		t.Fatal("ASSAY_BIN does not name the folder of the built programs: run hack/test.sh testsite")
	}
	return dir
}

// run runs the recipe at a tenth of its length. The run is good, or the client limited it: all nodes share one machine.
func (d door) run(t *testing.T, s *site.Site, programs string) {
	recipe := d.edit(t, s)
	out := filepath.Join(s.Get("HOME"), "out-"+strings.ReplaceAll(t.Name(), "/", "-"))
	var a user.Answer
	if d.transport == "cli" {
		for _, name := range []string{"assay", "assay-node"} {
			copyFile(t, filepath.Join(programs, name), filepath.Join(s.Get("SHARE"), name), 0o755)
		}
		inside := strings.Replace(out, s.Get("HOME"), "/home/users/hpc", 1)
		a = s.Exec(filepath.Join(s.Get("SHARE"), "assay"), "run", recipe, "--time-scale", "0.1", "--output", inside)
	} else {
		a = s.Do([]string{filepath.Join(programs, "assay"), "run", recipe, "--time-scale", "0.1", "--output", out})
	}
	t.Logf("exit code %d\n%s%s", a.Code, a.Stderr, a.Stdout)
	b, err := os.ReadFile(filepath.Join(out, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := results.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	limited := a.Code == 4 && strings.Contains(a.Stdout, "the client limited the result")
	if a.Code != 0 && !limited {
		t.Errorf("exit code %d, want 0, or 4 for a client that limited the result", a.Code)
	}
	for _, c := range r.CrossChecks {
		if !c.Agrees {
			t.Errorf("server and clients count otherwise: %+v", c)
		}
	}
	d.checkNodes(t, r)
}

// checkNodes: in one job the server has a node, and the clients have two others.
func (d door) checkNodes(t *testing.T, r results.Result) {
	t.Helper()
	jobs := map[string]int{plain: 1, heterogeneous: 1, separate: 2}[d.placement]
	if len(r.Jobs) != jobs {
		t.Fatalf("%d jobs, want %d: %+v", len(r.Jobs), jobs, r.Jobs)
	}
	if got := nodes(t, r.Jobs[0].Nodes); d.placement != separate && len(got) != 3 {
		t.Errorf("the job ran on %v, which are not three nodes", got)
	}
}

// nodes takes a list such as mel[2001-2002],mel2004 apart.
func nodes(t *testing.T, list string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(\d+)(?:-(\d+))?`).FindAllStringSubmatch(list, -1) {
		first, err := strconv.Atoi(m[1])
		last, lastErr := strconv.Atoi(cmp.Or(m[2], m[1]))
		if err := errors.Join(err, lastErr); err != nil {
			t.Fatal(err)
		}
		for n := first; n <= last; n++ {
			out[fmt.Sprintf("mel%d", n)] = true
		}
	}
	return out
}

// edit is the recipe for a door, as a file that both sides can read.
func (d door) edit(t *testing.T, s *site.Site) string {
	t.Helper()
	site, bench := d.read(t, "site"), d.read(t, d.recipe)
	replace := func(text, old, fresh string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("the recipe has no %q", old)
		}
		return strings.ReplaceAll(text, old, fresh)
	}
	site = replace(site, "/var/tmp/assay-testsite/slurm24.11", s.Get("STATE"))
	bench = replace(bench, "/var/tmp/assay-testsite/slurm24.11", s.Get("STATE"))
	if d.transport == "ssh" {
		known, err := os.ReadFile(s.Get("SSH_KNOWN_HOSTS"))
		if err != nil {
			t.Fatal(err)
		}
		site = replace(site, "jobs: {cli: {}}", fmt.Sprintf("jobs: {ssh: {host: %s, port: %s, user: %s, knownHosts: %q, privateKey: {file: %s}}}",
			s.Get("SSH_HOST"), s.Get("SSH_PORT"), s.Get("SSH_USER"), known, s.Get("SSH_KEY")))
	}
	switch d.placement {
	case plain:
		site = replace(site, "partition: cpu", "partition: gpu")
	case separate:
		bench = replace(bench, "  site: testsite\n", "  site: testsite\n  placement: SeparateJobs\n")
	}
	path := filepath.Join(s.Get("SHARE"), strings.ReplaceAll(t.Name(), "/", "-")+".yaml")
	if err := os.WriteFile(path, []byte(site+"---\n"+bench), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (door) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "recipes", "testsite", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to+".new", b, mode)
	}
	if err == nil {
		err = os.Rename(to+".new", to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

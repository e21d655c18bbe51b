//go:build e2e

package testsite

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// throughMaster is the transport ssh through a connection that a person has opened.
const throughMaster = "master"

// doors are those that this tier goes through: together both recipes and every placement on 24.11, and two of the three
// on 22.05. Those that stand together share one site, one after the other.
func doors() [][]door {
	const minio, vllm = "minio-s3", "vllm-opt-125m"
	return [][]door{
		{{site.Slurm2411, "cli", minio, plain}},
		{{site.Slurm2411, "ssh", vllm, heterogeneous}, {site.Slurm2411, "rest", vllm, heterogeneous}},
		{{site.Slurm2411Plain, throughMaster, minio, separate}},
		{{site.Slurm2205, "cli", vllm, plain}, {site.Slurm2205, "ssh", minio, heterogeneous}},
	}
}

// The recipes of the test site run through every door, each server in a container on a node of its own, the clients on
// two others. The sites run side by side, and nothing else does: what a busy machine does to a result is told by it.
func TestDoors(t *testing.T) {
	programs := built(t)
	for _, there := range doors() {
		t.Run(there[0].site, func(t *testing.T) {
			t.Parallel()
			s := site.Up(t, there[0].site)
			s.Images()
			for _, d := range there {
				t.Run(d.transport+" "+d.recipe+" "+d.placement, func(t *testing.T) { d.run(t, s.For(t), programs) })
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

// run runs the recipe at a tenth of its length, and tells how that ended.
func (d door) run(t *testing.T, s *site.Site, programs string) string {
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
	if !good(a, r) {
		t.Errorf("exit code %d, %s, want 0, or 4 for a client that limited the result", a.Code, r.Outcome)
	}
	counted(t, r)
	d.checkNodes(t, s, r, filepath.Join(out, "run", "*", "[0-9]*"))
	checkTokens(t, a.Stdout+a.Stderr, out, s.Get("WORK"))
	return map[bool]string{true: "ClientLimited", false: "Passed"}[a.Code == 4]
}

// good says that a run came to its end, or that its client limited the result, and that nothing else is wrong: all nodes
// share one machine.
func good(a user.Answer, r results.Result) bool {
	return a.Code == 0 || a.Code == 4 && r.Outcome == results.MeasurementInvalid
}

// checkTokens looks for a token of Slurm's, three words of base64 of which the first begins with {", in what was printed and
// in all files of some folders.
func checkTokens(t *testing.T, printed string, folders ...string) {
	t.Helper()
	token := regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}`)
	if token.MatchString(printed) {
		t.Error("a token was printed")
	}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || e.Name() == "assay-node" {
				return err
			}
			if b, err := os.ReadFile(path); err == nil && token.Match(b) {
				t.Errorf("%s holds a token", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// counted: what the server counted was compared with what the clients did, and is the same.
func counted(t *testing.T, r results.Result) {
	t.Helper()
	if len(r.CrossChecks) == 0 {
		t.Error("nothing of the server was compared with the clients")
	}
	for _, c := range r.CrossChecks {
		if c.Server == nil || !c.Agrees {
			t.Errorf("server and clients count otherwise: %+v", c)
		}
	}
}

// checkNodes looks at the attempts' folders: the server has a node, with its GPUs, and the clients have two others, in the jobs that the placement means.
func (d door) checkNodes(t *testing.T, s *site.Site, r results.Result, ranks string) {
	t.Helper()
	jobs := map[string]int{plain: 1, heterogeneous: 1, separate: 2}[d.placement]
	if len(r.Jobs) != jobs {
		t.Fatalf("%d jobs, want %d: %+v", len(r.Jobs), jobs, r.Jobs)
	}
	if s.Get("ACCOUNTING") != "" {
		// The parts of a heterogeneous job are 7+0, 7+1 and so on; accounting hears of a job some time after its end.
		parts := map[string]int{plain: 1, heterogeneous: 2, separate: 1}[d.placement]
		var found string
		user.Until(t, "accounting knows the job", func() bool {
			found = s.Sh("sacct -X -n -P -o jobid -j " + r.Jobs[0].ID)
			return found != ""
		})
		if n := len(strings.Fields(found)); n != parts || strings.Contains(found, "+") != (parts > 1) {
			t.Errorf("Slurm has these parts of the job: %q, want %d", found, parts)
		}
	}
	server, clients := placesOf(t, filepath.Join(ranks, r.Services[0].Name)), placesOf(t, filepath.Join(ranks, "loadgen"))
	hosts := map[string]bool{}
	for _, p := range append(slices.Clone(server), clients...) {
		hosts[p.Host] = true
	}
	if len(server) != 1 || len(hosts) != 3 {
		t.Errorf("server on %+v, clients on %+v; want it on one node, and these on two others", server, clients)
	}
	if gpus := len(strings.FieldsFunc(server[0].GPUs.Visible, func(r rune) bool { return r == ',' })); strings.HasPrefix(d.recipe, "vllm") && gpus != 2 {
		t.Errorf("the server was given the GPUs %q, want two", server[0].GPUs.Visible)
	}
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
	switch d.transport {
	case "ssh":
		site = replace(site, "jobs: {cli: {}}", "jobs: {ssh: "+loginDoor(t, s)+"}")
	case throughMaster:
		site = replace(site, "jobs: {cli: {}}", fmt.Sprintf("jobs: {ssh: {host: %s, port: %s, user: %s, controlPath: %q}}",
			s.Get("SSH_HOST"), s.Get("SSH_PORT"), s.Get("SSH_USER"), openMaster(t, s)))
	case "rest":
		// Half of the token's life is over before the run is: the next one comes from the login node.
		site = replace(site, "jobs: {cli: {}}", fmt.Sprintf("jobs: {rest: {url: %q, user: %s, token: {secretKeyRef: {name: slurm, key: token}}, refresh: {lifetime: 10m}}}\n  files: {ssh: %s}",
			s.Get("REST_URL"), s.Get("SSH_USER"), loginDoor(t, s)))
		site += fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: slurm}\nstringData: {token: %q}\n", s.Token("20"))
	}
	switch d.placement {
	case plain:
		site = replace(site, "partition: cpu", "partition: gpu")
	case separate:
		bench = replace(bench, "  site: testsite\n", "  site: testsite\n  placement: SeparateJobs\n")
		site = replace(site, "partition: gpu, ", "partition: gpu, exclusive: Node, ") // or the jobs may share a node
	}
	path := filepath.Join(s.Get("SHARE"), strings.ReplaceAll(t.Name(), "/", "-")+".yaml")
	if err := os.WriteFile(path, []byte(site+"---\n"+bench), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// loginDoor is the login node of a site, as the doors over SSH name it.
func loginDoor(t *testing.T, s *site.Site) string {
	t.Helper()
	known, err := os.ReadFile(s.Get("SSH_KNOWN_HOSTS"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("{host: %s, port: %s, user: %s, knownHosts: %q, privateKey: {file: %s}}",
		s.Get("SSH_HOST"), s.Get("SSH_PORT"), s.Get("SSH_USER"), known, s.Get("SSH_KEY"))
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

//go:build e2e

package testsite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"assay.bench/test/site"
	"assay.bench/test/user"
)

// aSite is the Site that all benchmarks of these tests name. Its jobs are so small that many fit in at once.
const aSite = `apiVersion: assay.bench/v1alpha1
kind: Site
metadata: {name: slurm}
spec:
  %s
  workDir: %s
  defaults:
    service: {account: p200000, partition: gpu, qos: default, timeLimit: 20m, memory: 256Mi, cpusPerTask: 1}
    client: {account: p200000, partition: gpu, qos: default, timeLimit: 20m, memory: 256Mi, cpusPerTask: 1}
`

// aBenchmark is a simulator under a small load: by name, placement, length of the load, idle timeout, what becomes of
// the service.
const aBenchmark = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: %s}
spec:
  site: slurm
  placement: %s
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1, thinkTime: 100ms}
    duration: %s
  idleTimeout: %s
  cleanup: {services: %s}
`

// person is one who works with a site through one transport: on its login node, or from this machine.
type person struct {
	*user.User

	t         *testing.T
	site      *site.Site
	transport string
	// rest is the address of slurmrestd that this person was given.
	rest string
	// known is the origin of the person's control plane, which may be gone by now.
	known string
}

// comes is a person who has nothing on the site yet.
func comes(t *testing.T, s *site.Site, transport string) *person {
	t.Helper()
	p := &person{t: t, site: s.For(t), transport: transport}
	if transport == "rest" {
		p.rest = s.Get("REST_URL")
	}
	if transport == "cli" {
		p.User = onLogin(t, s)
	} else {
		p.User = user.New(t)
	}
	return p
}

// onLogin is a user on the login node, with the programs under test.
func onLogin(t *testing.T, s *site.Site) *user.User {
	t.Helper()
	programs := built(t)
	bin, err := os.MkdirTemp(s.Get("SHARE"), "bin-*") //nolint:usetesting // it has to be on the site
	if err == nil {
		err = os.Chmod(bin, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"assay", "assay-node"} {
		copyFile(t, filepath.Join(programs, name), filepath.Join(bin, name), 0o755)
	}
	home, err := os.MkdirTemp(filepath.Join(s.Get("STATE"), "tmp"), "hpc-*") //nolint:usetesting // it has to be on the site
	if err != nil {
		t.Fatal(err)
	}
	owner, err := os.Stat(s.Get("WORK"))
	if err == nil {
		hpc := owner.Sys().(*syscall.Stat_t) // this is Linux
		err = os.Chown(home, int(hpc.Uid), int(hpc.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	return user.On(t, user.Machine{
		Enter: s.Login(), Home: home, Assay: filepath.Join(bin, "assay"), Path: "/usr/local/bin:/usr/bin:/bin",
	})
}

// siteRecipe is the Site as this person reaches it.
func (p *person) siteRecipe() string {
	p.t.Helper()
	login := loginDoor(p.t, p.site)
	doors := map[string]string{
		"cli": "jobs: {cli: {}}",
		"ssh": "jobs: {ssh: " + login + "}",
		"rest": fmt.Sprintf("jobs: {rest: {url: %q, user: %s, refresh: {lifetime: 10m}}}\n  files: {ssh: %s}",
			p.rest, p.site.Get("SSH_USER"), login),
	}
	return fmt.Sprintf(aSite, doors[p.transport], p.site.Get("WORK"))
}

// apply gives a recipe to the standing control plane.
func (p *person) apply(name, recipe string) {
	p.t.Helper()
	p.Must("assay", "kubectl", "apply", "-f", p.Write(name+".yaml", recipe))
}

// leaves takes everything away that this person made.
func (p *person) leaves() {
	p.t.Helper()
	p.Must("assay", "kubectl", "delete", "bm", "--all", "--timeout", user.Within.String())
	p.Must("assay", "down")
}

// origin is that of the only control plane of this person, its first digits.
func (p *person) origin() string {
	p.t.Helper()
	if p.known != "" {
		return p.known
	}
	found, err := filepath.Glob(p.Path("state", "assay", strings.Repeat("[0-9a-f]", 8)))
	if err != nil || len(found) != 1 {
		p.t.Fatalf("control planes %v, %v: want one", found, err)
	}
	p.known = filepath.Base(found[0])
	return p.known
}

// attempts are the folders of all attempts of a benchmark's jobs.
func (p *person) attempts(benchmark string) []string {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(p.site.Get("WORK"), p.origin()+"*", "default", benchmark, "*", "*", "[0-9]*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// claim is the id of the job that works in the folder of an attempt; "" before it does.
func claim(t *testing.T, attempt string) string {
	t.Helper()
	id, err := os.Readlink(filepath.Join(attempt, "claim"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return id
}

// queued is what squeue knows of the jobs of this person's control plane: a line each of id, name, state and reason.
func (p *person) queued(filter string) []string {
	p.t.Helper()
	var out []string
	for line := range strings.Lines(p.site.Sh("squeue -h -o '%i %j %T %r' " + filter)) {
		if strings.Contains(line, " assay-"+p.origin()+"-") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// record is a job as accounting keeps it.
type record struct{ name, id, state, start, nodes string }

// ran says that a job got nodes.
func (r record) ran() bool {
	return r.start != "Unknown" && r.start != "None" && r.nodes != "None assigned"
}

// records are those of every job, and of every start of one, that was ever made for this person's control plane.
func (p *person) records() []record {
	p.t.Helper()
	var out []record
	for line := range strings.Lines(p.site.Sh("sacct -D -X -P -n --starttime=now-1day -o jobname,jobid,state,start,nodelist")) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) == 5 && strings.HasPrefix(f[0], "assay-"+p.origin()+"-") {
			out = append(out, record{f[0], f[1], f[2], f[3], f[4]})
		}
	}
	return out
}

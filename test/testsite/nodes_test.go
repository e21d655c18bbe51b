//go:build e2e

package testsite

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
)

// Servers of several nodes, side by side on one site, each in two repeats: server and clients count alike, and every rank
// ran where it was to run.
func TestServersOfSeveralNodes(t *testing.T) {
	t.Parallel()
	programs := built(t)
	s := site.Up(t, site.Slurm2411)
	s.Images()
	for name, c := range map[string]struct {
		recipe, service string
		replace         []string
		// instances of the client on each of its nodes.
		instances []int
		// says are words of the second rank's log, in each repeat; "" for none.
		says string
		// served is a counter that each rank has raised, in each repeat; "" where only the first rank serves.
		served string
	}{
		"minio": {"minio-nodes", "minio", nil, []int{2, 2}, "", ""},
		"vllm":  {"vllm-nodes", "vllm", nil, []int{2}, "node 1 with 2 GPUs has joined 127.", ""},
		"ray":   {"vllm-nodes", "vllm", []string{"distributedExecutor: Native", "distributedExecutor: Ray", "name: vllm-nodes", "name: vllm-ray"}, []int{2}, "ray: joined 127.", ""},
		"replicas": {"vllm-nodes", "vllm", []string{
			", pipelineParallelSize: 2, distributedExecutor: Native", "", "{nodes: 2, gpusPerNode: 2", "{gpusPerNode: 2",
			"  clients:", "    replicas: 2\n  clients:", "name: vllm-nodes", "name: vllm-replicas",
		}, []int{2}, "", "vllm:generation_tokens_total"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.For(t)
			d := door{site: site.Slurm2411, transport: "ssh", recipe: c.recipe, placement: heterogeneous}
			r := runRecipe(t, s, programs, d.edit(t, s), c.replace)
			ranks := filepath.Join(r.Directory, "*", "1")
			if got := onNodes(t, filepath.Join(ranks, c.service)); !slices.Equal(got, []int{1, 1}) {
				t.Errorf("the ranks of the server are on nodes by %v, want one on each of two", got)
			}
			if got := onNodes(t, filepath.Join(ranks, "loadgen")); !slices.Equal(got, c.instances) {
				t.Errorf("the instances of the client are on nodes by %v, want %v", got, c.instances)
			}
			for _, log := range files(t, filepath.Join(ranks, c.service, "1", "log")) {
				// More often where a port was taken meanwhile, and the servers started again with others.
				if c.says != "" && strings.Count(string(log), c.says) < 2 {
					t.Errorf("the second rank does not say %q in each repeat:\n%s", c.says, log)
				}
			}
			if c.served != "" {
				bothServed(t, filepath.Join(ranks, c.service), c.served)
			}
		})
	}
}

// bothServed: each of the two replicas counted requests in each of the two repeats. That they add up to those of the clients
// is checked by then.
func bothServed(t *testing.T, service, counter string) {
	t.Helper()
	counts := files(t, filepath.Join(service, "*", "*", rundir.CountersFile))
	if len(counts) != 4 {
		t.Errorf("%d replicas and repeats counted, want 2 replicas in 2 repeats", len(counts))
	}
	for _, b := range counts {
		c, err := rundir.ParseCounters(b)
		if err != nil {
			t.Fatal(err)
		}
		served := 0.0
		for _, target := range c.Targets {
			for _, s := range target.Series {
				if s.Name == counter {
					served += s.Increase
				}
			}
		}
		if served == 0 {
			t.Errorf("replica %d served nothing in repeat %d: %+v", c.Rank, c.Repeat, c.Targets)
		}
	}
}

// runRecipe runs a recipe, with some of its words replaced, at a tenth of its length. The run is good, or the client limited
// it: all nodes share one machine.
func runRecipe(t *testing.T, s *site.Site, programs, path string, replace []string) results.Result {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(b), replace[i]) {
			t.Fatalf("the recipe has no %q", replace[i])
		}
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(string(b))), 0o644); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	a := s.Do([]string{filepath.Join(programs, "assay"), "run", path, "--time-scale", "0.1", "--output", out})
	t.Logf("exit code %d\n%s%s", a.Code, a.Stderr, a.Stdout)
	if b, err = os.ReadFile(filepath.Join(out, "result.json")); err != nil {
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
	return r
}

// onNodes is how many ranks of a component ran on each node, by their provenance.
func onNodes(t *testing.T, component string) []int {
	t.Helper()
	nodes := map[string]int{}
	for _, p := range placesOf(t, component) {
		nodes[p.Host]++
	}
	return slices.Sorted(maps.Values(nodes))
}

// ranksPlace is where a rank of a component ran, by its provenance.
type ranksPlace struct {
	Host string `json:"host"`
	GPUs struct {
		Visible string `json:"visible"`
	} `json:"gpus"`
}

// placesOf are those of all ranks of a component.
func placesOf(t *testing.T, component string) []ranksPlace {
	t.Helper()
	var out []ranksPlace
	for _, b := range files(t, filepath.Join(component, "*", "provenance.json")) {
		var p ranksPlace
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// files are the contents of the files that a pattern names; there is one at least.
func files(t *testing.T, pattern string) [][]byte {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	var out [][]byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

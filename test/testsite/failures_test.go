//go:build e2e

package testsite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/test/site"
)

// nvidiaSMI stands in for nvidia-smi on a site whose GPUs are device files without a driver: those that can be opened are
// the GPUs. What the control group forbids says so; what it allows has no driver, and says that.
const nvidiaSMI = `#!/bin/sh
[ "$1" = -L ] || { echo "nvidia-smi: unknown option $1"; exit 1; }
n=0
for i in 0 1 2 3; do
  said=$( (: </dev/nvidia$i) 2>&1 )
  case $said in *ermi*|*"o such file"*) continue ;; esac
  echo "GPU $n: NVIDIA A100-SXM4-40GB (UUID: GPU-$(hostname)-$i)"
  n=$((n + 1))
done
[ $n -gt 0 ] || { echo "No devices were found"; exit 6; }
`

const nvidiaSMIPath = "/usr/local/bin/nvidia-smi"

// failing is a benchmark that meets what people meet, and what its result has to say of it.
type failing struct {
	name, site, service string
	// outcome and words of the result's message; gpus is the state of the check.
	outcome string
	words   []string
	gpus    string
}

// failures are the benchmarks for a site. %IMAGE% is that of the simulator.
func failures(name string) []failing {
	const hog = `command: {argv: [bash, -c, "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60"], ports: [{name: http}], probes: [{tcp: {}}]}`
	memory := failing{
		"memory", "testsite", `resources: {memory: 200Mi}, ` + hog, results.Failed,
		[]string{"service sim: OutOfMemory: the kernel ended a process of the server for want of memory", "it asked for 200 MiB on each node; raise resources.memory"}, "",
	}
	if name == site.Slurm2411 { // slurmstepd looks every two seconds, and ends the whole step
		memory.words = []string{"service sim: OutOfMemory: it used more memory than its job asked for", "it asked for 200 MiB on each node): raise resources.memory", "its log says: slurmstepd-mel200", "exceeded memory limit"}
	}
	image := func(binds, env string) string {
		return `image: {uri: %IMAGE%` + binds + `}, resources: {gpusPerNode: 2}, command: {argv: [/bin/assay-node, llmsim, --host, $(HOST), --port, $(PORT), --model, m], ` +
			`model: m, protocol: OpenAI, ports: [{name: http}], probes: [{model: {name: m}}]` + env + `}`
	}
	if name != site.Slurm2411 {
		return []failing{memory, {"unseen", "testsite", image("", ""), "", nil, results.GPUUnverified}}
	}
	const bind = ", binds: [" + nvidiaSMIPath + "]"
	return []failing{
		memory,
		{"image", "testsite", `image: {uri: /nowhere/missing.sif}, command: {argv: ["true"], ports: [{name: http}], probes: [{tcp: {}}]}`, results.Failed,
			[]string{"service sim: ImageMissing: the image /nowhere/missing.sif does not exist on this node: build or copy it there"}, ""},
		{"program", "testsite", `image: {uri: %IMAGE%}, command: {argv: [no-such-server], ports: [{name: http}], probes: [{tcp: {}}]}`, results.Failed,
			[]string{"service sim: ProgramMissing: the image does not have the program", `its log says: FATAL: "no-such-server": executable file not found in $PATH`}, ""},
		{"module", "moduleless", `command: {argv: ["true"], ports: [{name: http}], probes: [{tcp: {}}]}`, results.Failed,
			[]string{"ModuleMissing: module load no-such/9.9 failed: see what a compute node has (module avail)", "it says: ", "module: command not found"}, ""},
		{"given", "testsite", image(bind, ""), "", nil, results.GPUVerified},
		{"another", "testsite", image(bind, ", env: [{name: CUDA_VISIBLE_DEVICES, value: GPU-mel2009-7}]"), results.Failed,
			[]string{"service sim: WrongGPU: on mel20", "the server would use GPU-mel2009-7, which its step was not given", "the server does not see GPU-mel20", `CUDA_VISIBLE_DEVICES is "GPU-mel2009-7" there`}, results.GPUWrong},
	}
}

// What people meet on a real site is told in a sentence with what to try, and a server has the GPUs that it was given. All
// of it runs side by side in one control plane.
func TestFailures(t *testing.T) {
	t.Parallel()
	programs := built(t)
	for _, name := range []string{site.Slurm2411, site.Slurm2411Plain} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := site.Up(t, name)
			out := runFailing(t, s, programs, failures(name))
			for _, f := range failures(name) {
				t.Run(f.name, func(t *testing.T) { f.check(t, filepath.Join(out, "default."+f.name)) })
			}
		})
	}
}

// runFailing runs the benchmarks and returns the folder of their results.
func runFailing(t *testing.T, s *site.Site, programs string, all []failing) string {
	t.Helper()
	tree := t.TempDir()
	if err := os.MkdirAll(filepath.Join(tree, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(programs, "assay-node"), filepath.Join(tree, "bin", "assay-node"), 0o755)
	sif := s.SIF(tree, "llmsim.sif")
	if strings.Contains(fmt.Sprint(all), nvidiaSMIPath) { // the other site has none, as it is
		stand := filepath.Join(s.Get("SHARE"), "nvidia-smi")
		if err := os.WriteFile(stand, []byte(nvidiaSMI), 0o755); err != nil {
			t.Fatal(err)
		}
		s.Root("install", "-m", "0755", stand, nvidiaSMIPath)
	}
	var recipe strings.Builder
	for _, modules := range []string{"", "[no-such/9.9]"} {
		at, extra := "testsite", ""
		if modules != "" {
			at, extra = "moduleless", "\n  modules: "+modules
		}
		fmt.Fprintf(&recipe, `apiVersion: assay.bench/v1alpha1
kind: Site
metadata: {name: %s}
spec:
  jobs: {ssh: %s}
  workDir: %s/%s%s
  defaults:
    service: {account: p200000, partition: gpu, qos: default, timeLimit: 15m, memory: 500Mi}
    client: {account: p200000, partition: gpu, qos: default, timeLimit: 15m, memory: 100Mi}
---
`, at, loginDoor(t, s), s.Get("WORK"), at, extra)
	}
	for _, f := range all {
		fmt.Fprintf(&recipe, `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: %s}
spec:
  site: %s
  services: [{name: sim, %s}]
  clients: [{name: load, target: {service: sim}, duration: 1s, closedLoop: {concurrency: 1}, inference: {model: m, inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}}]
---
`, f.name, f.site, strings.ReplaceAll(f.service, "%IMAGE%", sif))
	}
	path := filepath.Join(t.TempDir(), "failures.yaml")
	if err := os.WriteFile(path, []byte(recipe.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	a := s.Do([]string{filepath.Join(programs, "assay"), "run", path, "--output", out})
	t.Logf("exit code %d\n%s%s", a.Code, a.Stderr, a.Stdout)
	return out
}

// check reads the result of the benchmark.
func (f failing) check(t *testing.T, folder string) {
	b, err := os.ReadFile(filepath.Join(folder, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := results.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", r.Outcome, r.Message)
	if f.outcome != "" && r.Outcome != f.outcome || f.outcome == "" && !slices.Contains([]string{results.Passed, results.MeasurementInvalid}, r.Outcome) {
		t.Errorf("the outcome is %s", r.Outcome)
	}
	for _, want := range f.words {
		if !strings.Contains(r.Message, want) {
			t.Errorf("the message lacks %q", want)
		}
	}
	f.checkGPUs(t, r.Services[0].GPUs)
}

// checkGPUs: two devices were given, and the server saw these two by name, through --cleanenv.
func (f failing) checkGPUs(t *testing.T, all []results.GPUCheck) {
	t.Helper()
	if f.gpus == "" {
		if len(all) > 0 {
			t.Errorf("it asked for no GPU, and has %+v", all)
		}
		return
	}
	if len(all) != 1 || all[0].State != f.gpus {
		t.Fatalf("the check of the GPUs came to %+v, want %s", all, f.gpus)
	}
	c := all[0]
	switch f.gpus {
	case results.GPUVerified:
		if len(c.Given) != 2 || !strings.HasPrefix(c.Given[0], "GPU-"+c.Host+"-") || !slices.Equal(c.Given, c.Seen) {
			t.Errorf("given %v, seen %v on %s", c.Given, c.Seen, c.Host)
		}
	case results.GPUUnverified:
		if !strings.Contains(c.Message, "nvidia-smi is not in the PATH of "+c.Host) {
			t.Errorf("it is unverified: %s", c.Message)
		}
	}
}

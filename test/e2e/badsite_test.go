//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"assay.bench/test/user"
)

// command is a service of the engine command, for the benchmark short.
func command(argv, more string) string {
	return fmt.Sprintf(`{name: sim, readiness: {timeout: 2s}, command: {argv: %s, ports: [{name: http}], model: m, protocol: OpenAI, %s}}`, argv, more)
}

const (
	probeHealth = "probes: [{http: {path: /health}}]"
	probeModel  = "probes: [{model: {name: m}}]"
	probeExec   = `probes: [{exec: {argv: ["true"]}}]`
)

// badServers are recipes of which only the node can tell that their server is none.
func badServers(t *testing.T) map[string]badInput {
	t.Helper()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	port := taken.Addr().(*net.TCPAddr).Port
	sim := filepath.Join(os.Getenv("ASSAY_BIN"), "assay-node") + " llmsim --host $(HOST) --port $(PORT) --model m"
	failed := func(reason, service string, words ...string) badInput {
		return badInput{
			reason: reason, recipe: changed(simulator, service), wantCode: 5, wantOutput: whole,
			wantWords: append([]string{"✗ short Failed: ", "0 of 1 repeats whole"}, words...),
		}
	}
	html := failed("a server of something else passes its probe and answers every request with a page",
		command("[assay-node, llmsim, --host, $(HOST), --port, $(PORT), --model, m, --fault, HTML=1]", probeHealth),
		"not one of", "requests of load succeeded: stream_error answered HTML instead of a stream of events", "see that sim is the server that the recipe means")
	html.wantWords = html.wantWords[2:]
	dies := failed("a server that is gone in the middle of the measurement",
		command(fmt.Sprintf(`[bash, -c, "%s & sleep 1.5; kill -9 $!; echo CUDA out of memory; exit 3"]`, sim), probeHealth),
		"service sim: GPUOutOfMemory: the GPU's memory is too small for what the server put there (the server ended with exit code 3): lower gpuMemoryUtilization,",
		"its log says: CUDA out of memory")
	dies.recipe = strings.Replace(dies.recipe, "duration: 1500ms", "duration: 1m", 1) // a busy machine kills it late
	return map[string]badInput{
		"missing binary": failed("a program that is not installed", command("[no-such-server]", probeHealth),
			`service sim: ProgramMissing: the program "no-such-server" is not in the PATH of this node: install it on this node, give its whole path, or give the service an image`),
		"missing image": failed("an image that nobody built",
			"{name: sim, image: {uri: /scratch/vllm.sif}, "+strings.TrimPrefix(command("[vllm]", probeHealth), "{name: sim, "),
			"service sim: ImageMissing: the image /scratch/vllm.sif does not exist on this node: build or copy it there, or name a docker:// image"),
		"port in use": failed("a fixed port that another program has",
			strings.Replace(command("[no-such-server]", probeHealth), "{name: http}", fmt.Sprintf("{name: http, number: %d}", port), 1),
			fmt.Sprintf("service sim: PortInUse: port %d (http) is in use by", port), fmt.Sprintf("(process %d): end it, or choose another port, or 0 for any free one", os.Getpid())),
		"never ready": failed("a server that takes longer than it may",
			"{name: sim, llmsim: {startup: 10m}, readiness: {timeout: 2s}}",
			"service sim: ReadinessTimeout: not ready within 2s: GET /health: it answered HTTP 503, not 200: raise readiness.timeout if it only needs longer"),
		"dies at once": failed("a server that cannot start", command(`[bash, -c, "echo cannot open libcuda.so; exit 4"]`, probeHealth),
			"service sim: ServiceDied: the server ended with exit code 4; its last words: cannot open libcuda.so"),
		"dies under load": dies,
		"HTML to the probe": failed("a web server where a model was meant",
			command("[assay-node, llmsim, --host, $(HOST), --port, $(PORT), --model, m, --fault, HTML=1]", "probes: [{token: {name: m}}]"),
			"service sim: ReadinessTimeout: not ready within 2s: one generated token: it answered an HTML page instead of JSON: is this an OpenAI-compatible server, and the right port"),
		"HTML under load": html,
	}
}

// onSite is the benchmark short, with texts replaced, on a Site of its own with a work folder.
func onSite(workDir string, texts ...string) string {
	return fmt.Sprintf("apiVersion: assay.bench/v1alpha1\nkind: Site\nmetadata: {name: here}\nspec: {jobs: {local: {}}, workDir: %q}\n---\n%s",
		workDir, changed(append(texts, "site: local", "site: here")...))
}

// run runs a recipe with its results in the folder out.
func run(u *user.User, recipe string) user.Answer {
	u.Write("recipe.yaml", recipe)
	return u.Do("assay", "run", "recipe.yaml", "--output", "out")
}

// badFolders cannot be written to, or not only by us.
func badFolders() map[string]badInput {
	into := func(output string) func(*testing.T, *user.User) user.Answer {
		return func(_ *testing.T, u *user.User) user.Answer {
			u.Write("recipe.yaml", short)
			return u.Do("assay", "run", "recipe.yaml", "--output", strings.ReplaceAll(output, "FILE", u.Write("file", "")))
		}
	}
	return map[string]badInput{
		"output below a file": {
			reason: "nobody can make a folder there, root neither", try: into("FILE/out"), wantCode: 2,
			wantWords: []string{"assay: --output: mkdir", "/file: not a directory: name a folder that you may write to"},
		},
		"output where nobody writes": {
			reason: "a file system without files of ours", try: into("/proc/self/out"), wantCode: 2,
			wantWords: []string{"assay: --output: mkdir /proc/self/out: no such file or directory: name a folder that you may write to"},
		},
		"work folder that others may write": {
			reason: "others could put programs there that run as us", wantCode: 5,
			try: func(t *testing.T, u *user.User) user.Answer {
				open := u.Path("open")
				if err := os.Mkdir(open, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(open, 0o777); err != nil {
					t.Fatal(err)
				}
				return run(u, onSite(open))
			},
			wantWords: []string{"assay: default/short: WorkDirUnusable: Site here: the work folder cannot be used: others may write to",
				"/open (mode 0777), and it is not sticky: chmod go-w it, or name another folder"},
		},
		"work folder below a file": {
			reason: "a work folder that cannot be", wantCode: 5,
			try:       func(_ *testing.T, u *user.User) user.Answer { return run(u, onSite(u.Write("file", "")+"/work")) },
			wantWords: []string{"assay: default/short: WorkDirUnusable: Site here: the work folder cannot be used: mkdir", "not a directory: name a folder in workDir that you may write to"},
		},
	}
}

// onSmallDisk runs assay with a file system of a size mounted over a folder, where only it and its jobs see it.
func onSmallDisk(u *user.User, size, folder string, args ...string) user.Answer {
	const script = `mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@"`
	program := filepath.Join(os.Getenv("ASSAY_BIN"), "assay")
	return u.Do("unshare", append([]string{"-r", "-m", "bash", "-c", script, "bash", size, folder, program}, args...)...)
}

// fills is a server that writes until the disk is full, and then goes on trying.
var fills = command(`[bash, -c, "sleep 1; while :; do cat /dev/zero >>$(DIR)/fill; sleep 0.1; done"]`, probeExec)

func fullDisks() map[string]badInput {
	folder := func(t *testing.T, u *user.User, name string) string {
		t.Helper()
		if err := os.MkdirAll(u.Path(name), 0o700); err != nil {
			t.Fatal(err)
		}
		return u.Path(name)
	}
	full := func(size, where string, recipe func(small string) string) func(*testing.T, *user.User) user.Answer {
		return func(t *testing.T, u *user.User) user.Answer {
			small := folder(t, u, where)
			u.Write("recipe.yaml", recipe(small))
			return onSmallDisk(u, size, small, "run", "recipe.yaml", "--output", "out")
		}
	}
	return map[string]badInput{
		"disk of the state full at the start": {
			reason: "a control plane needs room", wantCode: 5,
			try:       full("2m", "state", func(string) string { return short }),
			wantWords: []string{"assay: start the control plane: etcd in", "no space left on device; the folder must be on a local disk with free space"},
		},
		"disk of the work folder too small": {
			reason: "not even assay-node fits", wantCode: 5,
			try:       full("4m", "small", func(small string) string { return onSite(small + "/work") }),
			wantWords: []string{"assay: default/short: WorkDirUnusable: Site here: the work folder cannot be used: assay-node cannot be put there: write", "no space left on device"},
		},
		"disk of the work folder fills": {
			reason: "a server that writes too much", wantCode: 5, wantOutput: part,
			try:       full("24m", "small", func(small string) string { return onSite(small+"/work", simulator, fills, "1500ms", "5m") }),
			wantWords: []string{"assay: default/short: WorkDirUnusable: the run directory cannot be written: write", "no space left on device: make room there", "what was written until then is in"},
		},
		"disk of the results full": {
			reason: "what was measured is kept until there is room", wantCode: 5, wantOutput: whole,
			try:       resultsLater,
			wantWords: []string{"✗ short Failed: service sim: ProgramMissing"},
		},
	}
}

// resultsLater runs into a disk that is full for the results, and writes them once there is room.
func resultsLater(t *testing.T, u *user.User) user.Answer {
	t.Helper()
	u.Write("recipe.yaml", changed(simulator, command("[no-such-server]", probeHealth)))
	if err := os.Mkdir(u.Path("out"), 0o700); err != nil {
		t.Fatal(err)
	}
	a := onSmallDisk(u, "16k", u.Path("out"), "run", "recipe.yaml", "--output", "out")
	if a.Code != 5 {
		t.Errorf("exit code %d, want 5\n%s", a.Code, a.Stdout)
	}
	contains(t, "the message", a.Stderr, "assay: results: write", "no space left on device: make room there, then write the results with assay attach")
	if left, _ := os.ReadDir(u.Path("out")); len(left) != 0 {
		t.Errorf("half a result is left: %v", left)
	}
	_, origin, _ := strings.Cut(strings.TrimSpace(a.Stderr), "write the results with assay attach ")
	return u.Do("assay", "attach", origin)
}

// seconds come where a first one is, or with something old.
func seconds() map[string]badInput {
	return map[string]badInput{
		"second run into one output": {
			reason: "two runs never mix their results", wantCode: 2, wantOutput: part,
			try: func(t *testing.T, u *user.User) user.Answer {
				return besideRun(t, u, func(string) user.Answer { return u.Do("assay", "run", "recipe.yaml", "--output", "out") })
			},
			wantWords: []string{"assay: --output: another assay run writes to", "/out: name another folder, or take that run up again with assay attach"},
		},
		"second attach": {
			reason: "one process follows a run", wantCode: 2, wantOutput: part,
			try: func(t *testing.T, u *user.User) user.Answer {
				return besideRun(t, u, func(origin string) user.Answer { return u.Do("assay", "attach", origin) })
			},
			wantWords: []string{"assay: the run", "is followed already (process", "end that first, or look at it with KUBECONFIG="},
		},
		"attach to nothing": {
			reason: "there is no such run", wantCode: 2,
			try:       func(_ *testing.T, u *user.User) user.Answer { return u.Do("assay", "attach", "123abc") },
			wantWords: []string{`assay: no control plane begins with "123abc": assay attach lists them`},
		},
		"second up": {
			reason: "one control plane for each context; its objects stay for the next assay up", wantCode: 2, wantState: 1,
			try: func(t *testing.T, u *user.User) user.Answer {
				u.Must("assay", "up")
				first := u.Do("assay", "up", "--foreground")
				if first.Code != 2 {
					t.Errorf("in the foreground: exit code %d, want 2", first.Code)
				}
				contains(t, "in the foreground", first.Stderr, `the control plane "default" is up already (process`)
				second := u.Do("assay", "up")
				u.Must("assay", "down")
				return second
			},
			wantWords: []string{`assay: the control plane "default" is up already (process`, "export KUBECONFIG=", "or end it with assay down --context default"},
		},
		"old assay-node": {
			reason: "a plan is never guessed at", wantCode: 5, wantOutput: whole, wantState: 1, try: oldNode,
			wantWords: []string{"✗ short Failed: ", "UnknownPlan: assay-node does not know this version of plan.json: use the assay-node that belongs to assay"},
		},
	}
}

// besideRun does something while a run measures, and then interrupts the run.
func besideRun(t *testing.T, u *user.User, f func(origin string) user.Answer) user.Answer {
	t.Helper()
	u.Write("recipe.yaml", changed("1500ms", "5m"))
	first := u.Start("assay", "run", "recipe.yaml", "--output", "out")
	u.Await("short", "load", user.Loads)
	found, err := filepath.Glob(u.Path("state", "assay", "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("state folders %v %v, want one", found, err)
	}
	answer := f(filepath.Base(found[0]))
	first.Signal(syscall.SIGINT)
	if a := first.Wait(); a.Code != 130 {
		t.Errorf("the first run: exit code %d, want 130\n%s", a.Code, a.Stderr)
	}
	return answer
}

// oldNode puts before assay-node, once the Site is open, a plan of a later version: to assay-node that is what it is to be
// old. A control plane compares the program with its own when it opens a Site, and only then.
func oldNode(t *testing.T, u *user.User) user.Answer {
	t.Helper()
	work := u.Path("work")
	recipe := u.Write("recipe.yaml", onSite(work))
	u.Up()
	u.Must("assay", "kubectl", "apply", "-f", u.Write("site.yaml", strings.SplitAfter(onSite(work), "---\n")[0]))
	u.Must("assay", "kubectl", "wait", "--for=condition=Ready", "site/here", "--timeout=60s")
	found, err := filepath.Glob(filepath.Join(work, "bin", "*", "assay-node"))
	if err != nil || len(found) != 1 {
		t.Fatalf("assay-node is staged as %v %v, want one", found, err)
	}
	program := u.Path("assay-node")
	if err := os.Rename(found[0], program); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/bash\nsed -i 's/\"version\": 1/\"version\": 99/' plan.json\nexec %s \"$@\"\n", program)
	if err := os.WriteFile(found[0], []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	a := u.Do("assay", "run", recipe, "--context", "default", "--output", "out")
	u.Must("assay", "down")
	return a
}

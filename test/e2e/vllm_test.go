//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// gated is a benchmark of the engine vllm with all that the engine can ask of a server.
const gated = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: gated}
spec:
  site: local
  services:
  - name: vllm
    vllm:
      model: facebook/opt-125m
      servedModelName: opt
      tensorParallelSize: 1
      maxModelLen: 2048
      maxNumSeqs: 64
      gpuMemoryUtilization: "0.9"
      dtype: half
      cacheFolder: %s
      env: [{name: GATE_FOLDER, value: %s}, {name: GATE_PROGRAM, value: %s}]
      extraArgs: [%s]
    readiness: {timeout: 1m, interval: 50ms}
  clients:
  - name: load
    target: {service: vllm}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 2}
    warmup: 300ms
    duration: 2s
`

// standInFirst puts the stand-in of vLLM into the user's PATH, before all else, and writes the recipe gated.
func standInFirst(t *testing.T, u *user.User, extraArgs ...string) (recipe, gates string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := u.Path("programs", "vllm")
	gates = u.Path("gates")
	for _, folder := range []string{filepath.Dir(program), gates} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	u.Finds(program)
	caches := filepath.Join(t.TempDir(), "caches") // outside of the home folder
	return u.Write("gated.yaml", fmt.Sprintf(gated, caches, gates, user.Server(t, user.LLMDSim), strings.Join(extraArgs, ", "))), gates
}

// A server is ready in three steps, and each of them holds the client back.
func TestVLLMIsReadyInThreeSteps(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	recipe, gates := standInFirst(t, u)
	c := u.Start("assay", "run", recipe, "--output", u.Path("out"))
	for i, step := range []struct{ gate, path, words string }{
		{gateHealth, "/health", "GET /health: it answered HTTP 503, not 200: the engine is not up"},
		{gateModel, "/v1/models", `GET /v1/models: it lists [], not "opt": name the model as the server does`},
		{gateToken, "/v1/completions", "one generated token: it answered HTTP 503, not 200: the kernels are not compiled"},
	} {
		s := u.Await("gated", "vllm", func(s rundir.Status) bool { return s.Message == step.words || s.Phase == rundir.PhaseFailed })
		if s.Phase != rundir.PhaseStarting || s.Ready || s.Endpoint != nil {
			t.Fatalf("%s is closed: the service is %s, ready: %t, at %v: %s", step.gate, s.Phase, s.Ready, s.Endpoint, s.Message)
		}
		asked := len(arrived(t, gates))
		user.Until(t, "the probe asks again and again", func() bool { return len(arrived(t, gates)) >= asked+5 })
		l := u.Await("gated", "load", func(s rundir.Status) bool { return s.PID > 0 })
		if l.Phase != rundir.PhaseWaiting && l.Phase != rundir.PhaseReady {
			t.Errorf("%s is closed: the client is %s, want it to wait", step.gate, l.Phase)
		}
		for n, a := range arrived(t, gates) {
			if a.ID != "" || n >= asked && a.Path != step.path {
				t.Errorf("%s is closed: request %q of %s arrived, want the probe of %s alone", step.gate, a.ID, a.Path, step.path)
			}
		}
		t.Logf("step %d: %s", i+1, s.Message)
		u.Write(filepath.Join("gates", step.gate), "")
	}
	a := c.Wait()
	t.Logf("exit code %d\n%s", a.Code, a.Stdout)
	if a.Code == 4 {
		contains(t, "an invalid run", a.Stdout, "the client limited the result", "above")
	} else if a.Code != 0 {
		t.Fatalf("exit code %d, want 0, or 4 on a busy machine\n%s", a.Code, a.Stderr)
	}
	r := u.Result(u.Path("out"))
	u.Whole(r, 1)
	loads := 0
	for _, a := range arrived(t, gates) {
		if strings.HasPrefix(a.Path, "/v1") && !a.Key {
			t.Errorf("request %q of %s did not show the key", a.ID, a.Path)
		}
		if strings.HasPrefix(a.ID, "load-") {
			loads++
		}
	}
	if all := r.Clients[0].All.Attempts; loads == 0 || int64(loads) != all {
		t.Errorf("%d requests of the client arrived, the result has %d", loads, all)
	}
}

// What vLLM says before it ends is what the user reads.
func TestVLLMSaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	recipe, gates := standInFirst(t, u, "--no-such-flag")
	badInput{
		reason: "a flag that vLLM does not know", wantCode: 5, wantOutput: whole,
		wantWords: []string{
			"✗ gated Failed: service vllm: BadArguments: the server does not know an argument that it gets (the server ended with exit code 2): look at extraArgs,",
			"its log says: vllm: error: unrecognized arguments:",
			"-no-such-flag", "0 of 1 repeats whole",
		},
	}.check(t, u, u.Do("assay", "run", recipe, "--output", "out"))
	if _, err := os.Stat(filepath.Join(gates, arrivals)); !os.IsNotExist(err) {
		t.Errorf("a server that did not start was asked: %v", err)
	}
}

// Whoever does not know the key of the run gets nothing of its server, and is not counted.
func TestServerAnswersNobodyWithoutTheKey(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	c := u.Start("assay", "run", u.Write("short.yaml", short), "--output", u.Path("out"))
	e := u.Await("short", "sim", func(s rundir.Status) bool { return s.Endpoint != nil }).Endpoint
	if !e.Authenticated {
		t.Error("the status says that the server asks for no key")
	}
	server := "http://" + net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	ask := `{"model": "` + e.Model + `", "prompt": [1, 2], "max_tokens": 2}`
	for _, key := range []string{"", "Bearer guess"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/v1/completions", strings.NewReader(ask))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("Authorization", key)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusUnauthorized || strings.Contains(string(body), "choices") {
			t.Errorf("with the key %q: HTTP %d, %v, %q, want 401", key, res.StatusCode, err, body)
		}
	}
	if a := c.Wait(); !slices.Contains([]int{0, 4, 7}, a.Code) {
		t.Fatalf("exit code %d, want 0, 4 or 7\n%s%s", a.Code, a.Stdout, a.Stderr)
	}
	u.Whole(u.Result(u.Path("out")), 1)
}

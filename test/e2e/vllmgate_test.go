//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Variables by which a recipe tells the stand-in of vLLM where its gates are and which program serves behind them.
const (
	gateFolder  = "GATE_FOLDER"
	gateProgram = "GATE_PROGRAM"
)

// Gates, by the step of readiness that each holds back; a file of that name in the folder opens it.
const (
	gateHealth = "health"
	gateModel  = "model"
	gateToken  = "token"
)

// arrivals is the file in the folder of the gates with a line for each request that came to the port.
const arrivals = "arrivals.jsonl"

// arrival is a request that came to the stand-in.
type arrival struct {
	Path string `json:"path"`
	ID   string `json:"id"` // its X-Request-Id
	// Key says that it showed the API key.
	Key bool `json:"key"`
}

// TestMain makes this program the stand-in of vLLM where it is called by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "vllm" {
		if err := standIn(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "vllm: error:", err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// standIn does what `vllm serve` does, as far as the engine asks for it: it takes the arguments and the environment that
// vLLM knows, and no others, and serves with llm-d-inference-sim behind its gates.
func standIn(args []string) error {
	o, err := parseServe(args)
	if err != nil {
		return err
	}
	if err := checkEnvironment(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	port := os.Getenv("VLLM_PORT")
	sim := exec.CommandContext(ctx, os.Getenv(gateProgram), "--model", o.model, "--served-model-name", o.name, "--port", port,
		"--max-model-len", o.maxModelLen, "--max-num-seqs", o.maxNumSeqs, "--force-dummy-tokenizer",
		"--time-to-first-token", "10ms", "--inter-token-latency", "1ms")
	sim.Stdout, sim.Stderr = os.Stdout, os.Stderr
	sim.Cancel = func() error { return sim.Process.Signal(syscall.SIGTERM) }
	g, err := newGate(port)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(o.host, o.port))
	if err != nil {
		return err
	}
	if err := sim.Start(); err != nil {
		return err
	}
	server := &http.Server{Handler: g}
	go func() { _ = server.Serve(l) }()
	err = sim.Wait()
	_ = server.Close()
	if ctx.Err() != nil {
		return nil // as asked
	}
	return fmt.Errorf("the server behind the gates ended: %w", err)
}

// served are the arguments of `vllm serve` that matter to the stand-in.
type served struct{ model, name, host, port, maxModelLen, maxNumSeqs string }

// parseServe reads the command line of `vllm serve`. What the stand-in does not know, vLLM might not know either.
func parseServe(args []string) (served, error) {
	var o served
	if len(args) < 2 || args[0] != "serve" {
		return o, fmt.Errorf("the arguments are %q, want serve and a model", args)
	}
	o.model = args[1]
	f := flag.NewFlagSet("vllm serve", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.name, "served-model-name", o.model, "")
	f.StringVar(&o.host, "host", "0.0.0.0", "")
	f.StringVar(&o.port, "port", "8000", "")
	f.StringVar(&o.maxModelLen, "max-model-len", "2048", "")
	f.StringVar(&o.maxNumSeqs, "max-num-seqs", "256", "")
	gpus := f.Int("tensor-parallel-size", 1, "")
	details := f.Bool("enable-prompt-tokens-details", false, "")
	f.Float64("gpu-memory-utilization", 0.9, "")
	f.String("dtype", "auto", "")
	switch err := f.Parse(args[2:]); {
	case err != nil:
		return o, fmt.Errorf("unrecognized arguments: %w", err)
	case f.NArg() > 0:
		return o, fmt.Errorf("unrecognized arguments: %q", f.Args())
	case *gpus != 1:
		return o, fmt.Errorf("there is one GPU, not %d", *gpus)
	case !*details:
		return o, errors.New("the answers would not say which tokens came from the cache")
	}
	return o, nil
}

// checkEnvironment checks what the engine sets: a key, no look at the Internet, and caches that can be made, none of them
// in the home folder.
func checkEnvironment() error {
	for _, name := range []string{"VLLM_API_KEY", "VLLM_PORT", gateFolder, gateProgram} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set", name)
		}
	}
	for _, name := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS"} {
		if v := os.Getenv(name); v != "1" {
			return fmt.Errorf("%s is %q, not 1", name, v)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	for _, name := range []string{
		"HF_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TRITON_CACHE_DIR",
		"TORCHINDUCTOR_CACHE_DIR", "NUMBA_CACHE_DIR", "CUDA_CACHE_PATH", "FLASHINFER_WORKSPACE_BASE",
	} {
		folder := os.Getenv(name)
		if !filepath.IsAbs(folder) || strings.HasPrefix(folder, home+"/") {
			return fmt.Errorf("%s is %q, which is no folder outside of the home folder", name, folder)
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// gate stands before a server. It asks for the API key as vLLM does, below /v1, and answers for the server until the step
// of readiness that a request belongs to is opened.
type gate struct {
	folder, key string
	server      *httputil.ReverseProxy
	mu          sync.Mutex
	log         *os.File
}

func newGate(port string) (*gate, error) {
	g := &gate{folder: os.Getenv(gateFolder), key: os.Getenv("VLLM_API_KEY")}
	g.server = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", port)})
	g.server.FlushInterval = -1 // each token at once
	var err error
	g.log, err = os.OpenFile(filepath.Join(g.folder, arrivals), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return g, err
}

// ServeHTTP notes a request, and passes it on if it may.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := arrival{Path: r.URL.Path, ID: r.Header.Get("X-Request-Id"), Key: r.Header.Get("Authorization") == "Bearer "+g.key}
	if err := g.note(a); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	switch {
	case strings.HasPrefix(a.Path, "/v1") && !a.Key:
		http.Error(w, `{"error":"Unauthorized"}`, http.StatusUnauthorized)
	case a.Path == "/health" && !g.open(gateHealth):
		http.Error(w, "the engine is not up", http.StatusServiceUnavailable)
	case a.Path == "/v1/models" && !g.open(gateModel):
		fmt.Fprint(w, `{"object":"list","data":[]}`)
	case strings.HasPrefix(a.Path, "/v1/") && a.Path != "/v1/models" && !g.open(gateToken):
		http.Error(w, "the kernels are not compiled", http.StatusServiceUnavailable)
	default:
		g.server.ServeHTTP(w, r)
	}
}

func (g *gate) open(step string) bool {
	_, err := os.Stat(filepath.Join(g.folder, step))
	return err == nil
}

func (g *gate) note(a arrival) error {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err = g.log.Write(append(line, '\n'))
	return err
}

// arrived are the requests that came to the stand-in so far.
func arrived(t *testing.T, folder string) []arrival {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, arrivals))
	if err != nil {
		t.Fatal(err)
	}
	var out []arrival
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var a arrival
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("%s: %q: %v", arrivals, line, err)
		}
		out = append(out, a)
	}
	return out
}

// Package vllm is the engine of the inference server vLLM, on one node or on several.
package vllm

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/engines/openai"
	"assay.bench/internal/rundir"
)

// Engine runs spec.vllm.
type Engine struct{}

// Name is the engine's field in a Service's spec.
func (Engine) Name() string { return "vllm" }

// Chosen says whether the parameters name this engine.
func (Engine) Chosen(p *v1alpha1.ServiceParameters) bool { return p.VLLM != nil }

// Plan renders the command line of vllm serve.
func (Engine) Plan(p *v1alpha1.ServiceParameters, _ uint64, s *rundir.Service) error {
	c := p.VLLM
	if err := checkFolders(c); err != nil {
		return err
	}
	if err := checkSizes(p); err != nil {
		return err
	}
	options, err := options(c)
	if err != nil {
		return err
	}
	s.Argv = slices.Concat(serve(c), options, c.ExtraArgs)
	s.Ports = []rundir.Port{{Name: "http"}, {Name: "internal"}}
	s.Env = environ(c)
	openai.Plan(s, cmp.Or(c.ServedModelName, c.Model))
	s.Scrapes[0].Settle = rundir.Duration(settle)
	if p.Resources.Nodes > 1 {
		spread(p, options, s)
	}
	for _, e := range c.Env {
		s.Env = append(s.Env, rundir.EnvVar(e))
	}
	if c.CacheFolder == "" {
		s.Folders = []string{runCache}
	}
	if s.Image != nil {
		s.Image.GPUs = true
		if strings.HasPrefix(c.Model, "/") {
			s.Image.Binds = append(s.Image.Binds, rundir.Bind{Path: path.Clean(c.Model)})
		}
		if c.CacheFolder != "" {
			s.Image.Binds = append(s.Image.Binds, rundir.Bind{Path: path.Clean(c.CacheFolder), Writable: true})
		}
	}
	return nil
}

// settle is how much later than a token leaves it may be counted: that is done aside, by the process that answers.
const settle = 250 * time.Millisecond

// runCache is where the caches lie that do not outlive the run.
const runCache = "$(DIR)/cache"

// checkFolders refuses the root of the file system: it is no model, and a container would see all of the node.
func checkFolders(c *v1alpha1.VLLMEngine) error {
	if path.Clean(c.Model) == "/" {
		return v1alpha1.At("model", errors.New("the root of the file system is no model: name the folder that holds it"))
	}
	if c.CacheFolder != "" && path.Clean(c.CacheFolder) == "/" {
		return v1alpha1.At("cacheFolder", errors.New("the root of the file system is no cache: name a folder that you may write to"))
	}
	return nil
}

// serve is the beginning of the command line, with where it listens.
func serve(c *v1alpha1.VLLMEngine) []string {
	return append(named(c), "--host", "$(HOST)", "--port", "$(PORT)")
}

func named(c *v1alpha1.VLLMEngine) []string {
	return []string{"vllm", "serve", c.Model, "--served-model-name", cmp.Or(c.ServedModelName, c.Model)}
}

// options are the same on every node. What a recipe does not say is left to vLLM, so that its own defaults are what is
// measured. --disable-log-requests is not there: new versions do not log requests and refuse the flag.
func options(c *v1alpha1.VLLMEngine) ([]string, error) {
	out := []string{"--tensor-parallel-size", strconv.Itoa(int(cmp.Or(c.TensorParallelSize, 1))), "--enable-prompt-tokens-details"}
	if c.PipelineParallelSize > 1 {
		out = append(out, "--pipeline-parallel-size", strconv.Itoa(int(c.PipelineParallelSize)))
	}
	if c.GPUMemoryUtilization != "" {
		if share, err := c.GPUMemoryUtilization.Float(); err != nil || share <= 0 || share > 1 {
			return nil, v1alpha1.At("gpuMemoryUtilization", errors.New("it is a share of the memory: above 0 and at most 1, such as 0.9"))
		}
		out = append(out, "--gpu-memory-utilization", string(c.GPUMemoryUtilization))
	}
	if c.MaxModelLen > 0 {
		out = append(out, "--max-model-len", strconv.Itoa(int(c.MaxModelLen)))
	}
	if c.MaxNumSeqs > 0 {
		out = append(out, "--max-num-seqs", strconv.Itoa(int(c.MaxNumSeqs)))
	}
	if c.DType != "" {
		out = append(out, "--dtype", c.DType)
	}
	return out, nil
}

// isOffline says that vLLM may not ask Hugging Face.
func isOffline(c *v1alpha1.VLLMEngine) bool {
	mayBeThere := c.CacheFolder != "" || strings.HasPrefix(c.Model, "/")
	return c.Download == v1alpha1.DownloadNever || c.Download == "" && mayBeThere
}

// environ keeps every cache out of the home folder, which a container may not see or may not write.
func environ(c *v1alpha1.VLLMEngine) []rundir.EnvVar {
	cache := runCache
	if c.CacheFolder != "" {
		cache = path.Clean(c.CacheFolder)
	}
	out := []rundir.EnvVar{
		{Name: "HF_HOME", Value: cache + "/hf"},
		{Name: "XDG_CACHE_HOME", Value: cache}, {Name: "XDG_CONFIG_HOME", Value: cache + "/config"},
		{Name: "VLLM_CACHE_ROOT", Value: cache + "/vllm"}, {Name: "VLLM_CONFIG_ROOT", Value: cache + "/config/vllm"},
		{Name: "TRITON_CACHE_DIR", Value: cache + "/triton"}, {Name: "TORCHINDUCTOR_CACHE_DIR", Value: cache + "/inductor"},
		{Name: "NUMBA_CACHE_DIR", Value: cache + "/numba"}, {Name: "CUDA_CACHE_PATH", Value: cache + "/cuda"},
		{Name: "FLASHINFER_WORKSPACE_BASE", Value: cache + "/flashinfer"},
		// Longer than the pause of any client between two requests.
		{Name: "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", Value: "120"},
		// Where vLLM takes the ports by which its processes talk to each other.
		{Name: "VLLM_PORT", Value: "$(PORT_INTERNAL)"},
		{Name: "VLLM_NO_USAGE_STATS", Value: "1"},
	}
	if isOffline(c) {
		out = append(out, rundir.EnvVar{Name: "HF_HUB_OFFLINE", Value: "1"}, rundir.EnvVar{Name: "TRANSFORMERS_OFFLINE", Value: "1"})
	}
	return out
}

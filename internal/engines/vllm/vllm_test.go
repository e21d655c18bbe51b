package vllm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/engines/vllm"
	"assay.bench/internal/rundir"
)

func planned(t *testing.T, p v1alpha1.ServiceParameters, image *rundir.Image) (rundir.Service, error) {
	t.Helper()
	s := rundir.Service{Image: image}
	err := vllm.Engine{}.Plan(&p, 1, &s)
	return s, err
}

// environ is the engine's environment with the caches in a folder.
func environ(cache string, more ...rundir.EnvVar) []rundir.EnvVar {
	return append([]rundir.EnvVar{
		{Name: "HF_HOME", Value: cache + "/hf"},
		{Name: "XDG_CACHE_HOME", Value: cache}, {Name: "XDG_CONFIG_HOME", Value: cache + "/config"},
		{Name: "VLLM_CACHE_ROOT", Value: cache + "/vllm"}, {Name: "VLLM_CONFIG_ROOT", Value: cache + "/config/vllm"},
		{Name: "TRITON_CACHE_DIR", Value: cache + "/triton"}, {Name: "TORCHINDUCTOR_CACHE_DIR", Value: cache + "/inductor"},
		{Name: "NUMBA_CACHE_DIR", Value: cache + "/numba"}, {Name: "CUDA_CACHE_PATH", Value: cache + "/cuda"},
		{Name: "FLASHINFER_WORKSPACE_BASE", Value: cache + "/flashinfer"},
		{Name: "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", Value: "120"},
		{Name: "VLLM_PORT", Value: "$(PORT_INTERNAL)"},
		{Name: "VLLM_NO_USAGE_STATS", Value: "1"},
	}, more...)
}

// offline keeps vLLM from asking Hugging Face.
func offline() []rundir.EnvVar {
	return []rundir.EnvVar{{Name: "HF_HUB_OFFLINE", Value: "1"}, {Name: "TRANSFORMERS_OFFLINE", Value: "1"}}
}

// service is what every vLLM has.
func service(model string, argv ...string) rundir.Service {
	return rundir.Service{
		Argv:  argv,
		Ports: []rundir.Port{{Name: "http"}, {Name: "internal"}}, Authenticated: true,
		Credential: rundir.CredentialEnv{Token: "VLLM_API_KEY"},
		Probes: []rundir.Probe{
			{Type: rundir.ProbeHTTP, Path: "/health", Status: 200},
			{Type: rundir.ProbeModel, Model: model},
			{Type: rundir.ProbeToken, Model: model},
		},
		Scrapes: []rundir.Scrape{{Name: "server", PortName: "http", Path: "/metrics", Settle: rundir.Duration(250 * time.Millisecond)}},
		CrossChecks: []rundir.CrossCheck{
			{Target: "server", Metric: "vllm:generation_tokens_total", Total: "output_tokens"},
			{Target: "server", Metric: "vllm:prompt_tokens_total", Total: "input_tokens"},
		},
		Protocol: rundir.ProtocolOpenAI, Model: model,
	}
}

// What a recipe gets that names a model and no more: it is downloaded, for nothing is there, and the caches go with the run.
func TestPlan(t *testing.T) {
	got, err := planned(t, v1alpha1.ServiceParameters{VLLM: &v1alpha1.VLLMEngine{Model: "facebook/opt-125m"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := service("facebook/opt-125m", "vllm", "serve", "facebook/opt-125m", "--served-model-name", "facebook/opt-125m",
		"--host", "$(HOST)", "--port", "$(PORT)", "--tensor-parallel-size", "1", "--enable-prompt-tokens-details")
	want.Env = environ("$(DIR)/cache")
	want.Folders = []string{"$(DIR)/cache"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Hugging Face is asked for what cannot be there, and else only where the recipe allows it.
func TestOffline(t *testing.T) {
	for reason, c := range map[string]struct {
		in   v1alpha1.VLLMEngine
		want bool
	}{
		"no cache that could have it":   {v1alpha1.VLLMEngine{Model: "m"}, false},
		"a cache is there for that":     {v1alpha1.VLLMEngine{Model: "m", CacheFolder: "/cache"}, true},
		"a folder is the model":         {v1alpha1.VLLMEngine{Model: "/m"}, true},
		"the image may have it":         {v1alpha1.VLLMEngine{Model: "m", Download: v1alpha1.DownloadNever}, true},
		"a cache that is filled by use": {v1alpha1.VLLMEngine{Model: "m", CacheFolder: "/cache", Download: v1alpha1.DownloadAllow}, false},
	} {
		got, err := planned(t, v1alpha1.ServiceParameters{VLLM: &c.in}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range offline() {
			if slices.Contains(got.Env, e) != c.want {
				t.Errorf("%s: %s is set: %t, want %t", reason, e.Name, !c.want, c.want)
			}
		}
	}
}

// All that a recipe can say, in a container: it sees the GPUs, the model, which it cannot change, and the caches.
func TestPlanInAnImage(t *testing.T) {
	p := v1alpha1.ServiceParameters{
		VLLM: &v1alpha1.VLLMEngine{
			Model: "/scratch/models/opt/", ServedModelName: "opt", TensorParallelSize: 4, MaxModelLen: 2048, MaxNumSeqs: 64,
			GPUMemoryUtilization: "1", DType: "bfloat16", CacheFolder: "/scratch/cache/", Download: v1alpha1.DownloadAllow,
			Env:       []v1alpha1.EnvVar{{Name: "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", Value: "60"}},
			ExtraArgs: []string{"--seed", "7"},
		},
		Resources: v1alpha1.Resources{GPUsPerNode: 4},
	}
	got, err := planned(t, p, &rundir.Image{URI: "/scratch/vllm.sif", Binds: []rundir.Bind{{Path: "/data"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := service("opt", "vllm", "serve", "/scratch/models/opt/", "--served-model-name", "opt",
		"--host", "$(HOST)", "--port", "$(PORT)", "--tensor-parallel-size", "4", "--enable-prompt-tokens-details",
		"--gpu-memory-utilization", "1", "--max-model-len", "2048", "--max-num-seqs", "64", "--dtype", "bfloat16", "--seed", "7")
	want.Env = environ("/scratch/cache", rundir.EnvVar{Name: "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", Value: "60"}) // the last one counts
	want.Image = &rundir.Image{URI: "/scratch/vllm.sif", GPUs: true, Binds: []rundir.Bind{
		{Path: "/data"}, {Path: "/scratch/models/opt"}, {Path: "/scratch/cache", Writable: true},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A model of Hugging Face is no folder to bind, and the run's own cache lies in a folder that the container sees anyway.
func TestImageOfAHubModel(t *testing.T) {
	got, err := planned(t, v1alpha1.ServiceParameters{VLLM: &v1alpha1.VLLMEngine{Model: "facebook/opt-125m"}}, &rundir.Image{URI: "/vllm.sif"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&rundir.Image{URI: "/vllm.sif", GPUs: true}, got.Image); diff != "" || !slices.Equal(got.Folders, []string{"$(DIR)/cache"}) {
		t.Errorf("folders %q, image -want +got:\n%s", got.Folders, diff)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		in     v1alpha1.VLLMEngine
		gpus   int32
		want   string
	}{
		"as many GPUs as asked for": {"each layer on all of them", v1alpha1.VLLMEngine{Model: "m", TensorParallelSize: 4}, 4, ""},
		"GPUs of nobody's asking":   {"a node of one's own has what it has", v1alpha1.VLLMEngine{Model: "m", TensorParallelSize: 4}, 0, ""},
		"too few GPUs": {
			"vLLM would wait for the others", v1alpha1.VLLMEngine{Model: "m", TensorParallelSize: 4}, 2,
			"tensorParallelSize: 4 GPUs share each layer, and resources.gpusPerNode asks for 2: ask for as many",
		},
		"no memory": {
			"nothing would fit", v1alpha1.VLLMEngine{Model: "m", GPUMemoryUtilization: "0"}, 1,
			"gpuMemoryUtilization: it is a share of the memory: above 0 and at most 1, such as 0.9",
		},
		"more than all memory": {
			"there is no more", v1alpha1.VLLMEngine{Model: "m", GPUMemoryUtilization: "1.1"}, 1,
			"gpuMemoryUtilization: it is a share of the memory: above 0 and at most 1, such as 0.9",
		},
		"all memory": {"the bound itself", v1alpha1.VLLMEngine{Model: "m", GPUMemoryUtilization: "1.0"}, 1, ""},
		"the root as model": {
			"a container would see the whole node", v1alpha1.VLLMEngine{Model: "//"}, 1,
			"model: the root of the file system is no model: name the folder that holds it",
		},
		"the root as cache": {
			"a container could write to the whole node", v1alpha1.VLLMEngine{Model: "m", CacheFolder: "/."}, 1,
			"cacheFolder: the root of the file system is no cache: name a folder that you may write to",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planned(t, v1alpha1.ServiceParameters{VLLM: &c.in, Resources: v1alpha1.Resources{GPUsPerNode: c.gpus}}, nil)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

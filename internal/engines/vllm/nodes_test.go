package vllm_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// twoNodes is a model on two nodes of four GPUs.
func twoNodes(executor string) v1alpha1.ServiceParameters {
	return v1alpha1.ServiceParameters{
		VLLM: &v1alpha1.VLLMEngine{
			Model: "m", TensorParallelSize: 4, PipelineParallelSize: 2, DistributedExecutor: executor, MaxModelLen: 2048,
			Env: []v1alpha1.EnvVar{{Name: "NCCL_DEBUG", Value: "INFO"}}, ExtraArgs: []string{"--seed", "7"},
		},
		Resources: v1alpha1.Resources{Nodes: 2, GPUsPerNode: 4},
	}
}

// spread is what vLLM on two nodes has whatever launches it.
func spread(port string, more ...rundir.EnvVar) rundir.Service {
	s := service("m")
	s.Group = 2
	s.Folders = []string{"$(DIR)/cache"}
	s.Ports = append(s.Ports, rundir.Port{Name: port})
	s.Scrapes[0].Leader = true
	s.Env = environ("$(DIR)/cache")
	s.Env = append(s.Env, rundir.EnvVar{Name: "VLLM_HOST_IP", Value: "$(HOST)"},
		rundir.EnvVar{Name: "NCCL_SOCKET_IFNAME", Value: "$(INTERFACE)"}, rundir.EnvVar{Name: "GLOO_SOCKET_IFNAME", Value: "$(INTERFACE)"})
	s.Env = append(append(s.Env, more...), rundir.EnvVar{Name: "NCCL_DEBUG", Value: "INFO"})
	return s
}

// vLLM's own launcher: every node runs vllm serve, and all but the first without a server of HTTP.
func TestNativeOnTwoNodes(t *testing.T) {
	want := spread("master")
	want.Argv = []string{
		"vllm", "serve", "m", "--served-model-name", "m", "--host", "$(HOST)", "--port", "$(PORT)",
		"--tensor-parallel-size", "4", "--enable-prompt-tokens-details", "--pipeline-parallel-size", "2", "--max-model-len", "2048",
		"--distributed-executor-backend", "mp", "--nnodes", "2", "--node-rank", "$(RANK)",
		"--master-addr", "$(LEADER)", "--master-port", "$(LEADER_PORT_MASTER)", "--seed", "7",
	}
	want.Worker = &rundir.Worker{Ports: []rundir.Port{{Name: "internal"}}, Argv: []string{
		"vllm", "serve", "m", "--served-model-name", "m",
		"--tensor-parallel-size", "4", "--enable-prompt-tokens-details", "--pipeline-parallel-size", "2", "--max-model-len", "2048",
		"--distributed-executor-backend", "mp", "--nnodes", "2", "--node-rank", "$(RANK)",
		"--master-addr", "$(LEADER)", "--master-port", "$(LEADER_PORT_MASTER)", "--headless", "--seed", "7",
	}}
	for _, executor := range []string{"", v1alpha1.ExecutorNative} {
		got, err := planned(t, twoNodes(executor), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got:\n%s", executor, diff)
		}
	}
}

// Ray: its head and vLLM on the first node, and a Ray worker on every other one, once the head answers.
func TestRayOnTwoNodes(t *testing.T) {
	want := spread("ray", rundir.EnvVar{Name: "RAY_USAGE_STATS_ENABLED", Value: "0"})
	want.Argv = []string{
		"sh", "-c", `ray start --head --node-ip-address="$1" --port="$2" --num-gpus="$3" --include-dashboard=false && ` +
			`export RAY_ADDRESS="$1:$2" && shift 3 && exec "$@"`,
		"ray", "$(HOST)", "$(PORT_RAY)", "4",
		"vllm", "serve", "m", "--served-model-name", "m", "--host", "$(HOST)", "--port", "$(PORT)",
		"--tensor-parallel-size", "4", "--enable-prompt-tokens-details", "--pipeline-parallel-size", "2", "--max-model-len", "2048",
		"--distributed-executor-backend", "ray", "--seed", "7",
	}
	want.Worker = &rundir.Worker{Ports: []rundir.Port{{Name: "internal"}}, After: "ray", Argv: []string{
		"ray", "start", "--address=$(LEADER):$(LEADER_PORT_RAY)", "--node-ip-address=$(HOST)", "--num-gpus=4", "--block",
	}}
	got, err := planned(t, twoNodes(v1alpha1.ExecutorRay), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSizes(t *testing.T) {
	for name, c := range map[string]struct {
		reason           string
		tensor, pipeline int32
		nodes, gpus      int32
		want             string
	}{
		"all of two nodes":   {"", 4, 2, 2, 4, ""},
		"pipeline only":      {"each GPU a stage", 1, 8, 2, 4, ""},
		"tensors over nodes": {"slow, and allowed", 8, 1, 2, 4, ""},
		"stages on one node": {"", 2, 2, 1, 4, ""},
		"too few": {
			"GPUs would stand idle, or the nodes not find each other", 4, 1, 2, 4,
			"pipelineParallelSize: tensorParallelSize 4 × pipelineParallelSize 1 = 4 GPUs, and resources ask for nodes 2 × gpusPerNode 4 = 8: make them equal",
		},
		"too many": {
			"vLLM would wait for more nodes", 4, 4, 2, 4,
			"pipelineParallelSize: tensorParallelSize 4 × pipelineParallelSize 4 = 16 GPUs, and resources ask for nodes 2 × gpusPerNode 4 = 8: make them equal",
		},
		"unknown GPUs": {
			"the nodes divide the ranks equally", 4, 2, 2, 0,
			"pipelineParallelSize: on several nodes vLLM has to know the GPUs of each: set resources.gpusPerNode",
		},
		"too many for one node": {
			"", 4, 2, 1, 4,
			"pipelineParallelSize: tensorParallelSize 4 × pipelineParallelSize 2 = 8 GPUs, and resources.gpusPerNode asks for 4 on one node: ask for as many, or for more nodes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := v1alpha1.ServiceParameters{
				VLLM:      &v1alpha1.VLLMEngine{Model: "m", TensorParallelSize: c.tensor, PipelineParallelSize: c.pipeline},
				Resources: v1alpha1.Resources{Nodes: c.nodes, GPUsPerNode: c.gpus},
			}
			got := ""
			if _, err := planned(t, p, nil); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

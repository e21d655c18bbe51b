package vllm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// checkSizes compares the GPUs that the model is divided over with those that are asked for.
func checkSizes(p *v1alpha1.ServiceParameters) error {
	tensor, pipeline := cmp.Or(p.VLLM.TensorParallelSize, 1), cmp.Or(p.VLLM.PipelineParallelSize, 1)
	nodes, gpus := max(1, p.Resources.Nodes), p.Resources.GPUsPerNode
	words := fmt.Sprintf("tensorParallelSize %d × pipelineParallelSize %d = %d GPUs", tensor, pipeline, tensor*pipeline)
	switch {
	case nodes > 1 && gpus == 0:
		return v1alpha1.At("pipelineParallelSize", errors.New("on several nodes vLLM has to know the GPUs of each: set resources.gpusPerNode"))
	case nodes > 1 && tensor*pipeline != nodes*gpus:
		return v1alpha1.At("pipelineParallelSize", fmt.Errorf("%s, and resources ask for nodes %d × gpusPerNode %d = %d: make them equal", words, nodes, gpus, nodes*gpus))
	case nodes > 1 || gpus == 0 || tensor*pipeline <= gpus:
		return nil
	case pipeline == 1:
		return v1alpha1.At("tensorParallelSize", fmt.Errorf("%d GPUs share each layer, and resources.gpusPerNode asks for %d: ask for as many", tensor, gpus))
	}
	return v1alpha1.At("pipelineParallelSize", fmt.Errorf("%s, and resources.gpusPerNode asks for %d on one node: ask for as many, or for more nodes", words, gpus))
}

// rayHead is a line of shell that starts the head of a Ray cluster beside vLLM: $1 is its address, $2 its port and $3 the
// number of GPUs, and the rest is the command of vLLM.
const rayHead = `ray start --head --node-ip-address="$1" --port="$2" --num-gpus="$3" --include-dashboard=false && export RAY_ADDRESS="$1:$2" && shift 3 && exec "$@"`

// spread makes the server one of several nodes.
func spread(p *v1alpha1.ServiceParameters, options []string, s *rundir.Service) {
	c, nodes := p.VLLM, strconv.Itoa(int(p.Resources.Nodes))
	s.Group = int(p.Resources.Nodes)
	s.Env = append(s.Env,
		// The address and the interface by which vLLM, NCCL and Gloo find the other nodes: their own choice may be a network
		// that does not lead there.
		rundir.EnvVar{Name: "VLLM_HOST_IP", Value: "$(HOST)"},
		rundir.EnvVar{Name: "NCCL_SOCKET_IFNAME", Value: "$(INTERFACE)"}, rundir.EnvVar{Name: "GLOO_SOCKET_IFNAME", Value: "$(INTERFACE)"})
	for i := range s.Scrapes {
		s.Scrapes[i].Leader = true // the engine's processes elsewhere serve nothing
	}
	s.Worker = &rundir.Worker{Ports: []rundir.Port{{Name: "internal"}}}
	if c.DistributedExecutor == v1alpha1.ExecutorRay {
		gpus := strconv.Itoa(int(p.Resources.GPUsPerNode))
		s.Ports = append(s.Ports, rundir.Port{Name: "ray"})
		s.Env = append(s.Env, rundir.EnvVar{Name: "RAY_USAGE_STATS_ENABLED", Value: "0"})
		s.Argv = slices.Concat([]string{"sh", "-c", rayHead, "ray", "$(HOST)", "$(PORT_RAY)", gpus},
			serve(c), options, []string{"--distributed-executor-backend", "ray"}, c.ExtraArgs)
		s.Worker.Argv = []string{"ray", "start", "--address=$(LEADER):$(LEADER_PORT_RAY)", "--node-ip-address=$(HOST)", "--num-gpus=" + gpus, "--block"}
		s.Worker.After = "ray"
		return
	}
	s.Ports = append(s.Ports, rundir.Port{Name: "master"})
	rendezvous := []string{
		"--distributed-executor-backend", "mp", "--nnodes", nodes, "--node-rank", "$(RANK)",
		"--master-addr", "$(LEADER)", "--master-port", "$(LEADER_PORT_MASTER)",
	}
	s.Argv = slices.Concat(serve(c), options, rendezvous, c.ExtraArgs)
	s.Worker.Argv = slices.Concat(named(c), options, rendezvous, []string{"--headless"}, c.ExtraArgs)
}

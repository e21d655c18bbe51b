package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// spread is a server on two nodes, whose GPUs the site's defaults name, under a client of four instances on two others.
func spread(in *plan.Input) {
	in.Site.Spec.Jobs.CLI = &v1alpha1.CLIDoor{}
	in.Site.Spec.Defaults.Service.GPUsPerNode = 4
	s := &in.Services[0].Spec
	s.LLMSim, s.VLLM = nil, &v1alpha1.VLLMEngine{Model: "m", TensorParallelSize: 4, PipelineParallelSize: 2}
	s.Resources = v1alpha1.Resources{Nodes: 2}
	s.Metrics.Targets = []v1alpha1.MetricTarget{{Name: "node", Port: 9100}, {Name: "more", PortName: "http"}}
	in.Clients[0].Spec.Instances, in.Clients[0].Spec.Resources.Nodes = 4, 2
}

func TestMakeSpreadsAServerOverNodes(t *testing.T) {
	in := input()
	spread(&in)
	out, err := plan.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	s := out.Plan.Services[0]
	if s.Ranks != 2 || s.Group != 2 || s.Worker == nil || s.Resources.Nodes != 2 || s.Resources.GPUsPerNode != 4 {
		t.Errorf("the server: %+v, want two ranks on two nodes of four GPUs", s)
	}
	leader := map[string]bool{}
	for _, sc := range s.Scrapes {
		leader[sc.Name] = sc.Leader
	}
	if diff := cmp.Diff(map[string]bool{"server": true, "node": false, "more": true}, leader); diff != "" {
		t.Errorf("targets that only the first rank has (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]rundir.Component{{Name: "sim", Ranks: 2, Group: 2}}, out.Plan.AllServices); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	want := []slurmbridge.Part{
		{Account: "p1", Partition: "gpu", Nodes: 2, TasksPerNode: 1, GPUsPerNode: 4},
		{Account: "p1", Partition: "cpu", Nodes: 2, TasksPerNode: 2},
	}
	if diff := cmp.Diff(want, out.Script.Parts); diff != "" {
		t.Errorf("the job (-want +got):\n%s", diff)
	}
}

// A client in another job has to know which ranks of the server it can talk to.
func TestMakeTellsAPeerOfTheRanks(t *testing.T) {
	in := input()
	spread(&in)
	in.Job.Spec.Components = in.Job.Spec.Components[1:]
	in.Job.Spec.Run.Peers = []v1alpha1.PeerReference{{ComponentReference: v1alpha1.ComponentReference{Kind: "Service", Name: "demo-sim"}, Job: "demo-g1-sim"}}
	out, err := plan.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []rundir.Component{{Name: "sim", Job: "/scratch/p1/" + origin + "/lab/demo/g1/demo-g1-sim", Ranks: 2, Group: 2}}
	if diff := cmp.Diff(want, out.Plan.AllServices); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

// Replicas have nodes of their own, each as many as one server asks for.
func TestMakeRunsReplicas(t *testing.T) {
	in := input()
	spread(&in)
	in.Services[0].Spec.Replicas = 3
	out, err := plan.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	if s := out.Plan.Services[0]; s.Ranks != 6 || s.Group != 2 || s.Resources.Nodes != 6 {
		t.Errorf("the servers: %d ranks by %d on %d nodes, want 6 by 2 on 6", s.Ranks, s.Group, s.Resources.Nodes)
	}
	if got := out.Script.Parts[0]; got.Nodes != 6 || got.TasksPerNode != 1 {
		t.Errorf("the job: %+v, want 6 nodes with a task each", got)
	}
	in.Services[0].Spec.VLLM, in.Services[0].Spec.Command = nil, &v1alpha1.CommandEngine{Argv: []string{"store"}, Protocol: rundir.ProtocolS3}
	in.Services[0].Spec.Metrics.Targets = nil
	const want = "service sim: replicas: each replica would hold only what its own clients stored"
	if _, err := plan.Make(in); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What does not add up is found before anything is handed in, by validate with the field's path.
func TestCheckAddsUpTheGPUs(t *testing.T) {
	bm := benchmark()
	bm.Spec.Services[0].LLMSim = nil
	bm.Spec.Services[0].VLLM = &v1alpha1.VLLMEngine{Model: "m", TensorParallelSize: 4}
	bm.Spec.Services[0].Resources = v1alpha1.Resources{Nodes: 2}
	site := &v1alpha1.Site{Spec: v1alpha1.SiteSpec{Defaults: v1alpha1.SiteDefaults{Service: v1alpha1.Resources{GPUsPerNode: 4}}}}
	problems := plan.Check(bm, site)
	const want = "spec.services[0].vllm.pipelineParallelSize: tensorParallelSize 4 × pipelineParallelSize 1 = 4 GPUs, " +
		"and resources ask for nodes 2 × gpusPerNode 4 = 8: make them equal"
	if len(problems) != 1 || problems[0].Error() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
	bm.Spec.Services[0].VLLM.PipelineParallelSize = 2
	if problems := plan.Check(bm, site); len(problems) > 0 {
		t.Errorf("it adds up, and is refused: %v", problems)
	}
}

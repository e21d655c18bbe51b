package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

var (
	digest1 = "sha256:" + strings.Repeat("1", 64)
	sif1    = "/scratch/p1/images/" + strings.Repeat("1", 64) + ".sif"
)

// pullInput is the job that pulls an image of a registry.
func pullInput() plan.Input {
	in := input()
	in.Services, in.Clients = nil, nil
	in.Job.Name, in.Job.Spec.Components = "demo-g1.images", nil
	in.Job.Spec.Images = []v1alpha1.PulledImage{{URI: "docker://reg:5000/a/b:v1", Digest: digest1}}
	return in
}

func TestMakeOfAPull(t *testing.T) {
	out, err := plan.Make(pullInput())
	if err != nil {
		t.Fatal(err)
	}
	want := []rundir.ImagePull{{URI: "docker://reg:5000/a/b:v1", Digest: digest1, SIF: sif1}}
	if diff := cmp.Diff(want, out.Plan.Images); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	part := []slurmbridge.Part{{Account: "p1", Partition: "cpu", Nodes: 1, TasksPerNode: 1, CPUsPerTask: 4}}
	if diff := cmp.Diff(part, out.Script.Parts); diff != "" || out.Script.TimeLimit != 30*time.Minute {
		t.Errorf("a client's resources and half an hour (-want +got):\n%s\n%s", diff, out.Script.TimeLimit)
	}
	if diff := cmp.Diff([]plan.StoredImage{{URI: "docker://reg:5000/a/b:v1", Digest: digest1, SIF: sif1, Record: strings.TrimSuffix(sif1, "sif") + "json"}}, out.Images); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	in := pullInput()
	in.Site.Spec.Images = v1alpha1.SiteImages{InsecureRegistries: []string{"other", "reg:5000"},
		Resources: v1alpha1.Resources{Partition: "dm", TimeLimit: "2h", Nodes: 3, CPUsPerTask: 32, Memory: "64Gi"}}
	if out, err = plan.Make(in); err != nil {
		t.Fatal(err)
	}
	part = []slurmbridge.Part{{Account: "p1", Partition: "dm", Nodes: 1, TasksPerNode: 1, CPUsPerTask: 32, MemoryMiB: 65536}}
	if diff := cmp.Diff(part, out.Script.Parts); diff != "" || out.Script.TimeLimit != 2*time.Hour || !out.Plan.Images[0].Insecure {
		t.Errorf("the Site's own words (-want +got):\n%s\n%s, %+v", diff, out.Script.TimeLimit, out.Plan.Images)
	}
	in.Site.Spec.Images.Resources.TimeLimit = "soon"
	if _, err := plan.Make(in); err == nil || !strings.Contains(err.Error(), "images.resources.timeLimit") {
		t.Errorf("%v, want the field", err)
	}
}

// A service runs in the file of the store. Only one that no Benchmark owns has it pulled by its own job.
func TestMakeOfAServiceWithAnImage(t *testing.T) {
	in := input()
	s := &in.Services[0].Spec
	s.LLMSim, s.Command = nil, &v1alpha1.CommandEngine{Argv: []string{"serve"}, Model: "m", Protocol: "OpenAI", Ports: []v1alpha1.Port{{Name: "http"}}}
	s.Image = &v1alpha1.Image{URI: "docker://a/b", Digest: digest1}
	owners := map[string]struct {
		owner, pull string
		pulls       int
	}{
		"a Benchmark's":         {"demo", v1alpha1.PullByJob, 0},
		"its own":               {"service.demo-sim", v1alpha1.PullByJob, 1},
		"its own, never pulled": {"service.demo-sim", v1alpha1.PullNever, 0},
	}
	for name, c := range owners {
		in.Job.Spec.Run.Owner, in.Site.Spec.Images.Pull = c.owner, c.pull
		out, err := plan.Make(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Plan.Services[0].Image.SIF; got != sif1 || len(out.Plan.Images) != c.pulls || len(out.Images) != 1 {
			t.Errorf("%s: runs %s, pulls %v, needs %v; want %s and %d pulls", name, got, out.Plan.Images, out.Images, sif1, c.pulls)
		}
	}
	s.Image = &v1alpha1.Image{URI: "/a.sif", Digest: digest1}
	out, err := plan.Make(in)
	if err != nil || out.Plan.Services[0].Image.SIF != "" || len(out.Images) > 0 {
		t.Errorf("a file of the site: %+v, %v, %v", out.Plan.Services[0].Image, out.Images, err)
	}
}

package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

func s3Client(w v1alpha1.S3Workload) plan.Input {
	in := input()
	spec := &in.Clients[0].Spec
	spec.Inference, spec.S3 = nil, &w
	spec.Target = v1alpha1.Target{URL: "http://store:9000", Credentials: &v1alpha1.SecretReference{Name: "keys"}}
	return in
}

// The prefix names the control plane, the run, the attempt and the client, so that nobody else writes below it.
func TestS3(t *testing.T) {
	out, err := plan.Make(s3Client(v1alpha1.S3Workload{Prefix: "team/x", Size: v1alpha1.ObjectSize{Fixed: "8Mi"}}))
	if err != nil {
		t.Fatal(err)
	}
	want := &rundir.S3{
		Bucket: "assay", Prefix: "team/x/assay/" + origin + "/lab/demo/g1/demo-g1.2/load", Region: "us-east-1",
		Mix: rundir.S3Mix{Put: 1, Get: 1}, Objects: 64, Payload: rundir.PayloadUnsigned,
		Size: rundir.Size{Distribution: rundir.SizeUniform, Min: 8 << 20, Max: 8 << 20},
	}
	if diff := cmp.Diff(want, out.Plan.Clients[0].S3); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s := out.Secrets[len(out.Secrets)-1]; s.Name != "keys" || s.Needs != plan.NeedsPair {
		t.Errorf("the keys: %+v", s)
	}
}

// A line for each attempt is kept where the recipe asks for it, and of a simulator, which keeps its own.
func TestRecordRequests(t *testing.T) {
	for name, c := range map[string]struct {
		in          plan.Input
		asked, want bool
	}{
		"nobody asks":       {in: s3Client(v1alpha1.S3Workload{Size: v1alpha1.ObjectSize{Fixed: "1"}})},
		"the recipe asks":   {in: s3Client(v1alpha1.S3Workload{Size: v1alpha1.ObjectSize{Fixed: "1"}}), asked: true, want: true},
		"a simulator":       {in: input(), want: true},
		"a simulator asked": {in: input(), asked: true, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.Clients[0].Spec.RecordRequests = c.asked
			out, err := plan.Make(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := out.Plan.Clients[0].RecordRequests; got != c.want {
				t.Errorf("recordRequests is %t, want %t", got, c.want)
			}
		})
	}
}

func TestObjectSizes(t *testing.T) {
	for name, c := range map[string]struct {
		in   v1alpha1.ObjectSize
		want rundir.Size
		err  string
	}{
		"decimal": {
			in:   v1alpha1.ObjectSize{Uniform: &v1alpha1.SizeRange{Min: "1M", Max: "50M"}},
			want: rundir.Size{Distribution: rundir.SizeUniform, Min: 1_000_000, Max: 50_000_000},
		},
		"log-normal": {
			in:   v1alpha1.ObjectSize{LogNormal: &v1alpha1.LogNormalSize{Median: "1Mi", Sigma: "1.5", Min: "0", Max: "5Gi"}},
			want: rundir.Size{Distribution: rundir.SizeLogNormal, Max: 5 << 30, Median: 1 << 20, Sigma: 1.5},
		},
		"upside down": {in: v1alpha1.ObjectSize{Uniform: &v1alpha1.SizeRange{Min: "2", Max: "1"}}, err: "s3.size.uniform.min: 2 is above max, 1"},
		"too large":   {in: v1alpha1.ObjectSize{Fixed: "6Gi"}, err: `s3.size.fixed: "6Gi" is more than 5Gi, which is what one request may store`},
		"half a byte": {in: v1alpha1.ObjectSize{Uniform: &v1alpha1.SizeRange{Min: "0.5", Max: "1"}}, err: `s3.size.uniform.min: "0.5" is no whole number of bytes`},
		"no median":   {in: v1alpha1.ObjectSize{LogNormal: &v1alpha1.LogNormalSize{Median: "0", Sigma: "1", Max: "1"}}, err: "s3.size.logNormal"},
		"no spread":   {in: v1alpha1.ObjectSize{LogNormal: &v1alpha1.LogNormalSize{Median: "1", Sigma: "0", Min: "1", Max: "1"}}, err: `s3.size.logNormal.sigma: "0" is not above 0 and at most 5`},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := plan.Make(s3Client(v1alpha1.S3Workload{Size: c.in}))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.Plan.Clients[0].S3.Size); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A load that does not fit its target is refused before anything starts.
func TestCheckTargetsOfS3(t *testing.T) {
	objects := &v1alpha1.S3Workload{Size: v1alpha1.ObjectSize{Fixed: "1k"}}
	command := &v1alpha1.CommandEngine{Argv: []string{"x"}}
	for name, c := range map[string]struct {
		engine v1alpha1.ServiceParameters
		client v1alpha1.ClientParameters
		want   string
	}{
		"a store":        {v1alpha1.ServiceParameters{MinIO: &v1alpha1.MinIOEngine{}}, v1alpha1.ClientParameters{S3: objects}, ""},
		"it says so":     {v1alpha1.ServiceParameters{Command: &v1alpha1.CommandEngine{Argv: []string{"x"}, Protocol: "S3"}}, v1alpha1.ClientParameters{S3: objects}, ""},
		"a simulator":    {v1alpha1.ServiceParameters{LLMSim: &v1alpha1.LLMSimEngine{}}, v1alpha1.ClientParameters{S3: objects}, "service a runs llmsim, which is no object store: s3 needs one, such as minio"},
		"it is silent":   {v1alpha1.ServiceParameters{Command: command}, v1alpha1.ClientParameters{S3: objects}, "service a does not say that it speaks S3: if it does, set protocol: S3 in its command"},
		"prompts":        {v1alpha1.ServiceParameters{MinIO: &v1alpha1.MinIOEngine{}}, loadClient().Spec.ClientParameters, "service a is an object store, to which inference cannot be sent: use the workload s3"},
		"unknown target": {v1alpha1.ServiceParameters{MinIO: &v1alpha1.MinIOEngine{Drives: 2}}, v1alpha1.ClientParameters{S3: objects}, "spec.services[0].minio.drives"},
	} {
		t.Run(name, func(t *testing.T) {
			c.client.Target = v1alpha1.Target{Service: "a"}
			c.client.ClosedLoop, c.client.Duration, c.client.Instances = &v1alpha1.ClosedLoop{Concurrency: 2}, "10s", 1
			bm := &v1alpha1.Benchmark{Spec: v1alpha1.BenchmarkSpec{
				Services: []v1alpha1.BenchmarkService{{Name: "a", ServiceParameters: c.engine}},
				Clients:  []v1alpha1.BenchmarkClient{{Name: "b", ClientParameters: c.client}},
			}}
			problems := plan.Check(bm, nil)
			switch {
			case c.want == "" && len(problems) > 0:
				t.Errorf("got %v", problems)
			case c.want != "" && (len(problems) != 1 || !strings.Contains(problems[0].Error(), c.want)):
				t.Errorf("got %v, want %s", problems, c.want)
			}
		})
	}
	bm := &v1alpha1.Benchmark{Spec: v1alpha1.BenchmarkSpec{Clients: []v1alpha1.BenchmarkClient{{Name: "b", ClientParameters: v1alpha1.ClientParameters{
		Target: v1alpha1.Target{URL: "http://store"}, S3: objects, ClosedLoop: &v1alpha1.ClosedLoop{Concurrency: 1}, Duration: "1s",
	}}}}}
	if problems := plan.Check(bm, nil); len(problems) != 1 || !strings.Contains(problems[0].Error(), "s3 signs its requests") {
		t.Errorf("a URL without keys: %v", problems)
	}
}

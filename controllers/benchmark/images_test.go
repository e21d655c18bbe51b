package benchmark

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

var digestOf1 = "sha256:" + strings.Repeat("1", 64)

// withImages gives the benchmark three services with images: two of one registry's image, and a file.
func withImages(bm *v1alpha1.Benchmark) {
	one := bm.Spec.Services[0]
	one.LLMSim, one.Command = nil, &v1alpha1.CommandEngine{Argv: []string{"serve"}, Model: "m", Protocol: "OpenAI", Ports: []v1alpha1.Port{{Name: "http"}}}
	one.Image = &v1alpha1.Image{URI: "docker://a/b:v1", Digest: digestOf1}
	again, file := one, one
	again.Name, file.Name = "again", "file"
	again.Image = &v1alpha1.Image{URI: "docker://a/b:v2", Digest: digestOf1}
	file.Image = &v1alpha1.Image{URI: "/a.sif"}
	bm.Spec.Services = []v1alpha1.BenchmarkService{one, again, file}
}

func imageStates() map[string]state {
	bm := underRun(withImages)
	const job1 = "bm-g1.images"
	conditions := func(images string) []string {
		return []string{"ImagesReady=" + images, "ServicesReady=False Waiting", "LoadComplete=False Waiting", "Ready=False Progressing", "Reconciling=True Progressing"}
	}
	under := func(step, phase, images string, do ...string) sight {
		return sight{Phase: phase, Step: step, Progress: "0/2 ~1m", Conditions: conditions(images), Do: do}
	}
	return map[string]state{
		"image queued": {
			reason: "it says what waits in the queue",
			bm:     bm, world: world(bm, job(job1, inPhase("Queued"), func(j *v1alpha1.SlurmJob) { j.Status.Waiting = "Priority" })),
			want: under("pulls docker://a/b:v1 to the site's store: waits for the queue: Priority", "Queued", "False Pulling"),
		},
		"image pulled now": {
			reason: "a pull of minutes is no silence",
			bm:     bm, world: world(bm, job(job1, inPhase("Running"))),
			want: under("pulls docker://a/b:v1 to the site's store", "Starting", "False Pulling"),
		},
		"image there": {
			reason: "the jobs that need it are made now, and not before",
			bm:     bm, world: world(bm, job(job1, complete(metav1.ConditionTrue, v1alpha1.ReasonImagesPresent, "all there"))),
			want: under("makes the jobs", "Starting", "True ImagesPresent", "record "+runDirectory+"/run.json g1",
				"credential bm-sim-g1", "credential bm-again-g1", "credential bm-file-g1", "create SlurmJob bm-g1"),
		},
		"image refused": {
			reason: "a person has to put it there; the run is not over",
			bm:     bm, ended: true,
			world: world(bm, job(job1, func(j *v1alpha1.SlurmJob) {
				reconcile.Conditions{List: &j.Status.Conditions, Now: now}.Stalled(v1alpha1.ReasonImageMissing, "put it there")
			})),
			want: sight{
				Phase: "Invalid", Step: "put it there", Progress: "0/2 ~1m",
				Conditions: []string{"ImagesReady=False Pulling", "ServicesReady=False Waiting", "LoadComplete=False Waiting", "Ready=False ImageMissing", "Stalled=True ImageMissing"},
			},
		},
	}
}

// The image of a service stands in the result, by its digest and by its file.
func TestResultNamesTheImage(t *testing.T) {
	provenance, err := json.Marshal(map[string]any{"image": rundir.UsedImage{URI: "docker://a/b:v1", Digest: digestOf1, SIF: "/w/x.sif", SHA256: "abc", Size: 7}})
	if err != nil {
		t.Fatal(err)
	}
	const attempt = "/w/1"
	r := &reader{ctx: t.Context(), files: &memory{files: map[string][]byte{rundir.Rank(attempt, "sim", 0) + "/" + rundir.ProvenanceFile: provenance}}}
	e := JobEvidence{Plan: &rundir.Plan{Services: []rundir.Service{{Name: "sim", Ranks: 1, Image: &rundir.Image{}}, {Name: "bare", Ranks: 1}, {Name: "failed", Ranks: 1, Image: &rundir.Image{}}}}}
	r.images(&e, attempt)
	got := map[string]*results.ServiceImage{}
	for _, name := range []string{"sim", "bare", "failed"} {
		one := results.ServiceResult{Name: name}
		e.addService(&one)
		got[name] = one.Image
	}
	want := map[string]*results.ServiceImage{"sim": {URI: "docker://a/b:v1", Digest: digestOf1, SHA256: "abc", Size: 7}, "bare": nil, "failed": nil}
	if diff := cmp.Diff(want, got); diff != "" || len(e.Broken) > 0 || r.err != nil {
		t.Errorf("-want +got\n%s\n%v, %v", diff, e.Broken, r.err)
	}
}

package benchmark

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// imagesWave is the SlurmJob that fills the site's store with the images of the services, before the others: no GPU waits
// for a pull. There is none where no image comes from a registry.
func imagesWave(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus) []wave {
	images := plan.BenchmarkImages(bm)
	if len(images) == 0 {
		return nil
	}
	job := makeJob(bm, run, imagesJob(bm, run), v1alpha1.JobRun{
		Owner: bm.Name, Name: run.Name, FirstRepeat: 1, Repeats: v1alpha1.Repeats{Count: 1, Restart: v1alpha1.RestartProcess},
	}, nil)
	job.Spec.Images = images
	return []wave{{job}}
}

// imagesJob is its name: with a dot, which no component has in its own.
func imagesJob(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus) string {
	return bm.Name + "-" + run.Name + ".images"
}

// pulling is the job that pulls while it is not over; nil for none.
func (p *pass) pulling() *v1alpha1.SlurmJob {
	for _, job := range p.view.left {
		if len(job.Spec.Images) > 0 {
			return job
		}
	}
	return nil
}

// pullWords say what a job pulls.
func pullWords(images []v1alpha1.PulledImage) string {
	words := "pulls " + images[0].URI
	if more := len(images) - 1; more > 0 {
		words += fmt.Sprintf(" and %d more", more)
	}
	return words + " to the site's store"
}

// pullStep says in plain words what a job that pulls does right now.
func pullStep(job *v1alpha1.SlurmJob) (phase, step string) {
	words := pullWords(job.Spec.Images)
	if waits := reconcile.JobWaits(job); waits != "" {
		return phaseQueued, words + ": " + waits
	}
	return phaseStarting, words
}

// tellImages writes ImagesReady, where a service has an image from a registry.
func tellImages(p *pass) {
	images := plan.BenchmarkImages(p.bm)
	if len(images) == 0 {
		p.cond.Remove(v1alpha1.ConditionImagesReady)
		return
	}
	job := p.seen.Jobs[imagesJob(p.bm, p.run())]
	if job == nil {
		if !p.view.ended {
			p.cond.False(v1alpha1.ConditionImagesReady, v1alpha1.ReasonWaiting, "the job that pulls them is not made yet")
		}
		return // one that was deleted leaves what is known of it
	}
	succeeded := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionSucceeded)
	switch c := reconcile.JobEndedBadly(job); {
	case c != nil:
		p.cond.False(v1alpha1.ConditionImagesReady, c.Reason, c.Message)
	case succeeded != nil && succeeded.Status == metav1.ConditionTrue:
		p.cond.True(v1alpha1.ConditionImagesReady, succeeded.Reason, succeeded.Message)
	default:
		p.cond.False(v1alpha1.ConditionImagesReady, v1alpha1.ReasonPulling, pullWords(images))
	}
}

// images reads which image each service of the job ran in, in one round trip: rank 0 stands for all.
func (r *reader) images(e *JobEvidence, attempt string) {
	var paths, names []string
	for _, s := range e.Plan.Services {
		if s.Image != nil {
			names = append(names, s.Name)
			paths = append(paths, rundir.Rank(attempt, s.Name, 0)+"/"+rundir.ProvenanceFile)
		}
	}
	found := r.read(paths)
	for i, path := range paths {
		if used := parsed(e, path, found[path], parseImage); used != nil {
			if e.Images == nil {
				e.Images = map[string]*rundir.UsedImage{}
			}
			e.Images[names[i]] = used
		}
	}
}

// parseImage takes a file that is not there for one that says nothing: the rank may have failed before it wrote it.
func parseImage(b []byte) (*rundir.UsedImage, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return rundir.ParseUsedImage(b)
}

// imageResult is the image of a service as the result tells it.
func imageResult(used *rundir.UsedImage) *results.ServiceImage {
	return &results.ServiceImage{URI: used.URI, Digest: used.Digest, SHA256: used.SHA256, Size: used.Size}
}

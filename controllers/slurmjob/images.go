package slurmjob

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// pullsOnly says that a job has no components: it fills the site's store of images.
func pullsOnly(job *v1alpha1.SlurmJob) bool { return len(job.Spec.Images) > 0 }

// lookAtStore sees which of the images that a job pulls are in the site's store, and where nothing is to be pulled which of
// those that it needs: in one read of their records. A record is written last, so it stands for the image.
func lookAtStore(ctx context.Context, job *v1alpha1.SlurmJob, site *v1alpha1.Site, door slurmbridge.Door, out plan.Output, w *world) error {
	never := site.Spec.Images.Pull == v1alpha1.PullNever
	if len(out.Images) == 0 || !pullsOnly(job) && !never {
		return nil
	}
	paths := make([]string, len(out.Images))
	for i, img := range out.Images {
		paths[i] = img.Record
	}
	found, err := door.Files.Read(ctx, paths...)
	if w.lookErr = err; err != nil {
		return nil //nolint:nilerr // a site that does not answer is an observation
	}
	var missing []plan.StoredImage
	for _, img := range out.Images {
		if r, err := rundir.ParseImageRecord(found[img.Record]); err != nil || r.Digest != img.Digest {
			missing = append(missing, img)
		}
	}
	w.present = pullsOnly(job) && len(missing) == 0
	if never && len(missing) > 0 {
		return notInStore(job, door, missing)
	}
	return nil
}

// notInStore refuses a job whose images nobody is to pull, and says how they get there.
func notInStore(job *v1alpha1.SlurmJob, door slurmbridge.Door, missing []plan.StoredImage) error {
	commands := make([]string, len(missing))
	for i, img := range missing {
		commands[i] = fmt.Sprintf("%s pull --store %s --digest %s %s", slurmbridge.Quote(door.Node),
			slurmbridge.Quote(filepath.Dir(img.SIF)), img.Digest, slurmbridge.Quote(img.URI))
	}
	return &hindrance{blocked{stalled: true, reason: v1alpha1.ReasonImageMissing, message: fmt.Sprintf(
		"%s is not in the store of the Site %s, whose images.pull is Never: put it there with %q on a host of the site that has apptainer, or set images.pull to Job",
		missing[0], job.Spec.Site, strings.Join(commands, " && "))}}
}

// imagesThere ends a job that has nothing to pull, before anything is handed in.
func imagesThere(p *pass) bool {
	if handedIn(p.attempt()) || !p.seen.present || len(p.seen.jobs) > 0 {
		return false
	}
	if n := p.seen.next; p.attempt() == nil {
		p.status.Attempts = append(p.status.Attempts, intend(n.number, n.key, n.process, p.now))
	}
	p.finish(verdict{succeeded: true, reason: v1alpha1.ReasonImagesPresent, message: imageWords(p.job.Spec.Images) + " in the site's store; nothing is pulled"})
	return true
}

// imageWords names images as the subject of a sentence.
func imageWords(images []v1alpha1.PulledImage) string {
	if len(images) == 1 {
		return images[0].URI + " is"
	}
	return fmt.Sprintf("%s and %d more images are", images[0].URI, len(images)-1)
}

// judgePull tells how a job that pulls ended by its own doing or its time limit; ok is false for everything else.
func judgePull(p *pass, j slurmbridge.Job, exitReason, exitMessage string) (v verdict, ok bool) {
	if !pullsOnly(p.job) {
		return v, false
	}
	switch {
	case exitReason == rundir.ExitReasonTimeLimit && exitMessage != "":
		return verdict{reason: v1alpha1.ReasonTimeLimit, message: exitMessage}, true
	case exitReason == rundir.ExitReasonTimeLimit, j.Reason == v1alpha1.ReasonTimeLimit:
		return verdict{reason: v1alpha1.ReasonTimeLimit, message: fmt.Sprintf(
			"job %s reached its time limit while it pulled %s: raise images.resources.timeLimit of the Site %s", j.ID, p.job.Spec.Images[0].URI, p.job.Spec.Site)}, true
	}
	return v, false
}

// pulled tells that a job has put its images into the store.
func pulled(p *pass, j slurmbridge.Job) verdict {
	return verdict{succeeded: true, reason: v1alpha1.ReasonCompleted, message: fmt.Sprintf("job %s: %s in the site's store", j.ID, imageWords(p.job.Spec.Images))}
}

package site

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
)

// sweep cancels the jobs of this origin that no SlurmJob wants any more.
func (k *Kind) sweep(ctx context.Context, site *v1alpha1.Site) {
	name := client.ObjectKeyFromObject(site)
	e, ok := k.Registry.snapshot(name)
	if !ok || !e.open {
		return
	}
	orphans, err := k.orphans(ctx, e.door)
	for _, o := range orphans {
		if cancelErr := e.door.Jobs.Cancel(ctx, o.job.ID); cancelErr != nil {
			err = cancelErr
			continue
		}
		k.Meter.OrphanCancelled(site.Namespace, site.Name)
		k.Events.Eventf(site, nil, corev1.EventTypeWarning, "OrphanCancelled", "Cancel", "%s",
			fmt.Sprintf("cancels job %s named %s: %s", o.job.ID, o.job.Key, o.why))
	}
	if err != nil {
		log.FromContext(ctx).Info("the janitor could not look or cancel; it tries again", "error", err.Error())
	}
	k.Registry.change(name, func(e *entry) { e.looks.swept, e.looks.sweepFailed = k.Now(), err != nil })
}

// orphan is a job that nobody wants, and why.
type orphan struct {
	job slurmbridge.Job
	why string
}

// orphans looks at the jobs first and at the objects, live and in every namespace, after that: a job that is listed had
// an object before it was submitted, so one without an object has lost it.
func (k *Kind) orphans(ctx context.Context, door slurmbridge.Door) ([]orphan, error) {
	jobs, err := door.Jobs.List(ctx)
	if err != nil {
		return nil, err
	}
	var objects v1alpha1.SlurmJobList
	if err := k.Live.List(ctx, &objects); err != nil {
		return nil, err
	}
	return unwanted(door.Origin, jobs, objects.Items), nil
}

// unwanted are the jobs of this origin that live although their object is gone, or although their attempt has ended.
func unwanted(origin string, jobs []slurmbridge.Job, objects []v1alpha1.SlurmJob) []orphan {
	objectOf := map[string]*v1alpha1.SlurmJob{}
	for i := range objects {
		objectOf[slurmbridge.NewKey(origin, string(objects[i].UID), 1).UID()] = &objects[i]
	}
	var out []orphan
	for _, j := range jobs {
		if j.Over() || !j.Key.Valid() || j.Key.Origin() != slurmbridge.Origin8(origin) {
			continue
		}
		object := objectOf[j.Key.UID()]
		switch {
		case object == nil:
			out = append(out, orphan{j, "its SlurmJob is gone"})
		case attemptEnded(object, j):
			out = append(out, orphan{j, fmt.Sprintf("attempt %d of SlurmJob %s/%s has ended", j.Key.Attempt(), object.Namespace, object.Name)})
		}
	}
	return out
}

// attemptEnded says that the attempt of a job that lives has ended in another way: the job was lost, or is a duplicate.
func attemptEnded(job *v1alpha1.SlurmJob, j slurmbridge.Job) bool {
	for i := range job.Status.Attempts {
		if a := &job.Status.Attempts[i]; a.Key == string(j.Key) {
			seenOver := a.JobID == j.ID && a.ExitCode != nil // it ended between the two looks
			return a.State == v1alpha1.AttemptEnded && !seenOver
		}
	}
	return false
}

package slurmjob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
)

// lookTimeout ends a look at a site that hangs.
const lookTimeout = 30 * time.Second

// Observe looks at the site, the objects and the run directory.
func (k *Kind) Observe(ctx context.Context, job *v1alpha1.SlurmJob) (world, error) {
	site := &v1alpha1.Site{}
	err := k.Client.Get(ctx, siteOf(job), site)
	if client.IgnoreNotFound(err) != nil {
		return world{}, fmt.Errorf("site %s: %w", job.Spec.Site, err)
	}
	if err != nil {
		site = nil
	}
	w := world{patience: patienceWith(site), owes: owes(job, site)}
	door, poller := k.look(job, site, &w)
	a := newest(job.Status.Attempts)
	if !w.site.open {
		return w, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if ended(a) {
		poller.Forget(slurmbridge.Key(a.Key))
		k.forget(siteOf(job), slurmbridge.Key(a.Key))
	} else if a != nil {
		k.remember(job, a, &w)
	}
	if isDeleting(job) {
		k.lookForLeft(ctx, job, door, poller, &w)
		return w, nil
	}
	if ended(a) {
		return w, nil
	}
	w.next = k.nextAfter(job, a, door)
	if a == nil || a.JobID == "" {
		if err := k.make(ctx, job, site, door, &w); err != nil {
			return w, err
		}
	}
	switch {
	case a == nil:
	case !handedIn(a):
		k.lookBeforeSubmit(ctx, job, site, door, poller, &w)
	default:
		k.lookAtJob(ctx, job, poller, &w)
		k.lookAtFiles(ctx, job, door, poller, &w)
	}
	return w, nil
}

// siteOf names the Site of a job.
func siteOf(job *v1alpha1.SlurmJob) types.NamespacedName {
	return types.NamespacedName{Namespace: job.Namespace, Name: string(job.Spec.Site)}
}

// look tells what is known of the site, and returns its door when it is open.
func (k *Kind) look(job *v1alpha1.SlurmJob, site *v1alpha1.Site, w *world) (slurmbridge.Door, Poller) {
	s := &w.site
	s.exists = site != nil
	if site != nil {
		if ready := meta.FindStatusCondition(site.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
			s.ready = ready.Status == "True"
			s.reason, s.message = ready.Reason, ready.Message
		}
		s.stalled = meta.IsStatusConditionTrue(site.Status.Conditions, v1alpha1.ConditionStalled)
	}
	door, err := k.Doors.Door(job.Namespace, string(job.Spec.Site))
	poller, ok := k.Poller(job.Namespace, string(job.Spec.Site))
	s.open = err == nil && ok
	w.remembers = door.Remembers
	if !s.open {
		s.why = fmt.Sprintf("waits for the Site %s to be opened", job.Spec.Site)
		if s.message != "" && !s.ready {
			s.why = fmt.Sprintf("waits for the Site %s: %s", job.Spec.Site, s.message)
		}
	}
	return door, poller
}

// remember adds what this process knows of the attempt, and how long the object has been as it is.
func (k *Kind) remember(job *v1alpha1.SlurmJob, a *v1alpha1.Attempt, w *world) {
	k.memory.with(slurmbridge.Key(a.Key), func(n *note) {
		n.name = client.ObjectKeyFromObject(job)
		if n.version != job.ResourceVersion {
			n.version, n.versionSince = job.ResourceVersion, k.Now()
		}
		w.quiet = k.Now().Sub(n.versionSince)
		w.answer, w.refusals, w.unclear, w.writeErr, w.doErr, w.lease, w.plan = n.answer, n.refusals, n.unclear, n.writeErr, n.doErr, n.lease, n.plan
		w.cancelled = maps.Clone(n.cancelled)
	})
}

// nextAfter names the attempt after a.
func (k *Kind) nextAfter(job *v1alpha1.SlurmJob, a *v1alpha1.Attempt, door slurmbridge.Door) next {
	n := next{number: 1, process: k.Process}
	if a != nil {
		n.number = a.Number + 1
	}
	n.key = slurmbridge.NewKey(door.Origin, string(job.UID), int(n.number))
	n.directory = plan.AttemptDirectory(job, door.WorkDir, door.Origin, int(n.number))
	return n
}

// lookForLeft asks for every job of an object that is being deleted.
func (k *Kind) lookForLeft(ctx context.Context, job *v1alpha1.SlurmJob, door slurmbridge.Door, poller Poller, w *world) {
	if reconcile.IsAbandoned(job) {
		return
	}
	if a := newest(job.Status.Attempts); a != nil && w.plan == nil && !ended(a) {
		w.plan, w.planErr = k.planOf(ctx, a, job.Status.Directory, door)
	}
	for i := range job.Status.Attempts {
		a := &job.Status.Attempts[i]
		if !handedIn(a) {
			continue
		}
		jobs := k.ask(ctx, poller, a, w)
		if i == len(job.Status.Attempts)-1 {
			w.jobs = jobs
			continue
		}
		w.strays = append(w.strays, alive(jobs)...)
	}
}

// lookBeforeSubmit checks the files of an attempt that was not handed in, and once they are there asks the batch system
// itself whether it knows the job.
func (k *Kind) lookBeforeSubmit(ctx context.Context, job *v1alpha1.SlurmJob, site *v1alpha1.Site, door slurmbridge.Door, poller Poller, w *world) {
	a := newest(job.Status.Attempts)
	if w.made == nil || w.made.out.Hash != a.PlanHash {
		return
	}
	var paths []string
	for path := range w.made.last {
		paths = append(paths, path)
	}
	there, err := door.Files.Read(ctx, paths...)
	if err != nil {
		w.lookErr = err
		return
	}
	w.written = true
	for path, content := range w.made.last {
		w.written = w.written && string(there[path]) == string(content)
	}
	if w.written {
		w.jobs = k.ask(ctx, poller, a, w)
	}
	early := a.NotBefore != nil && k.Now().Before(a.NotBefore.Time)
	if w.looked && len(w.jobs) == 0 && !early {
		w.said = k.foretell(ctx, site, door, w.made)
		if w.said.notNow != nil {
			k.memory.with(slurmbridge.Key(a.Key), func(n *note) { n.refusals++; w.refusals = n.refusals })
		}
	}
}

// lookAtJob reads the poll's view of a job that it knows, and asks the batch system itself for one that it does not.
func (k *Kind) lookAtJob(ctx context.Context, job *v1alpha1.SlurmJob, poller Poller, w *world) {
	a := newest(job.Status.Attempts)
	key := slurmbridge.Key(a.Key)
	w.starting = isStarting(job.Status.Components)
	k.watch(a, poller, w, nil)
	if a.JobID != "" {
		view, _ := poller.Seen(key)
		if view.ListErr != nil {
			w.lookErr = view.ListErr
			return
		}
		jobs, asked := view.Jobs, view.Listed
		if n := k.memory.of(key); n.asked.After(asked) {
			jobs, asked = n.found, n.asked // a list from before the answer would turn time back
		}
		// A hold is released only by a direct look: an old one may show ours where the batch system set its own since.
		if j, ok := kept(a, jobs); ok && view.Lists > 0 && (!j.Held || a.Released) {
			w.looked, w.asked, w.jobs = true, asked, jobs
		}
	}
	if !w.looked {
		w.jobs = k.ask(ctx, poller, a, w)
	}
	j, ok := kept(a, w.jobs)
	if ok {
		k.countHopeless(key, j, w)
	}
	if !ok || !j.Over() {
		return
	}
	k.memory.with(key, func(n *note) {
		if n.overSince.IsZero() {
			n.overSince = k.Now()
		}
		w.overFor = k.Now().Sub(n.overSince)
	})
}

// countHopeless notes over which time the answers agree that a job waits for what never comes.
func (k *Kind) countHopeless(key slurmbridge.Key, j slurmbridge.Job, w *world) {
	k.memory.with(key, func(n *note) {
		switch {
		case !hopeless(j):
			n.hopelessSince = time.Time{}
			return
		case n.hopelessSince.IsZero():
			n.hopelessSince = w.asked
		}
		w.hopelessFor = w.asked.Sub(n.hopelessSince)
	})
}

// watch tells the poller what to look at. nil paths keep those of before.
func (k *Kind) watch(a *v1alpha1.Attempt, poller Poller, w *world, paths []string) {
	key := slurmbridge.Key(a.Key)
	k.memory.with(key, func(n *note) {
		if paths != nil {
			n.paths = paths
		}
		paths = n.paths
	})
	poller.Watch(key, poll.Watched{Paths: paths, Starting: a.State == v1alpha1.AttemptRunning && w.starting})
}

// lookAtFiles reads the run directory: through the poll while the job lives, itself once it is over or gone, for then
// only the last words count.
func (k *Kind) lookAtFiles(ctx context.Context, job *v1alpha1.SlurmJob, door slurmbridge.Door, poller Poller, w *world) {
	a := newest(job.Status.Attempts)
	if w.lookErr != nil || a.JobID == "" && len(w.jobs) == 0 {
		return
	}
	if w.plan == nil {
		w.plan, w.planErr = k.planOf(ctx, a, job.Status.Directory, door)
	}
	k.watch(a, poller, w, pathsOf(w.plan, job.Status, false))
	var files map[string][]byte
	if j, ok := kept(a, w.jobs); ok && !j.Over() {
		view, _ := poller.Seen(slurmbridge.Key(a.Key))
		if view.Reads == 0 || view.ReadErr != nil {
			return
		}
		files = view.Files
	} else {
		var err error
		if files, err = door.Files.Read(ctx, pathsOf(w.plan, job.Status, true)...); err != nil {
			w.lookErr = err
			return
		}
	}
	w.read = true
	w.exit, w.ranks = parseFiles(w.plan, job.Status.Directory, files)
	// Slurm calls the end of a job that a person cancelled in the queue its start too, but gives it no nodes.
	if j, ok := kept(a, w.jobs); ok && j.Reason == v1alpha1.ReasonCancelled && !j.Started.IsZero() && j.Nodes+a.Nodes != "" && w.exit == nil {
		w.unbegun, w.lookErr = neverBegan(ctx, door, job.Status.Directory)
	}
}

// planOf reads the plan that was handed in.
func (k *Kind) planOf(ctx context.Context, a *v1alpha1.Attempt, directory string, door slurmbridge.Door) (*rundir.Plan, error) {
	path := filepath.Join(directory, rundir.PlanFile)
	files, err := door.Files.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	content, ok := files[path]
	if !ok {
		return nil, fmt.Errorf("%s is missing", path)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != a.PlanHash {
		return nil, fmt.Errorf("%s was changed after it was written", path)
	}
	p, err := rundir.ParsePlan(content)
	if err != nil {
		return nil, err
	}
	k.memory.with(slurmbridge.Key(a.Key), func(n *note) { n.plan = p })
	return p, nil
}

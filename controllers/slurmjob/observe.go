package slurmjob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	err := k.Client.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: string(job.Spec.Site)}, site)
	if client.IgnoreNotFound(err) != nil {
		return world{}, fmt.Errorf("site %s: %w", job.Spec.Site, err)
	}
	if err != nil {
		site = nil
	}
	w := world{patience: patienceWith(site)}
	door, poller := k.look(job, site, &w)
	a := newest(job.Status.Attempts)
	if !w.site.open {
		return w, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if ended(a) {
		poller.Forget(slurmbridge.Key(a.Key))
		k.memory.forget(slurmbridge.Key(a.Key))
	} else if a != nil {
		k.remember(job, a, &w)
	}
	if isDeleting(job) {
		k.lookForLeft(ctx, job, poller, &w)
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
		k.lookBeforeSubmit(ctx, job, door, poller, &w)
	default:
		k.lookAtJob(ctx, job, poller, &w)
		k.lookAtFiles(ctx, job, door, poller, &w)
	}
	return w, nil
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
		w.answer, w.writeErr, w.doErr, w.lease, w.plan = n.answer, n.writeErr, n.doErr, n.lease, n.plan
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
func (k *Kind) lookForLeft(ctx context.Context, job *v1alpha1.SlurmJob, poller Poller, w *world) {
	if reconcile.IsAbandoned(job) {
		return
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
func (k *Kind) lookBeforeSubmit(ctx context.Context, job *v1alpha1.SlurmJob, door slurmbridge.Door, poller Poller, w *world) {
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
	if w.looked && len(w.jobs) == 0 {
		w.impossible = k.impossible(ctx, job, door, w.made)
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

// make plans the attempt to hand in, or says what hinders it.
func (k *Kind) make(ctx context.Context, job *v1alpha1.SlurmJob, site *v1alpha1.Site, door slurmbridge.Door, w *world) error {
	if site == nil || !w.site.ready {
		w.blocked = siteBlocks(job, w.site)
		return nil
	}
	in := plan.Input{Job: job, Site: site, Attempt: int(w.next.number), Origin: door.Origin, WorkDir: door.WorkDir, Node: door.Node}
	m := &made{number: w.next.number, key: w.next.key, directory: w.next.directory}
	if a := newest(job.Status.Attempts); a != nil {
		in.Attempt = int(a.Number)
		m.number, m.key, m.directory = a.Number, slurmbridge.Key(a.Key), plan.AttemptDirectory(job, door.WorkDir, door.Origin, int(a.Number))
	}
	if err := k.gather(ctx, job, &in); err != nil {
		return blockedBy(err, w)
	}
	var err error
	if m.out, err = plan.Make(in); err != nil {
		return blockedBy(invalid("%s", err), w)
	}
	if err := k.files(ctx, job.Namespace, m); err != nil {
		return blockedBy(err, w)
	}
	w.made = m
	return nil
}

// siteBlocks says why nothing new is handed in at a site that is not ready.
func siteBlocks(job *v1alpha1.SlurmJob, s siteSight) *blocked {
	switch {
	case !s.exists:
		return &blocked{stalled: true, reason: v1alpha1.ReasonSiteMissing,
			message: fmt.Sprintf("the Site %s does not exist in this namespace: create it, or delete this SlurmJob", job.Spec.Site)}
	case s.stalled:
		return &blocked{stalled: true, reason: s.reason, message: fmt.Sprintf("the Site %s cannot be used: %s", job.Spec.Site, s.message)}
	}
	return &blocked{reason: v1alpha1.ReasonWaiting, message: fmt.Sprintf("waits for the Site %s: %s", job.Spec.Site, s.message)}
}

// blockedBy keeps an error that is an observation, and returns any other.
func blockedBy(err error, w *world) error {
	var why *hindrance
	if !errors.As(err, &why) {
		return err
	}
	w.blocked = &why.blocked
	return nil
}

// hindrance is an observation that an attempt cannot be made.
type hindrance struct{ blocked }

// Error is the message for people.
func (h *hindrance) Error() string { return h.message }

func waitsFor(format string, args ...any) error {
	return &hindrance{blocked{reason: v1alpha1.ReasonWaiting, message: fmt.Sprintf(format, args...)}}
}

// gather reads the objects of the job's components and of their peers.
func (k *Kind) gather(ctx context.Context, job *v1alpha1.SlurmJob, in *plan.Input) error {
	refs := append([]v1alpha1.ComponentReference{}, job.Spec.Components...)
	for _, peer := range job.Spec.Run.Peers {
		refs = append(refs, peer.ComponentReference)
	}
	for _, ref := range refs {
		at := types.NamespacedName{Namespace: job.Namespace, Name: ref.Name}
		var err error
		if ref.Kind == "Service" {
			var s v1alpha1.Service
			if err = k.Client.Get(ctx, at, &s); err == nil {
				in.Services = append(in.Services, s)
			}
		} else {
			var c v1alpha1.LoadClient
			if err = k.Client.Get(ctx, at, &c); err == nil {
				in.Clients = append(in.Clients, c)
			}
		}
		if apierrors.IsNotFound(err) {
			return waitsFor("waits for the %s %s, which does not exist", ref.Kind, ref.Name)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", ref.Kind, ref.Name, err)
		}
	}
	return nil
}

// files are the contents of the attempt's folder.
func (k *Kind) files(ctx context.Context, namespace string, m *made) error {
	script, err := m.out.Script.Render(m.key)
	if err != nil {
		return invalid("%s", err)
	}
	control, err := controlJSON(leaseAt(k.Now(), rundir.WantRun))
	if err != nil {
		return err
	}
	m.first = map[string][]byte{filepath.Join(m.directory, rundir.ControlFile): control}
	for _, s := range m.out.Secrets {
		credential, err := k.credential(ctx, namespace, s)
		if err != nil {
			return err
		}
		m.first[filepath.Join(m.directory, s.File)] = credential
	}
	m.last = map[string][]byte{
		filepath.Join(m.directory, rundir.PlanFile):   m.out.JSON,
		filepath.Join(m.directory, rundir.ScriptFile): script,
	}
	return nil
}

func controlJSON(l lease) ([]byte, error) {
	b, err := json.Marshal(rundir.Control{Version: rundir.Version, Sequence: l.sequence, Want: l.want})
	return append(b, '\n'), err
}

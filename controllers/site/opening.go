package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
)

// doorSpec is the part of a spec that a door depends on.
type doorSpec struct {
	jobs         v1alpha1.JobsDoor
	files        v1alpha1.FilesDoor
	workDir      string
	pollInterval v1alpha1.Duration
}

func doorSpecOf(s *v1alpha1.SiteSpec) doorSpec {
	return doorSpec{jobs: *s.Jobs.DeepCopy(), files: *s.Files.DeepCopy(), workDir: s.WorkDir, pollInterval: s.PollInterval}
}

// leadsElsewhere says that a spec means other jobs or other folders than this one, and not only another way to them. Where
// it does not, only the site itself can tell: see entry.proves.
func (d doorSpec) leadsElsewhere(o doorSpec) bool {
	a, b := d.user(), o.user()
	return d.workDir != o.workDir || d.system() != o.system() || a != "" && b != "" && a != b
}

// system names the kind of batch system. Slurm is one, whichever the way there.
func (d doorSpec) system() string {
	switch {
	case d.jobs.Local != nil:
		return "local"
	case d.jobs.Sim != nil:
		return fmt.Sprint("sim ", *d.jobs.Sim)
	}
	return "slurm"
}

// user is whose jobs they are, where the spec says so.
func (d doorSpec) user() string {
	switch {
	case d.jobs.SSH != nil:
		return d.jobs.SSH.User
	case d.jobs.REST != nil:
		return d.jobs.REST.User
	}
	return ""
}

// unlock opens a door and starts its poll. An open door of before is shut first. An error is kept for the next look.
func (r *Registry) unlock(ctx context.Context, site *v1alpha1.Site, o Opener, secrets Secrets) {
	name := types.NamespacedName{Namespace: site.Namespace, Name: site.Name}
	r.shut(name)
	opened, err := o.Open(ctx, site, secrets)
	if err != nil {
		r.change(name, func(e *entry) {
			*e = entry{uid: site.UID, spec: doorSpecOf(&site.Spec), looks: looks{probed: r.now(), failed: err}}
		})
		return
	}
	r.enter(name, r.entryOf(ctx, site, opened))
}

// reopen opens the door to a site anew while jobs there need the one that is open. The old one is shut once the new one
// works and is sure to lead to the same jobs and folders; until then, and where it does not, the old one stays, and why is
// kept for the next look.
func (r *Registry) reopen(ctx context.Context, site *v1alpha1.Site, o Opener, secrets Secrets) {
	name := types.NamespacedName{Namespace: site.Namespace, Name: site.Name}
	old, ok := r.snapshot(name)
	if !ok || !old.open {
		r.unlock(ctx, site, o, secrets)
		return
	}
	opened, err := o.Open(ctx, site, secrets)
	if err == nil {
		if err = old.proves(ctx, opened); err == nil {
			err = opened.probe(ctx, site.Spec.WorkDir, turnOf(site.Spec.Limits))
		}
		if err != nil && opened.Close != nil {
			opened.Close()
		}
	}
	if err != nil {
		r.change(name, func(e *entry) {
			e.tried, e.looks.probed, e.looks.failed = doorSpecOf(&site.Spec), r.now(), err
		})
		return
	}
	fresh := r.entryOf(ctx, site, opened)
	fresh.counter, fresh.looks.probed = old.counter, r.now()
	fresh.looks.beaten, fresh.looks.swept = old.looks.beaten, old.looks.swept
	r.enter(name, fresh)
	old.stop()
}

// probe looks whether the batch system answers and the work folder can be used.
func (o Opened) probe(ctx context.Context, workDir string, turn time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout+turn)
	defer cancel()
	if o.Prober != nil {
		return o.Prober.Probe(ctx, workDir)
	}
	_, err := o.Jobs.List(ctx)
	return err
}

// errElsewhere says that a door leads to another place than the one before it.
var errElsewhere = errors.New("it leads to another site than the one where the jobs are")

// proves finds out whether another door leads where this one does: to a cluster of the same name, and to a work folder that
// holds the newest mark of this control plane. Jobs of ours that the wrong cluster does not know would count as lost.
func (e *entry) proves(ctx context.Context, other Opened) error {
	if e.cluster != "" && other.Cluster != "" && e.cluster != other.Cluster {
		return fmt.Errorf("%w: its cluster is %s, not %s", errElsewhere, other.Cluster, e.cluster)
	}
	path := OriginFile(e.door.WorkDir, e.door.Origin)
	files, err := other.Files.Read(ctx, path)
	if err != nil {
		return err
	}
	var mark Origin
	if json.Unmarshal(files[path], &mark) != nil || mark.Origin != e.door.Origin || mark.Counter < e.counter {
		return fmt.Errorf("%w: %s there is not what this control plane wrote", errElsewhere, path)
	}
	return nil
}

// entryOf starts the poll of a door that was opened.
func (r *Registry) entryOf(ctx context.Context, site *v1alpha1.Site, opened Opened) entry {
	opened.Pace.ListFloor = max(opened.Pace.ListFloor, site.Spec.PollInterval.Or(0))
	poller := poll.New(poll.Options{Jobs: opened.Jobs, Files: opened.Files, Pace: opened.Pace, Notify: r.notify, Now: r.now})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the poll outlives this call
	var running sync.WaitGroup
	running.Go(func() { poller.Run(ctx) })
	return entry{
		uid: site.UID, spec: doorSpecOf(&site.Spec), open: true, poller: poller, prober: opened.Prober, token: opened.Token,
		limits: site.Spec.Limits, limit: opened.Limit, cluster: opened.Cluster,
		door: slurmbridge.Door{
			Jobs: opened.Jobs, Files: opened.Files, Dialer: opened.Dialer, WorkDir: site.Spec.WorkDir, Origin: r.origin, Node: opened.Node, Remembers: opened.Remembers,
		},
		stop: sync.OnceFunc(func() {
			cancel()
			running.Wait()
			if opened.Close != nil {
				opened.Close()
			}
		}),
		looks: looks{opened: r.now()},
	}
}

// enter serves an open door from now on.
func (r *Registry) enter(name types.NamespacedName, fresh entry) {
	r.change(name, func(e *entry) { *e = fresh })
	if r.isClosed() {
		r.shut(name)
	}
}

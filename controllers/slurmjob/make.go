package slurmjob

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// make plans the attempt to hand in, or says what hinders it.
func (k *Kind) make(ctx context.Context, job *v1alpha1.SlurmJob, site *v1alpha1.Site, door slurmbridge.Door, w *world) error {
	if site == nil || !w.site.ready {
		w.blocked = siteBlocks(job, w.site)
		return nil
	}
	err := k.prepare(ctx, job, site, door, w)
	if w.blocked != nil && w.blocked.reason != v1alpha1.ReasonSiteBusy {
		k.hinder(job, site)
	}
	return err
}

// prepare plans the attempt for a site that is ready, once it is the job's turn.
func (k *Kind) prepare(ctx context.Context, job *v1alpha1.SlurmJob, site *v1alpha1.Site, door slurmbridge.Door, w *world) error {
	in := plan.Input{Job: job, Site: site, Attempt: int(w.next.number), Origin: door.Origin, WorkDir: door.WorkDir, Node: door.Node}
	m := &made{number: w.next.number, key: w.next.key, directory: w.next.directory}
	if a := newest(job.Status.Attempts); a != nil {
		in.Attempt = int(a.Number)
		in.Exclude = a.Exclude
		m.number, m.key, m.directory = a.Number, slurmbridge.Key(a.Key), plan.AttemptDirectory(job, door.WorkDir, door.Origin, int(a.Number))
	}
	if err := k.gather(ctx, job, &in); err != nil {
		return blockedBy(err, w)
	}
	var err error
	if m.out, err = plan.Make(in); err != nil {
		return blockedBy(invalid("%s", err), w)
	}
	if err := lookAtStore(ctx, job, site, door, m.out, w); err != nil {
		return blockedBy(err, w)
	}
	m.claim = claimOf(m.out.Script)
	if !handedIn(newest(job.Status.Attempts)) {
		if w.blocked, err = k.turn(ctx, job, site, m.claim); err != nil || w.blocked != nil {
			return err
		}
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

package slurmjob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// The effects of this controller. Each may be made again.
type (
	// WriteFiles writes First and then, if that went well, Last: when Last is there, all is.
	WriteFiles struct {
		Key         slurmbridge.Key
		First, Last map[string][]byte
	}
	// Submit hands in a held job.
	Submit struct {
		Key    slurmbridge.Key
		Script slurmbridge.Script
	}
	// Release lifts the hold of Submit.
	Release struct {
		Key slurmbridge.Key
		ID  string
	}
	// Cancel ends a job.
	Cancel struct {
		Key slurmbridge.Key
		ID  string
	}
	// WriteControl writes control.json: what is wanted, and a sequence that advances while we live. Where that is only that
	// the job goes on, it is written with those of the site's other jobs, a little later.
	WriteControl struct {
		Key       slurmbridge.Key
		Directory string
		Lease     lease
	}
	// Blank empties files.
	Blank struct {
		Key   slurmbridge.Key
		Files []string
	}
	// Forget drops what this process remembers of an attempt, and stops to look at it.
	Forget struct{ Key slurmbridge.Key }
)

// Perform makes one effect. What a site answers is remembered for the next look, and is no error here: an answer is an
// observation, and the next pass comes at the decision's own pace.
func (k *Kind) Perform(ctx context.Context, job *v1alpha1.SlurmJob, e reconcile.Effect) error {
	site := siteOf(job)
	if count, ok := e.(Count); ok {
		k.count(job, count)
		return nil
	}
	if forget, ok := e.(Forget); ok {
		defer k.freed(job)
		if poller, ok := k.Poller(job.Namespace, string(job.Spec.Site)); ok {
			poller.Forget(forget.Key)
		}
		k.forget(site, forget.Key)
		return nil
	}
	door, err := k.Doors.Door(job.Namespace, string(job.Spec.Site))
	if err != nil {
		return err
	}
	poller, ok := k.Poller(job.Namespace, string(job.Spec.Site))
	if !ok {
		return slurmbridge.ErrNotOpen
	}
	switch e := e.(type) {
	case WriteFiles:
		err := writeBoth(ctx, door.Files, e)
		k.memory.with(e.Key, func(n *note) { n.writeErr = err })
	case Blank:
		blank := map[string][]byte{}
		for _, path := range e.Files {
			blank[path] = nil
		}
		if err := door.Files.Write(ctx, blank); err != nil {
			log.FromContext(ctx).Info("credentials of a job that never began stay in its folder", "key", e.Key, "error", err.Error())
		}
	case Submit:
		k.submit(ctx, door, e)
		poller.Expect()
		k.Wake(e.Key)
	case Release:
		k.done(ctx, e.Key, "release", e.ID, door.Jobs.Release(ctx, e.ID))
		poller.Expect()
	case Cancel:
		err := door.Jobs.Cancel(ctx, e.ID)
		k.done(ctx, e.Key, "cancel", e.ID, err)
		if err == nil {
			k.memory.cancelled(e.Key, e.ID, k.Now())
		}
		poller.Expect()
	case WriteControl:
		k.writeControl(ctx, site, door.Files, e)
	default:
		return fmt.Errorf("slurmjob: no effect %T", e)
	}
	return nil
}

func writeBoth(ctx context.Context, files slurmbridge.Files, e WriteFiles) error {
	if err := files.Write(ctx, e.First); err != nil {
		return err
	}
	return files.Write(ctx, e.Last)
}

// submit keeps the answer, which may be that there is none.
func (k *Kind) submit(ctx context.Context, door slurmbridge.Door, e Submit) {
	err := door.Jobs.Submit(ctx, e.Key, e.Script)
	k.memory.with(e.Key, func(n *note) {
		switch {
		case err == nil:
			n.answer, n.refusals, n.unclear = answer{}, 0, 0
		case errors.Is(err, slurmbridge.ErrNotNow):
			n.answer = answer{notNow: err}
			n.refusals++
		case errors.Is(err, slurmbridge.ErrRefused):
			n.answer = answer{refused: err}
		default:
			n.answer = answer{uncertain: err}
			if errors.Is(err, slurmbridge.ErrUnclear) {
				n.unclear++
			}
		}
	})
}

// done keeps why a release or a cancel failed; the next pass tries again.
func (k *Kind) done(ctx context.Context, key slurmbridge.Key, verb, id string, err error) {
	if err != nil {
		err = fmt.Errorf("%s of job %s failed: %w", verb, id, err)
		log.FromContext(ctx).Info("effect failed", "verb", verb, "job", id, "error", err.Error())
	}
	k.memory.with(key, func(n *note) { n.doErr = err })
}

// controlJSON is the content of control.json.
func controlJSON(l lease) ([]byte, error) {
	b, err := json.Marshal(rundir.Control{Version: rundir.Version, Sequence: l.sequence, Want: l.want})
	return append(b, '\n'), err
}

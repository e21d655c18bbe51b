package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/app/state"
	"assay.bench/internal/rundir"
)

// answerWithin is how long a control plane that is up may take to tell of its objects.
const answerWithin = 10 * time.Second

// judgeOf asks the objects where the control plane is up, and else has only what the runs themselves tell.
func judgeOf(ctx context.Context, f state.Folder, running bool) judge {
	if !running {
		return func(r *rundir.Record) (string, string, bool) { return whileDown(f, r) }
	}
	p, err := connect(f)
	if err != nil { // it is starting, and nothing of it may go
		return func(*rundir.Record) (string, string, bool) { return "", "", false }
	}
	return func(r *rundir.Record) (string, string, bool) { return whileUp(ctx, p.client, r) }
}

// judge tells of a run without a result.json whether it has ended: words say whose it was, and keep is as in leftover. The
// record is nil when nobody knows.
type judge func(*rundir.Record) (words, keep string, ended bool)

// recordOf reads who made a run; nil when that cannot be read.
func recordOf(run string) *rundir.Record {
	b, err := os.ReadFile(filepath.Join(run, rundir.RecordFile))
	if err != nil {
		return nil
	}
	record, err := rundir.ParseRecord(b)
	if err != nil {
		return nil
	}
	return record
}

// whileDown judges by the record alone: the objects cannot be asked. A Service of its own measures nothing.
func whileDown(f state.Folder, r *rundir.Record) (words, keep string, ended bool) {
	switch {
	case r == nil:
		return "", "it has no " + rundir.RecordFile + " that tells whose it is: see what is in it", true
	case r.Kind == reconcile.KindService:
		return "", "", true
	}
	return "", "perhaps not yet collected: assay up --context " + f.Info.Context + ", then assay prune again", true
}

// whileUp asks for the object that made a run. Nobody collects for one that is gone, and a LoadClient of its own has its
// results in its status once it is complete. All others are still under way, for all that is known.
func whileUp(ctx context.Context, c client.Client, r *rundir.Record) (words, keep string, ended bool) {
	if r == nil {
		return "", "", false
	}
	var load v1alpha1.LoadClient
	var made client.Object
	switch r.Kind {
	case reconcile.KindService:
		made = &v1alpha1.Service{}
	case reconcile.KindLoadClient:
		made = &load
	default:
		made = &v1alpha1.Benchmark{}
	}
	there, err := exists(ctx, c, made, r.Namespace, r.Name)
	switch {
	case err != nil: // it may be starting or ending
		return "", "", false
	case !there || string(made.GetUID()) != r.UID:
		return fmt.Sprintf(" whose %s %s/%s is gone", r.Kind, r.Namespace, r.Name), "", true
	}
	return "", "", reconcile.IsComplete(load.Status.Conditions)
}

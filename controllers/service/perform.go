package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// The effects of a Service, beside those of package reconcile.
type (
	// CreateJob applies the Service's own SlurmJob.
	CreateJob struct{ Job *v1alpha1.SlurmJob }
	// WriteRecord writes run.json.
	WriteRecord struct {
		Path   string
		Record rundir.Record
	}
)

// Perform makes one effect. Each may be made again.
func (k *Kind) Perform(ctx context.Context, s *v1alpha1.Service, e reconcile.Effect) error {
	switch e := e.(type) {
	case CreateJob:
		config, err := reconcile.Configuration(e.Job)
		if err != nil {
			return err
		}
		return k.client.Apply(ctx, config, client.FieldOwner(fieldOwner), client.ForceOwnership)
	case WriteRecord:
		return k.writeRecord(ctx, s, e)
	case AskOutside:
		k.askOutside(ctx, s, e)
		return nil
	case reconcile.CreateCredential:
		return reconcile.PerformCredential(ctx, k.client, k.deps.Random, s.Namespace, e)
	case reconcile.Delete:
		return k.children.Delete(ctx, s.Namespace, e)
	case reconcile.Abandon:
		return k.children.Abandon(ctx, s.Namespace, e)
	}
	return fmt.Errorf("service: %T is no effect of a Service", e)
}

func (k *Kind) writeRecord(ctx context.Context, s *v1alpha1.Service, e WriteRecord) error {
	b, err := json.MarshalIndent(e.Record, "", "  ")
	if err != nil {
		return fmt.Errorf("record of %s: %w", s.Name, err)
	}
	door, err := k.deps.Doors.Door(s.Namespace, string(s.Spec.Site))
	if err != nil {
		return err
	}
	err = door.Files.Write(ctx, map[string][]byte{e.Path: append(b, '\n')})
	if !errors.Is(err, slurmbridge.ErrUnreachable) {
		k.unwritten.Note(s.UID, err)
	}
	return err
}

package loadclient

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

// The effects of a LoadClient, beside those of package reconcile.
type (
	// CreateJob applies the LoadClient's own SlurmJob.
	CreateJob struct{ Job *v1alpha1.SlurmJob }
	// WriteRecord writes run.json.
	WriteRecord struct {
		Path   string
		Record rundir.Record
	}
)

// Perform makes one effect. Each may be made again.
func (k *Kind) Perform(ctx context.Context, c *v1alpha1.LoadClient, e reconcile.Effect) error {
	switch e := e.(type) {
	case CreateJob:
		config, err := reconcile.Configuration(e.Job)
		if err != nil {
			return err
		}
		return k.client.Apply(ctx, config, client.FieldOwner(fieldOwner), client.ForceOwnership)
	case WriteRecord:
		return k.writeRecord(ctx, c, e)
	case reconcile.Delete:
		return k.children.Delete(ctx, c.Namespace, e)
	case reconcile.Abandon:
		return k.children.Abandon(ctx, c.Namespace, e)
	}
	return fmt.Errorf("loadclient: %T is no effect of a LoadClient", e)
}

func (k *Kind) writeRecord(ctx context.Context, c *v1alpha1.LoadClient, e WriteRecord) error {
	b, err := json.MarshalIndent(e.Record, "", "  ")
	if err != nil {
		return fmt.Errorf("record of %s: %w", c.Name, err)
	}
	door, err := k.deps.Doors.Door(c.Namespace, string(c.Spec.Site))
	if err != nil {
		return err
	}
	err = door.Files.Write(ctx, map[string][]byte{e.Path: append(b, '\n')})
	if !errors.Is(err, slurmbridge.ErrUnreachable) {
		k.unwritten.Note(c.UID, err)
	}
	return err
}

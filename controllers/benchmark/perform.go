package benchmark

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

// The effects of a Benchmark, beside those of reconcile.Children.
type (
	// Create applies a Service, a LoadClient or a SlurmJob.
	Create struct{ Object client.Object }
	// WriteRecord writes run.json.
	WriteRecord struct {
		Path   string
		Record rundir.Record
	}
	// WriteResult writes result.json.
	WriteResult struct {
		Path    string
		Content []byte
	}
)

// Perform makes one effect. Each may be made again.
func (k *Kind) Perform(ctx context.Context, bm *v1alpha1.Benchmark, e reconcile.Effect) error {
	switch e := e.(type) {
	case Create:
		return k.create(ctx, e.Object)
	case reconcile.CreateCredential:
		return reconcile.PerformCredential(ctx, k.client, k.deps.Random, bm.Namespace, e)
	case reconcile.Delete:
		return k.children.Delete(ctx, bm.Namespace, e)
	case reconcile.Abandon:
		return k.children.Abandon(ctx, bm.Namespace, e)
	case WriteRecord:
		b, err := json.MarshalIndent(e.Record, "", "  ")
		if err != nil {
			return fmt.Errorf("record of %s: %w", bm.Name, err)
		}
		return k.write(ctx, bm, e.Path, append(b, '\n'))
	case WriteResult:
		err := k.write(ctx, bm, e.Path, e.Content)
		if k.unwritten.Words(bm.UID) != "" {
			return nil // nothing comes after it, and the next look tells
		}
		return err
	}
	return fmt.Errorf("benchmark: %T is no effect of a Benchmark", e)
}

func (k *Kind) write(ctx context.Context, bm *v1alpha1.Benchmark, path string, content []byte) error {
	door, err := k.deps.Doors.Door(bm.Namespace, string(bm.Spec.Site))
	if err != nil {
		return err
	}
	err = door.Files.Write(ctx, map[string][]byte{path: content})
	if !errors.Is(err, slurmbridge.ErrUnreachable) {
		k.unwritten.Note(bm.UID, err)
	}
	return err
}

func (k *Kind) create(ctx context.Context, o client.Object) error {
	config, err := reconcile.Configuration(o)
	if err != nil {
		return fmt.Errorf("%s: %w", o.GetName(), err)
	}
	return k.client.Apply(ctx, config, client.FieldOwner(fieldOwner), client.ForceOwnership)
}

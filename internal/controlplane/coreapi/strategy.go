package coreapi

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage/names"
)

// strategy is what one kind adds to the generic registry. A nil func does nothing.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	clusterScoped bool
	// conditional refuses an update without a resourceVersion; upsert lets an update create.
	conditional, upsert bool
	// prepare brings an object into its stored form; old is nil on create.
	prepare func(obj, old runtime.Object)
	// validate checks an object; old is nil on create.
	validate func(ctx context.Context, obj, old runtime.Object) field.ErrorList
}

func (s strategy) NamespaceScoped() bool                         { return !s.clusterScoped }
func (s strategy) AllowCreateOnUpdate(context.Context) bool      { return s.upsert }
func (s strategy) AllowUnconditionalUpdate(context.Context) bool { return !s.conditional }
func (strategy) Canonicalize(runtime.Object)                     {}

func (s strategy) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	s.PrepareForUpdate(ctx, obj, nil)
}

func (s strategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	if s.prepare != nil {
		s.prepare(obj, old)
	}
}

func (s strategy) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	return s.ValidateUpdate(ctx, obj, nil)
}

func (s strategy) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	if s.validate == nil {
		return nil
	}
	return s.validate(ctx, obj, old)
}

func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }

func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

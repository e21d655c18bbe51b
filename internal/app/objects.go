package app

import (
	"context"
	"fmt"
	"io"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
)

// maxRecipe bounds what is read of a recipe, in bytes.
const maxRecipe = 4 << 20

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRecipe+1))
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if len(b) > maxRecipe {
		return nil, usage(fmt.Errorf("standard input: larger than %d bytes", maxRecipe))
	}
	return b, nil
}

// parseFiles reads the objects of all files, in order.
func parseFiles(o *OS, files []string) ([]recipe.Object, error) {
	var out []recipe.Object
	for _, file := range files {
		content, err := readFile(o, file)
		if err != nil {
			return nil, err
		}
		objects, err := recipe.Parse(file, content)
		if err != nil {
			return nil, usage(err)
		}
		out = append(out, objects...)
	}
	for i := range out {
		if out[i].GetNamespace() == "" && out[i].GetKind() != "Namespace" {
			out[i].SetNamespace(defaultNamespace)
		}
	}
	return out, nil
}

// defaultNamespace of objects that name none.
const defaultNamespace = "default"

// localSite is the name of the Site that assay makes for this machine.
const localSite = "local"

// fieldOwner is the field manager of what the command line applies.
const fieldOwner = "assay-cli"

// applyOrder puts what others refer to first.
func applyOrder(objects []recipe.Object) []recipe.Object {
	rank := func(o recipe.Object) int {
		return slices.Index([]string{"Namespace", "Secret", "ConfigMap", "Site"}, o.GetKind())
	}
	out := slices.Clone(objects)
	slices.SortStableFunc(out, func(a, b recipe.Object) int {
		x, y := rank(a), rank(b)
		if x < 0 {
			x = 99
		}
		if y < 0 {
			y = 99
		}
		return x - y
	})
	return out
}

// accept checks every object and stores all of them, or none but those that it returns. Nothing that runs is taken over
// from somebody else: what was made is this caller's alone.
func (p *plane) accept(ctx context.Context, objects []recipe.Object) (made []client.Object, err error) {
	for _, fits := range []func(context.Context, client.Client, []recipe.Object) error{check, checkReferences, checkSecrets, checkFree} {
		if err := fits(ctx, p.client, objects); err != nil {
			return nil, err
		}
	}
	namespaces := slices.DeleteFunc(slices.Clone(objects), func(o recipe.Object) bool { return o.GetKind() != "Namespace" })
	if _, err := store(ctx, p.client, namespaces); err != nil {
		return nil, err
	}
	if err := p.ensureLocalSite(ctx, objects); err != nil {
		return nil, err
	}
	return store(ctx, p.client, objects)
}

// isOurs says whether an object is of a kind of ours: others have a Service too.
func isOurs(o recipe.Object, kind string) bool {
	return o.GetKind() == kind && o.GetAPIVersion() == v1alpha1.SchemeGroupVersion.String()
}

// isRun says whether an object runs something, and so belongs to who made it.
func isRun(o recipe.Object) bool {
	return slices.ContainsFunc([]string{"Benchmark", "LoadClient", "Service", "SlurmJob"}, func(kind string) bool { return isOurs(o, kind) })
}

// benchmarkOf converts an object, or returns nil when it is something else.
func benchmarkOf(o recipe.Object) (*v1alpha1.Benchmark, error) {
	if !isOurs(o, "Benchmark") {
		return nil, nil
	}
	bm := &v1alpha1.Benchmark{}
	return bm, convert(o.Unstructured, bm)
}

func convert(u *unstructured.Unstructured, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into)
}

// store creates what runs and applies the rest, server-side. It returns what it created, as the API server has it, also
// when not all could be stored.
func store(ctx context.Context, c client.Client, objects []recipe.Object) (made []client.Object, err error) {
	for _, o := range applyOrder(objects) {
		u := o.DeepCopy()
		u.SetManagedFields(nil)
		if !isRun(o) {
			err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldOwner), client.ForceOwnership)
		} else if err = c.Create(ctx, u, client.FieldOwner(fieldOwner), client.FieldValidation("Strict")); err == nil {
			made = append(made, u)
		}
		if apierrors.IsAlreadyExists(err) {
			return made, asError([]*recipe.Error{taken(o)})
		}
		if err != nil {
			return made, asError(o.Explain(err))
		}
	}
	return made, nil
}

package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/plan"
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

// check makes the API server look at every object without storing it, and finds what it cannot see. Every error has a
// position; all of them are returned together.
func check(ctx context.Context, c client.Client, objects []recipe.Object) error {
	var problems []error
	for _, o := range applyOrder(objects) {
		err := c.Create(ctx, o.DeepCopy(), client.DryRunAll, client.FieldOwner(fieldOwner), client.FieldValidation("Strict"))
		if err == nil || ignorable(err) {
			continue
		}
		problems = append(problems, asErrors(o.Explain(err))...)
	}
	if len(problems) == 0 {
		problems = checkBenchmarks(objects)
	}
	if len(problems) > 0 {
		return usage(errors.Join(problems...))
	}
	return nil
}

// ignorable errors of a trial creation: the object is there already, or its namespace is in the same recipe.
func ignorable(err error) bool {
	return client.IgnoreAlreadyExists(err) == nil || client.IgnoreNotFound(err) == nil
}

func asErrors(list []*recipe.Error) []error {
	out := make([]error, len(list))
	for i, e := range list {
		out[i] = e
	}
	return out
}

// checkBenchmarks finds what admission cannot see.
func checkBenchmarks(objects []recipe.Object) []error {
	var problems []error
	for _, o := range objects {
		bm, err := benchmarkOf(o)
		if err != nil || bm == nil {
			continue // the API server said so already
		}
		site := siteOf(objects, bm)
		if site == nil && string(bm.Spec.Site) != localSite {
			continue // the Site may be in the cluster
		}
		for _, problem := range plan.Check(bm, site) {
			problems = append(problems, asErrors(o.Explain(problem))...)
		}
	}
	return problems
}

// benchmarkOf converts an object, or returns nil when it is something else.
func benchmarkOf(o recipe.Object) (*v1alpha1.Benchmark, error) {
	if o.GetKind() != "Benchmark" || o.GetAPIVersion() != v1alpha1.SchemeGroupVersion.String() {
		return nil, nil
	}
	bm := &v1alpha1.Benchmark{}
	return bm, convert(o.Unstructured, bm)
}

// siteOf finds the Site of a benchmark in the same recipe.
func siteOf(objects []recipe.Object, bm *v1alpha1.Benchmark) *v1alpha1.Site {
	for _, o := range objects {
		if o.GetKind() == "Site" && o.GetName() == string(bm.Spec.Site) && o.GetNamespace() == bm.Namespace {
			site := &v1alpha1.Site{}
			if convert(o.Unstructured, site) == nil {
				return site
			}
		}
	}
	return nil
}

func convert(u *unstructured.Unstructured, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into)
}

// apply stores every object, server-side.
func apply(ctx context.Context, c client.Client, objects []recipe.Object) error {
	for _, o := range applyOrder(objects) {
		u := o.DeepCopy()
		u.SetManagedFields(nil)
		err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldOwner), client.ForceOwnership)
		if err != nil {
			return usage(errors.Join(asErrors(o.Explain(err))...))
		}
	}
	return nil
}

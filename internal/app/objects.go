package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
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
	var problems []*recipe.Error
	for _, o := range applyOrder(objects) {
		u := o.DeepCopy()
		if inRecipe(objects, "Namespace", u.GetNamespace()) {
			u.SetNamespace(defaultNamespace) // its own is made with it
		}
		err := c.Create(ctx, u, client.DryRunAll, client.FieldOwner(fieldOwner), client.FieldValidation("Strict"))
		switch {
		case err == nil || apierrors.IsAlreadyExists(err):
		case apierrors.IsNotFound(err):
			problems = append(problems, o.At("metadata.namespace", fmt.Sprintf("there is no namespace %q: add it to the recipe, as an object of kind Namespace", u.GetNamespace())))
		default:
			problems = append(problems, o.Explain(err)...)
		}
	}
	return asError(precise(problems, checkBenchmarks(objects)))
}

// inRecipe says whether an object without a namespace is in the recipe.
func inRecipe(objects []recipe.Object, kind, name string) bool {
	return slices.ContainsFunc(objects, func(o recipe.Object) bool { return o.GetKind() == kind && o.GetName() == name })
}

// precise joins what the API server found with what we found: where the server found something, ours only say which
// item of a list it means. The rest of ours may follow from what the server found.
func precise(server, ours []*recipe.Error) []*recipe.Error {
	if len(server) == 0 {
		return ours
	}
	item := func(list, e *recipe.Error) bool {
		return list.Path != "" && e.File == list.File && strings.HasPrefix(e.Path, list.Path+"[")
	}
	out := slices.DeleteFunc(slices.Clone(server), func(e *recipe.Error) bool {
		return slices.ContainsFunc(ours, func(o *recipe.Error) bool { return item(e, o) })
	})
	for _, o := range ours {
		if slices.ContainsFunc(server, func(e *recipe.Error) bool { return item(e, o) }) {
			out = append(out, o)
		}
	}
	return out
}

// asError makes one error of many, a line each, in the order of the files.
func asError(list []*recipe.Error) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b *recipe.Error) int {
		if a.File != b.File {
			return 0
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	out := make([]error, len(list))
	for i, e := range list {
		out[i] = e
	}
	return usage(errors.Join(out...))
}

// checkBenchmarks finds what admission cannot see.
func checkBenchmarks(objects []recipe.Object) []*recipe.Error {
	var problems []*recipe.Error
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
			problems = append(problems, o.Explain(problem)...)
		}
	}
	return problems
}

// accept checks every object and stores all of them, or none.
func (p *plane) accept(ctx context.Context, objects []recipe.Object) error {
	if err := check(ctx, p.client, objects); err != nil {
		return err
	}
	if err := checkSites(ctx, p.client, objects); err != nil {
		return err
	}
	namespaces := slices.DeleteFunc(slices.Clone(objects), func(o recipe.Object) bool { return o.GetKind() != "Namespace" })
	if err := apply(ctx, p.client, namespaces); err != nil {
		return err
	}
	if err := p.ensureLocalSite(ctx, objects); err != nil {
		return err
	}
	return apply(ctx, p.client, objects)
}

// checkSites finds benchmarks whose Site is neither in the recipe nor on the control plane, before any of them waits.
func checkSites(ctx context.Context, c client.Client, objects []recipe.Object) error {
	var problems []*recipe.Error
	for _, o := range objects {
		bm, err := benchmarkOf(o)
		if err != nil || bm == nil || string(bm.Spec.Site) == localSite || siteOf(objects, bm) != nil {
			continue
		}
		err = c.Get(ctx, types.NamespacedName{Namespace: bm.Namespace, Name: string(bm.Spec.Site)}, &v1alpha1.Site{})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("look for the Site %s: %w", bm.Spec.Site, err)
		}
		if err != nil {
			problems = append(problems, o.At("spec.site", fmt.Sprintf("there is no Site %q in namespace %s: add it to the recipe, or use %q for this machine",
				bm.Spec.Site, bm.Namespace, localSite)))
		}
	}
	return asError(problems)
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
			return asError(o.Explain(err))
		}
	}
	return nil
}

package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/plan"
)

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
	return asError(precise(problems, slices.Concat(checkTwice(objects), checkPlans(objects))))
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

// checkTwice finds a name that two objects of a kind have: a run makes each of them once.
func checkTwice(objects []recipe.Object) []*recipe.Error {
	var problems []*recipe.Error
	seen := map[string]bool{}
	for _, o := range objects {
		key := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if isRun(o) && seen[key] {
			problems = append(problems, o.At("metadata.name", fmt.Sprintf("there are two of kind %s with the name %q: give one of them another name", o.GetKind(), o.GetName())))
		}
		seen[key] = true
	}
	return problems
}

// checkPlans finds what admission cannot see.
func checkPlans(objects []recipe.Object) []*recipe.Error {
	var problems []*recipe.Error
	for _, o := range objects {
		name, placed := siteName(o)
		if !placed {
			continue
		}
		if name == "" {
			problems = append(problems, o.At("spec.site", fmt.Sprintf("a %s that no Benchmark makes needs a Site: name one, or %q for this machine", o.GetKind(), localSite)))
			continue
		}
		site := siteOf(objects, o)
		if site == nil && name != localSite {
			continue // the Site may be in the cluster
		}
		bm, at, err := asBenchmark(objects, o)
		if err != nil {
			continue // the API server said so already
		}
		for _, problem := range plan.Check(bm, site) {
			if problem := partOf(at, problem); problem != nil {
				problems = append(problems, o.Explain(problem)...)
			}
		}
	}
	return problems
}

// partOf is a problem of a Benchmark as one of the part of it that stands at a path, or nil when it is not that part's.
func partOf(at string, problem error) error {
	field, ok := errors.AsType[*v1alpha1.FieldError](problem)
	if !ok {
		return problem
	}
	path, found := strings.CutPrefix(field.Path, at)
	if !found {
		return nil
	}
	return &v1alpha1.FieldError{Path: "spec" + path, Err: field.Err}
}

// asBenchmark is a Benchmark that has what the object has and no more, so that the same checks serve all kinds. The
// object's spec stands in it at the path.
func asBenchmark(objects []recipe.Object, o recipe.Object) (bm *v1alpha1.Benchmark, at string, err error) {
	if isOurs(o, "Benchmark") {
		bm = &v1alpha1.Benchmark{}
		return bm, "spec", convert(o.Unstructured, bm)
	}
	bm = &v1alpha1.Benchmark{Spec: v1alpha1.BenchmarkSpec{Placement: v1alpha1.SeparateJobs}}
	bm.Annotations = o.GetAnnotations() // the time scale
	if isOurs(o, "Service") {
		s := &v1alpha1.Service{}
		err := convert(o.Unstructured, s)
		bm.Spec.Services = []v1alpha1.BenchmarkService{{Name: v1alpha1.Name(s.Name), ServiceParameters: s.Spec.ServiceParameters}}
		return bm, "spec.services[0]", err
	}
	c := &v1alpha1.LoadClient{}
	if err := convert(o.Unstructured, c); err != nil {
		return nil, "", err
	}
	bm.Spec.Clients = []v1alpha1.BenchmarkClient{{Name: v1alpha1.Name(c.Name), ClientParameters: c.Spec.ClientParameters}}
	if c.Spec.Target.Service != "" {
		bm.Spec.Services = []v1alpha1.BenchmarkService{{Name: v1alpha1.Name(c.Spec.Target.Service), ServiceParameters: targetOf(objects, c)}}
	}
	return bm, "spec.clients[0]", nil
}

// targetOf is the Service that a LoadClient loads; one that is not in the recipe may be in the cluster, and is taken for
// one that is well and there already.
func targetOf(objects []recipe.Object, c *v1alpha1.LoadClient) v1alpha1.ServiceParameters {
	s := &v1alpha1.Service{}
	if o, found := target(objects, c.Namespace, c.Spec.Target.Service); found && convert(o.Unstructured, s) == nil {
		return s.Spec.ServiceParameters
	}
	return v1alpha1.ServiceParameters{LLMSim: &v1alpha1.LLMSimEngine{}, Readiness: v1alpha1.Readiness{Timeout: "0s"}, StopTimeout: "0s"}
}

// target finds a Service in the recipe.
func target(objects []recipe.Object, namespace, name string) (recipe.Object, bool) {
	i := slices.IndexFunc(objects, func(o recipe.Object) bool {
		return isOurs(o, "Service") && o.GetNamespace() == namespace && o.GetName() == name
	})
	if i < 0 {
		return recipe.Object{}, false
	}
	return objects[i], true
}

// checkReferences finds Sites and Services that are named and are neither in the recipe nor on the control plane, before
// anything waits for them.
func checkReferences(ctx context.Context, c client.Client, objects []recipe.Object) error {
	var problems []*recipe.Error
	for _, o := range objects {
		if name, placed := siteName(o); placed && name != localSite && siteOf(objects, o) == nil {
			there, err := exists(ctx, c, &v1alpha1.Site{}, o.GetNamespace(), name)
			if err != nil {
				return fmt.Errorf("look for the Site %s: %w", name, err)
			}
			if !there {
				problems = append(problems, o.At("spec.site", fmt.Sprintf("there is no Site %q in namespace %s: add it to the recipe, or use %q for this machine",
					name, o.GetNamespace(), localSite)))
			}
		}
		name, _, _ := unstructured.NestedString(o.Object, "spec", "target", "service")
		if _, found := target(objects, o.GetNamespace(), name); !isOurs(o, "LoadClient") || name == "" || found {
			continue
		}
		there, err := exists(ctx, c, &v1alpha1.Service{}, o.GetNamespace(), name)
		if err != nil {
			return fmt.Errorf("look for the Service %s: %w", name, err)
		}
		if !there {
			problems = append(problems, o.At("spec.target.service", fmt.Sprintf("there is no services.assay.bench %q in namespace %s: add it to the recipe, or use target.url", name, o.GetNamespace())))
		}
	}
	return asError(problems)
}

// checkSecrets finds credentials that are named and that nobody has: the run would wait for them.
func checkSecrets(ctx context.Context, c client.Client, objects []recipe.Object) error {
	var problems []*recipe.Error
	for _, o := range objects {
		if _, placed := siteName(o); !placed {
			continue
		}
		bm, at, err := asBenchmark(objects, o)
		if err != nil {
			continue // the API server said so already
		}
		for i, one := range bm.Spec.Clients {
			of := one.Target.Credentials
			if of == nil || slices.ContainsFunc(objects, func(s recipe.Object) bool {
				return s.GetKind() == "Secret" && s.GetName() == of.Name && s.GetNamespace() == o.GetNamespace()
			}) {
				continue
			}
			there, err := exists(ctx, c, &corev1.Secret{}, o.GetNamespace(), of.Name)
			if apierrors.IsForbidden(err) {
				continue // who runs a recipe on a cluster need not read its Secrets
			}
			if err != nil {
				return fmt.Errorf("look for the Secret %s: %w", of.Name, err)
			}
			if !there {
				path := strings.TrimPrefix(fmt.Sprintf("spec.clients[%d]", i), at)
				problems = append(problems, o.At("spec"+path+".target.credentials.name",
					fmt.Sprintf("there is no Secret %q in namespace %s: add it to the recipe, or make it with assay kubectl create secret", of.Name, o.GetNamespace())))
			}
		}
	}
	return asError(problems)
}

// checkFree finds what is on the control plane under the name of something that this recipe would run: it is somebody
// else's, or of a run before.
func checkFree(ctx context.Context, c client.Client, objects []recipe.Object) error {
	var problems []*recipe.Error
	for _, o := range objects {
		if !isRun(o) {
			continue
		}
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(o.GroupVersionKind())
		there, err := exists(ctx, c, u, o.GetNamespace(), o.GetName())
		if err != nil {
			return fmt.Errorf("look for the %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if there {
			problems = append(problems, taken(o))
		}
	}
	return asError(problems)
}

// taken refuses an object whose name another one has.
func taken(o recipe.Object) *recipe.Error {
	return o.At("metadata.name", fmt.Sprintf("there is a %s %q in namespace %s already: delete it first, or give yours another name", o.GetKind(), o.GetName(), o.GetNamespace()))
}

func exists(ctx context.Context, c client.Client, into client.Object, namespace, name string) (bool, error) {
	err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, into)
	return err == nil, client.IgnoreNotFound(err)
}

// siteName is the Site that an object wants to run on; placed says that it is of a kind that runs on one.
func siteName(o recipe.Object) (name string, placed bool) {
	name, _, _ = unstructured.NestedString(o.Object, "spec", "site")
	switch {
	case isOurs(o, "Benchmark"):
		return cmp.Or(name, localSite), true // the API's default
	case isOurs(o, "Service"), isOurs(o, "LoadClient"):
		return name, true
	}
	return "", false
}

// siteOf finds the Site of an object in the same recipe.
func siteOf(objects []recipe.Object, of recipe.Object) *v1alpha1.Site {
	name, _ := siteName(of)
	for _, o := range objects {
		if isOurs(o, "Site") && o.GetName() == name && o.GetNamespace() == of.GetNamespace() {
			site := &v1alpha1.Site{}
			if convert(o.Unstructured, site) == nil {
				return site
			}
		}
	}
	return nil
}

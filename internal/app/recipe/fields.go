package recipe

import (
	"reflect"
	"slices"
	"strings"

	"assay.bench/api/v1alpha1"
)

// fieldsOf lists every field name below the spec of a kind, for suggestions.
func fieldsOf(kind string) []string {
	types := map[string]any{
		"Site": v1alpha1.SiteSpec{}, "Benchmark": v1alpha1.BenchmarkSpec{}, "Service": v1alpha1.ServiceSpec{},
		"LoadClient": v1alpha1.LoadClientSpec{}, "SlurmJob": v1alpha1.SlurmJobSpec{},
	}
	spec, known := types[kind]
	if !known {
		return nil
	}
	names := map[string]bool{"spec": true, "metadata": true, "apiVersion": true, "kind": true, "name": true, "namespace": true}
	collect(reflect.TypeOf(spec), names)
	var out []string
	for n := range names {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// collect walks the types below t. The API has no recursive type.
func collect(t reflect.Type, names map[string]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names[name] = true
		}
		collect(f.Type, names)
	}
}

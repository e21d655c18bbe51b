package recipe

import (
	"reflect"
	"slices"
	"strings"

	"assay.bench/api/v1alpha1"
)

// kinds of the API, with the types of their specs.
func kinds() map[string]reflect.Type {
	return map[string]reflect.Type{
		"Site":       reflect.TypeFor[v1alpha1.SiteSpec](),
		"Benchmark":  reflect.TypeFor[v1alpha1.BenchmarkSpec](),
		"Service":    reflect.TypeFor[v1alpha1.ServiceSpec](),
		"LoadClient": reflect.TypeFor[v1alpha1.LoadClientSpec](),
		"SlurmJob":   reflect.TypeFor[v1alpha1.SlurmJobSpec](),
	}
}

func kindNames() []string {
	var out []string
	for name := range kinds() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// fieldsAt lists, in order, the fields that an object of a kind may have below the steps of a path, or none where that
// is not known.
func fieldsAt(kind string, path []string) []string {
	spec, known := kinds()[kind]
	switch {
	case !known:
		return nil
	case len(path) == 0:
		return []string{"apiVersion", "kind", "metadata", "spec"}
	case len(path) == 1 && path[0] == "metadata":
		return []string{"annotations", "labels", "name", "namespace"}
	case path[0] != "spec":
		return nil
	}
	names := map[string]reflect.Type{}
	collect(spec, names)
	for _, step := range path[1:] {
		if step == "" || step[0] >= '0' && step[0] <= '9' {
			continue // an item of a list has the fields of its type
		}
		next, found := names[step]
		if !found {
			return nil
		}
		names = map[string]reflect.Type{}
		collect(next, names)
	}
	var out []string
	for name := range names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// collect adds the fields of a struct, those of embedded ones too, with the types that they lead to.
func collect(t reflect.Type, names map[string]reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name != "":
			names[name] = f.Type
		case f.Anonymous:
			collect(f.Type, names)
		}
	}
}

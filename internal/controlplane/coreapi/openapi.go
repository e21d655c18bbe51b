package coreapi

import (
	"maps"
	"reflect"
	"strings"

	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Definitions adds the OpenAPI definitions of the served kinds to those of base. Server-side apply merges by them and
// kubectl explain reads them. They are taken from the Go types, because the generated ones are not importable.
func Definitions(base common.GetOpenAPIDefinitions) common.GetOpenAPIDefinitions {
	return func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		d := definer{ref: ref, done: base(ref)}
		for _, g := range kinds() {
			for _, obj := range g.types {
				d.define(reflect.TypeOf(obj).Elem())
			}
		}
		return d.done
	}
}

type definer struct {
	ref  common.ReferenceCallback
	done map[string]common.OpenAPIDefinition
}

// modelNamer and documented are what the types of k8s.io/api generate for themselves.
type (
	modelNamer interface{ OpenAPIModelName() string }
	documented interface{ SwaggerDoc() map[string]string }
)

func modelName(t reflect.Type) string {
	if n, ok := reflect.TypeAssert[modelNamer](reflect.Zero(t)); ok {
		return n.OpenAPIModelName()
	}
	return ""
}

// define adds the definition of a struct, and of what it refers to, unless it is there.
func (d *definer) define(t reflect.Type) {
	name := modelName(t)
	if _, ok := d.done[name]; ok {
		return
	}
	d.done[name] = common.OpenAPIDefinition{}
	deps := map[string]bool{}
	def := common.OpenAPIDefinition{Schema: d.object(t, deps)}
	for dep := range deps {
		def.Dependencies = append(def.Dependencies, dep)
	}
	d.done[name] = def
}

// object is the schema of a struct. The names of the definitions that it refers to are added to deps.
func (d *definer) object(t reflect.Type, deps map[string]bool) spec.Schema {
	docs := map[string]string{}
	if doc, ok := reflect.TypeAssert[documented](reflect.Zero(t)); ok {
		docs = doc.SwaggerDoc()
	}
	s := spec.Schema{SchemaProps: spec.SchemaProps{
		Type: []string{"object"}, Description: docs[""], Properties: map[string]spec.Schema{},
	}}
	if t.Name() == "ObjectReference" {
		s.AddExtension("x-kubernetes-map-type", "atomic")
	}
	for field := range t.Fields() {
		name, flags, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous {
			inner := d.object(field.Type, deps)
			maps.Copy(s.Properties, inner.Properties)
			s.Required = append(s.Required, inner.Required...)
			continue
		}
		property := d.schema(field.Type, deps)
		property.Description = docs[name]
		merge(&property, field.Tag)
		s.Properties[name] = property
		if !strings.Contains(flags, "omitempty") && name != "metadata" {
			s.Required = append(s.Required, name)
		}
	}
	return s
}

// merge carries the merge strategy of a list over to strategic patches and to server-side apply.
func merge(property *spec.Schema, tag reflect.StructTag) {
	if strategy := tag.Get("patchStrategy"); strategy != "" {
		property.AddExtension("x-kubernetes-patch-strategy", strategy)
	}
	if key := tag.Get("patchMergeKey"); key != "" {
		property.AddExtension("x-kubernetes-patch-merge-key", key)
		property.AddExtension("x-kubernetes-list-type", "map")
		property.AddExtension("x-kubernetes-list-map-keys", []any{key})
	}
}

func (d *definer) schema(t reflect.Type, deps map[string]bool) spec.Schema {
	if t.Kind() == reflect.Pointer {
		return d.schema(t.Elem(), deps)
	}
	if name := modelName(t); name != "" && t.Kind() == reflect.Struct {
		d.define(t)
		deps[name] = true
		return spec.Schema{SchemaProps: spec.SchemaProps{Ref: d.ref(name)}}
	}
	switch t.Kind() {
	case reflect.Struct:
		return d.object(t, deps)
	case reflect.Map:
		return *spec.MapProperty(new(d.schema(t.Elem(), deps)))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return *spec.StrFmtProperty("byte")
		}
		return *spec.ArrayProperty(new(d.schema(t.Elem(), deps)))
	case reflect.Bool:
		return *spec.BooleanProperty()
	case reflect.Int32:
		return *spec.Int32Property()
	case reflect.Int, reflect.Int64:
		return *spec.Int64Property()
	default:
		return *spec.StringProperty()
	}
}

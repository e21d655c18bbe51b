package coreapi

import (
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/apiserver/pkg/storage/storagebackend"
)

// eventTTL is how long an event is kept, in seconds: an hour, as in Kubernetes.
const eventTTL = 3600

// resource is one kind of the registry.
type resource struct {
	group            string
	plural, singular string
	short            []string
	obj, list        runtime.Object
	table            table
	strategy         strategy
	// fields are the values that a field selector may ask for, beside name and namespace.
	fields func(runtime.Object) fields.Set
	ttl    uint64
}

// store is a registry.Store with the short names of its resource.
type store struct {
	*registry.Store
	short []string
}

// ShortNames are the abbreviations that kubectl knows.
func (s *store) ShortNames() []string { return s.short }

func resources(now func() time.Time) []resource {
	return []resource{
		{
			plural: "namespaces", singular: "namespace", short: []string{"ns"},
			obj: &corev1.Namespace{}, list: &corev1.NamespaceList{},
			table:    table{columns("Name", "Status", "Age"), namespaceCells, now},
			strategy: strategy{clusterScoped: true, prepare: prepareNamespace, validate: validateNamespace},
			fields: func(o runtime.Object) fields.Set {
				return fields.Set{"status.phase": string(o.(*corev1.Namespace).Status.Phase)}
			},
		},
		{
			plural: "secrets", singular: "secret",
			obj: &corev1.Secret{}, list: &corev1.SecretList{},
			table:    table{columns("Name", "Type", "Data", "Age"), secretCells, now},
			strategy: strategy{prepare: prepareSecret, validate: validateSecret},
			fields: func(o runtime.Object) fields.Set {
				return fields.Set{"type": string(o.(*corev1.Secret).Type)}
			},
		},
		{
			plural: "configmaps", singular: "configmap", short: []string{"cm"},
			obj: &corev1.ConfigMap{}, list: &corev1.ConfigMapList{},
			table:    table{columns("Name", "Data", "Age"), configMapCells, now},
			strategy: strategy{validate: validateConfigMap},
		},
		{
			// The stored form serves the core group and events.k8s.io. The short name is on the core group only,
			// or kubectl would warn about it.
			plural: "events", singular: "event", short: []string{"ev"},
			obj: &corev1.Event{}, list: &corev1.EventList{},
			table: table{columns("Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message",
				"+First Seen", "+Count", "+Name"), eventCells, now},
			strategy: strategy{validate: validateEvent, upsert: true},
			fields:   eventFields,
			ttl:      eventTTL,
		},
		{
			group: coordinationv1.GroupName, plural: "leases", singular: "lease",
			obj: &coordinationv1.Lease{}, list: &coordinationv1.LeaseList{},
			table:    table{columns("Name", "Holder", "Age"), leaseCells, now},
			strategy: strategy{validate: validateLease, upsert: true, conditional: true},
		},
	}
}

func eventFields(o runtime.Object) fields.Set {
	e := o.(*corev1.Event)
	source := e.Source.Component
	if source == "" {
		source = e.ReportingController
	}
	r := e.InvolvedObject
	return fields.Set{
		"involvedObject.kind": r.Kind, "involvedObject.namespace": r.Namespace, "involvedObject.name": r.Name,
		"involvedObject.uid": string(r.UID), "involvedObject.apiVersion": r.APIVersion,
		"involvedObject.resourceVersion": r.ResourceVersion, "involvedObject.fieldPath": r.FieldPath,
		"reason": e.Reason, "type": e.Type, "source": source, "reportingComponent": e.ReportingController,
	}
}

// options tells a store where its objects are and how they are encoded.
type options struct {
	backend storagebackend.Config
	codecs  serializer.CodecFactory
	version schema.GroupVersion
}

// GetRESTOptions implements generic.RESTOptionsGetter. There is no watch cache: every read sees the last write.
func (o options) GetRESTOptions(gr schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	backend := o.backend
	backend.Codec = o.codecs.LegacyCodec(o.version)
	return generic.RESTOptions{
		StorageConfig:           backend.ForResource(gr),
		Decorator:               generic.UndecoratedStorage,
		DeleteCollectionWorkers: 4,
		ResourcePrefix:          gr.Group + "/" + gr.Resource,
	}, nil
}

func newStore(s *runtime.Scheme, backend storagebackend.Config, r resource) (*store, error) {
	kinds, _, err := s.ObjectKinds(r.obj)
	if err != nil || len(kinds) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: not in the scheme", r.plural), err)
	}
	r.strategy.ObjectTyper, r.strategy.NameGenerator = s, names.SimpleNameGenerator
	attrs := func(obj runtime.Object) (labels.Set, fields.Set, error) {
		m, err := meta.Accessor(obj)
		if err != nil {
			return nil, nil, err
		}
		set := fields.Set{"metadata.name": m.GetName()}
		if !r.strategy.clusterScoped {
			set["metadata.namespace"] = m.GetNamespace()
		}
		if r.fields != nil {
			set = generic.MergeFieldsSets(set, r.fields(obj))
		}
		return m.GetLabels(), set, nil
	}
	st := &registry.Store{
		NewFunc:                   func() runtime.Object { return r.obj.DeepCopyObject() },
		NewListFunc:               func() runtime.Object { return r.list.DeepCopyObject() },
		DefaultQualifiedResource:  schema.GroupResource{Group: r.group, Resource: r.plural},
		SingularQualifiedResource: schema.GroupResource{Group: r.group, Resource: r.singular},
		CreateStrategy:            r.strategy,
		UpdateStrategy:            r.strategy,
		DeleteStrategy:            r.strategy,
		TableConvertor:            r.table,
		PredicateFunc: func(l labels.Selector, f fields.Selector) storage.SelectionPredicate {
			return storage.SelectionPredicate{Label: l, Field: f, GetAttrs: attrs}
		},
	}
	if r.ttl > 0 {
		st.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return r.ttl, nil }
	}
	version := schema.GroupVersion{Group: r.group, Version: "v1"}
	getter := options{backend: backend, codecs: serializer.NewCodecFactory(s), version: version}
	if err := st.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter, AttrFunc: attrs}); err != nil {
		return nil, fmt.Errorf("%s: %w", r.plural, err)
	}
	return &store{Store: st, short: r.short}, nil
}

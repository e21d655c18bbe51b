// Package coreapi serves the few built-in kinds that Assay and kubectl need from a small registry: Namespaces,
// Secrets, ConfigMaps, Events (of both groups over one store), Leases, and the access reviews.
package coreapi

import (
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kinds are the types that are served, by group. The first group is the legacy one.
func kinds() []groupKinds {
	return []groupKinds{
		{corev1.SchemeGroupVersion, []runtime.Object{
			&corev1.Namespace{}, &corev1.NamespaceList{}, &corev1.Secret{}, &corev1.SecretList{},
			&corev1.ConfigMap{}, &corev1.ConfigMapList{}, &corev1.Event{}, &corev1.EventList{},
		}},
		{coordinationv1.SchemeGroupVersion, []runtime.Object{&coordinationv1.Lease{}, &coordinationv1.LeaseList{}}},
		{eventsv1.SchemeGroupVersion, []runtime.Object{&eventsv1.Event{}, &eventsv1.EventList{}}},
		{authorizationv1.SchemeGroupVersion, []runtime.Object{
			&authorizationv1.SelfSubjectAccessReview{}, &authorizationv1.SelfSubjectRulesReview{},
			&authorizationv1.SubjectAccessReview{}, &authorizationv1.LocalSubjectAccessReview{},
		}},
		{authenticationv1.SchemeGroupVersion, []runtime.Object{&authenticationv1.SelfSubjectReview{}}},
	}
}

type groupKinds struct {
	version schema.GroupVersion
	types   []runtime.Object
}

// NewExternalScheme returns a scheme with the served types only. It names the kinds in the OpenAPI document.
func NewExternalScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, g := range kinds() {
		s.AddKnownTypes(g.version, g.types...)
		metav1.AddToGroupVersion(s, g.version)
	}
	return s
}

// NewScheme returns the scheme of the registry. The types of a group are also its internal types, so nothing is
// converted; only events.k8s.io keeps its objects as core Events.
func NewScheme() (*runtime.Scheme, error) {
	s := NewExternalScheme()
	s.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &metav1.Status{}, &metav1.APIVersions{},
		&metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
	for _, g := range kinds() {
		internal := schema.GroupVersion{Group: g.version.Group, Version: runtime.APIVersionInternal}
		if g.version.Group == eventsv1.GroupName {
			s.AddKnownTypes(internal, &corev1.Event{}, &corev1.EventList{})
			continue
		}
		s.AddKnownTypes(internal, g.types...)
	}
	if err := addEventConversions(s); err != nil {
		return nil, err
	}
	return s, addFieldLabels(s)
}

// addFieldLabels names the fields that a field selector may use, per kind.
func addFieldLabels(s *runtime.Scheme) error {
	labels := map[schema.GroupVersionKind]map[string]string{
		corev1.SchemeGroupVersion.WithKind("Namespace"): {"status.phase": "status.phase", "name": "metadata.name"},
		corev1.SchemeGroupVersion.WithKind("Secret"):    {"type": "type"},
		corev1.SchemeGroupVersion.WithKind("Event"):     eventLabels("involvedObject"),
		eventsv1.SchemeGroupVersion.WithKind("Event"):   eventLabels("regarding"),
	}
	for kind, known := range labels {
		err := s.AddFieldLabelConversionFunc(kind, func(label, value string) (string, string, error) {
			if label == "metadata.name" || label == "metadata.namespace" {
				return label, value, nil
			}
			if stored, ok := known[label]; ok {
				return stored, value, nil
			}
			return "", "", fmt.Errorf("field label not supported: %s", label)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eventLabels maps the field labels of an event to those of the stored core Event. The group names the field that
// holds the object of the event.
func eventLabels(object string) map[string]string {
	m := map[string]string{"reason": "reason", "type": "type", "source": "source"}
	m["reportingComponent"], m["reportingController"] = "reportingComponent", "reportingComponent"
	for part := range strings.FieldsSeq("kind namespace name uid apiVersion resourceVersion fieldPath") {
		m[object+"."+part] = "involvedObject." + part
	}
	return m
}

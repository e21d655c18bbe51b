package coreapi

import (
	"context"
	"maps"
	"reflect"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// maxData is the most bytes that the values of a Secret or a ConfigMap may have together, as in Kubernetes.
const maxData = 1 << 20

// named checks the name of an object as a DNS subdomain.
func named(name string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range apivalidation.NameIsDNSSubdomain(name, false) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, msg))
	}
	return errs
}

func prepareNamespace(obj, old runtime.Object) {
	ns := obj.(*corev1.Namespace)
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[corev1.LabelMetadataName] = ns.Name
	if old == nil {
		ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
		ns.Spec.Finalizers = []corev1.FinalizerName{corev1.FinalizerKubernetes}
		return
	}
	was := old.(*corev1.Namespace)
	ns.Status, ns.Spec.Finalizers = was.Status, was.Spec.Finalizers
}

func validateNamespace(_ context.Context, obj, _ runtime.Object) field.ErrorList {
	var errs field.ErrorList
	name := obj.(*corev1.Namespace).Name
	for _, msg := range apivalidation.ValidateNamespaceName(name, false) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name, msg))
	}
	return errs
}

func prepareSecret(obj, _ runtime.Object) {
	s := obj.(*corev1.Secret)
	if s.Type == "" {
		s.Type = corev1.SecretTypeOpaque
	}
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for key, value := range s.StringData {
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
}

func validateSecret(_ context.Context, obj, old runtime.Object) field.ErrorList {
	s := obj.(*corev1.Secret)
	errs := named(s.Name)
	size := 0
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		errs = append(errs, validKey("data", key)...)
		size += len(s.Data[key])
	}
	errs = append(errs, validSize(size)...)
	if old == nil {
		return errs
	}
	was := old.(*corev1.Secret)
	errs = append(errs, apivalidation.ValidateImmutableField(s.Type, was.Type, field.NewPath("type"))...)
	same := reflect.DeepEqual(s.Data, was.Data) || len(s.Data)+len(was.Data) == 0
	return append(errs, immutable(was.Immutable, s.Immutable, same)...)
}

func validateConfigMap(_ context.Context, obj, old runtime.Object) field.ErrorList {
	c := obj.(*corev1.ConfigMap)
	errs := named(c.Name)
	size := 0
	for _, key := range slices.Sorted(maps.Keys(c.Data)) {
		errs = append(errs, validKey("data", key)...)
		size += len(c.Data[key])
		if _, twice := c.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(key), key, "the key is in binaryData too"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.BinaryData)) {
		errs = append(errs, validKey("binaryData", key)...)
		size += len(c.BinaryData[key])
	}
	errs = append(errs, validSize(size)...)
	if old == nil {
		return errs
	}
	was := old.(*corev1.ConfigMap)
	same := maps.Equal(c.Data, was.Data) && maps.EqualFunc(c.BinaryData, was.BinaryData, slices.Equal[[]byte])
	return append(errs, immutable(was.Immutable, c.Immutable, same)...)
}

func validKey(path, key string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range validation.IsConfigMapKey(key) {
		errs = append(errs, field.Invalid(field.NewPath(path).Key(key), key, msg))
	}
	return errs
}

func validSize(size int) field.ErrorList {
	if size <= maxData {
		return nil
	}
	return field.ErrorList{field.TooLong(field.NewPath("data"), "", maxData)}
}

// immutable checks an update of an object whose immutable field was set: neither the field nor the data may change.
func immutable(was, is *bool, sameData bool) field.ErrorList {
	if was == nil || !*was {
		return nil
	}
	var errs field.ErrorList
	if is == nil || !*is {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), "field is immutable when `immutable` is set"))
	}
	if !sameData {
		errs = append(errs, field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set"))
	}
	return errs
}

func validateLease(_ context.Context, obj, _ runtime.Object) field.ErrorList {
	lease := obj.(*coordinationv1.Lease)
	errs := named(lease.Name)
	if d := lease.Spec.LeaseDurationSeconds; d != nil && *d <= 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "leaseDurationSeconds"), *d, "must be greater than 0"))
	}
	if n := lease.Spec.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	return errs
}

// validateEvent holds events that come through events.k8s.io to the rules of a real cluster, so that a recorder that
// works here works there. The core group has no rules beyond the namespace.
func validateEvent(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	e := obj.(*corev1.Event)
	errs := named(e.Name)
	if ns := e.InvolvedObject.Namespace; ns != e.Namespace && (ns != "" || e.Namespace != corev1.NamespaceDefault) {
		errs = append(errs, field.Invalid(field.NewPath("involvedObject", "namespace"), ns, "does not match event.namespace"))
	}
	if info, ok := request.RequestInfoFrom(ctx); !ok || info.APIGroup != eventsv1.GroupName {
		return errs
	}
	if old != nil {
		was := old.(*corev1.Event)
		errs = append(errs, apivalidation.ValidateImmutableField(e.InvolvedObject, was.InvolvedObject, field.NewPath("regarding"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(e.Reason, was.Reason, field.NewPath("reason"))...)
		return append(errs, apivalidation.ValidateImmutableField(e.Message, was.Message, field.NewPath("note"))...)
	}
	if e.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.NotSupported(field.NewPath("type"), e.Type, []string{corev1.EventTypeNormal, corev1.EventTypeWarning}))
	}
	for _, word := range []struct {
		name, value string
		most        int
	}{{"reason", e.Reason, 128}, {"action", e.Action, 128}, {"reportingInstance", e.ReportingInstance, 128}, {"reportingController", e.ReportingController, 253}} {
		if word.value == "" {
			errs = append(errs, field.Required(field.NewPath(word.name), ""))
		}
		if len(word.value) > word.most {
			errs = append(errs, field.TooLong(field.NewPath(word.name), "", word.most))
		}
	}
	if len(e.Message) > 1024 {
		errs = append(errs, field.TooLong(field.NewPath("note"), "", 1024))
	}
	return errs
}

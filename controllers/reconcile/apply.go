package reconcile

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	apply "assay.bench/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

// Configuration turns a child into its typed apply configuration: name, labels, annotations, owners and spec.
func Configuration(o client.Object) (runtime.ApplyConfiguration, error) {
	switch o := o.(type) {
	case *v1alpha1.Service:
		spec, err := recode[apply.ServiceSpecApplyConfiguration](o.Spec)
		return apply.Service(o.Name, o.Namespace).WithLabels(o.Labels).WithAnnotations(o.Annotations).
			WithOwnerReferences(owners(o)...).WithSpec(spec), err
	case *v1alpha1.LoadClient:
		spec, err := recode[apply.LoadClientSpecApplyConfiguration](o.Spec)
		return apply.LoadClient(o.Name, o.Namespace).WithLabels(o.Labels).WithAnnotations(o.Annotations).
			WithOwnerReferences(owners(o)...).WithSpec(spec), err
	case *v1alpha1.SlurmJob:
		spec, err := recode[apply.SlurmJobSpecApplyConfiguration](o.Spec)
		return apply.SlurmJob(o.Name, o.Namespace).WithLabels(o.Labels).WithAnnotations(o.Annotations).
			WithOwnerReferences(owners(o)...).WithSpec(spec), err
	}
	return nil, fmt.Errorf("%T is no kind of child", o)
}

// recode copies a spec into its apply configuration: both have the same JSON.
func recode[T any](spec any) (*T, error) {
	b, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	out := new(T)
	return out, json.Unmarshal(b, out)
}

func owners(o metav1.Object) []*applymeta.OwnerReferenceApplyConfiguration {
	var out []*applymeta.OwnerReferenceApplyConfiguration
	for _, r := range o.GetOwnerReferences() {
		out = append(out, applymeta.OwnerReference().
			WithAPIVersion(r.APIVersion).WithKind(r.Kind).WithName(r.Name).WithUID(r.UID).
			WithController(*r.Controller).WithBlockOwnerDeletion(*r.BlockOwnerDeletion))
	}
	return out
}

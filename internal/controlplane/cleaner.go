package controlplane

import (
	"context"
	"errors"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	listers "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
)

// sweepInterval is the pause between two looks at a namespace whose content is still ending.
const sweepInterval = 250 * time.Millisecond

// cleaner deletes the content of a namespace, as a cluster's namespace controller does.
type cleaner struct {
	client metadata.Interface
	crds   listers.CustomResourceDefinitionLister
}

// empty deletes every object in a namespace and says whether nothing is left. Objects with finalizers stay until
// their controllers are done.
func (c cleaner) empty(ctx context.Context, namespace string) (bool, error) {
	resources, err := c.resources()
	if err != nil {
		return false, err
	}
	gone := true
	var errs []error
	for _, gvr := range resources {
		client := c.client.Resource(gvr).Namespace(namespace)
		list, err := client.List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil && len(list.Items) > 0 {
			gone = false
			err = client.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}
		errs = append(errs, err)
	}
	return gone, errors.Join(errs...)
}

// resources are all namespaced ones: custom resources first, since their controllers may still need the Secrets.
func (c cleaner) resources() ([]schema.GroupVersionResource, error) {
	crds, err := c.crds.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	var all []schema.GroupVersionResource
	for _, crd := range crds {
		if crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
			continue
		}
		for _, v := range crd.Spec.Versions {
			if v.Served {
				all = append(all, schema.GroupVersionResource{Group: crd.Spec.Group, Version: v.Name, Resource: crd.Spec.Names.Plural})
				break
			}
		}
	}
	return append(all,
		schema.GroupVersionResource{Version: "v1", Resource: "secrets"},
		schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
		schema.GroupVersionResource{Version: "v1", Resource: "events"},
	), nil
}

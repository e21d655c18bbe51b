package coreapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
)

// Namespaces that exist from the start and cannot be deleted. The UID of kube-system names the control plane.
func permanent() []string { return []string{metav1.NamespaceDefault, metav1.NamespaceSystem} }

// NamespaceGuard refuses what a cluster refuses: writing into a namespace that does not exist, creating in one that
// is being deleted, and deleting a namespace that must stay. It reads the namespace from the storage, not from a
// cache, so an object can be created right after its namespace.
type NamespaceGuard struct {
	namespaces atomic.Pointer[namespaces]
}

var _ admission.ValidationInterface = (*NamespaceGuard)(nil)

// Handles says that the guard looks at creations and deletions.
func (g *NamespaceGuard) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Delete
}

// Validate returns NotFound for a missing namespace and Forbidden for the others.
func (g *NamespaceGuard) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetKind().GroupKind() == corev1.SchemeGroupVersion.WithKind("Namespace").GroupKind() {
		if a.GetOperation() == admission.Delete && slices.Contains(permanent(), a.GetName()) {
			return apierrors.NewForbidden(corev1.Resource("namespaces"), a.GetName(), errors.New("this namespace may not be deleted"))
		}
		return nil
	}
	name := a.GetNamespace()
	if name == "" || a.GetOperation() != admission.Create || a.GetResource().Group == authorizationv1.GroupName {
		return nil
	}
	n := g.namespaces.Load()
	if n == nil {
		return apierrors.NewServiceUnavailable("the control plane is starting")
	}
	ns, err := n.read(ctx, name)
	if err != nil {
		return err
	}
	if ns.DeletionTimestamp == nil {
		return nil
	}
	refused := admission.NewForbidden(a, fmt.Errorf("unable to create new content in namespace %s because it is being terminated", name))
	if status, ok := errors.AsType[*apierrors.StatusError](refused); ok {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{
			Type: corev1.NamespaceTerminatingCause, Field: "metadata.namespace",
			Message: fmt.Sprintf("namespace %s is being terminated", name),
		})
	}
	return refused
}

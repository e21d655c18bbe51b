package coreapi

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storeerrors "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"
)

// namespaces serves Namespaces as a cluster does: a deletion only marks the namespace as Terminating, and finish
// removes it once its content is gone. Collections cannot be deleted.
type namespaces struct {
	store *store
	// terminating is called after a namespace was marked. It must not block.
	terminating func()
	now         func() time.Time
}

func (n *namespaces) New() runtime.Object     { return n.store.New() }
func (n *namespaces) NewList() runtime.Object { return n.store.NewList() }
func (n *namespaces) Destroy()                { n.store.Destroy() }
func (n *namespaces) NamespaceScoped() bool   { return false }
func (n *namespaces) ShortNames() []string    { return n.store.ShortNames() }
func (n *namespaces) GetSingularName() string { return n.store.GetSingularName() }
func (n *namespaces) ReadinessCheck() error   { return n.store.ReadinessCheck() }

func (n *namespaces) ConvertToTable(ctx context.Context, obj, o runtime.Object) (*metav1.Table, error) {
	return n.store.ConvertToTable(ctx, obj, o)
}

func (n *namespaces) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	return n.store.Get(ctx, name, o)
}

func (n *namespaces) List(ctx context.Context, o *internalversion.ListOptions) (runtime.Object, error) {
	return n.store.List(ctx, o)
}

func (n *namespaces) Watch(ctx context.Context, o *internalversion.ListOptions) (watch.Interface, error) {
	return n.store.Watch(ctx, o)
}

func (n *namespaces) Create(ctx context.Context, obj runtime.Object, v rest.ValidateObjectFunc, o *metav1.CreateOptions) (runtime.Object, error) {
	return n.store.Create(ctx, obj, v, o)
}

func (n *namespaces) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, c rest.ValidateObjectFunc,
	u rest.ValidateObjectUpdateFunc, create bool, o *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return n.store.Update(ctx, name, info, c, u, create, o)
}

// Delete marks the namespace as Terminating. Deleting it again changes nothing.
func (n *namespaces) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, o *metav1.DeleteOptions) (runtime.Object, bool, error) {
	ns, err := n.read(ctx, name)
	if err != nil {
		return nil, false, err
	}
	if ns.DeletionTimestamp == nil {
		ns, err = n.terminate(ctx, ns, validate, o)
		if err != nil {
			return nil, false, err
		}
	}
	if dryrun.IsDryRun(o.DryRun) {
		return ns, false, nil
	}
	n.terminating()
	return ns, false, nil
}

func (n *namespaces) terminate(ctx context.Context, ns *corev1.Namespace, validate rest.ValidateObjectFunc, o *metav1.DeleteOptions) (*corev1.Namespace, error) {
	precondition := storage.Preconditions{UID: &ns.UID}
	if o.Preconditions != nil {
		precondition.ResourceVersion = o.Preconditions.ResourceVersion
		if o.Preconditions.UID != nil {
			precondition.UID = o.Preconditions.UID
		}
	}
	return n.change(ctx, ns.Name, &precondition, dryrun.IsDryRun(o.DryRun), func(ns *corev1.Namespace) error {
		if validate != nil {
			if err := validate(ctx, ns); err != nil {
				return err
			}
		}
		if ns.DeletionTimestamp == nil {
			at := metav1.NewTime(n.now())
			ns.DeletionTimestamp, ns.DeletionGracePeriodSeconds = &at, new(int64)
			ns.Status.Phase = corev1.NamespaceTerminating
		}
		return nil
	})
}

// finish removes a terminating namespace whose content is gone. A finalizer of its own keeps it.
func (n *namespaces) finish(ctx context.Context, name string) error {
	_, err := n.change(ctx, name, nil, false, func(ns *corev1.Namespace) error {
		if ns.DeletionTimestamp == nil {
			return apierrors.NewConflict(corev1.Resource("namespaces"), name, fmt.Errorf("the namespace is not terminating"))
		}
		ns.Spec.Finalizers = nil
		return nil
	})
	if err != nil {
		return err
	}
	_, _, err = n.store.Delete(ctx, name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{})
	return err
}

func (n *namespaces) change(ctx context.Context, name string, p *storage.Preconditions, dry bool, f func(*corev1.Namespace) error) (*corev1.Namespace, error) {
	key, err := n.store.KeyFunc(ctx, name)
	if err != nil {
		return nil, err
	}
	out := &corev1.Namespace{}
	update := storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
		return obj, f(obj.(*corev1.Namespace))
	})
	if err := n.store.Storage.GuaranteedUpdate(ctx, key, out, false, p, update, dry, nil); err != nil {
		return nil, storeerrors.InterpretUpdateError(err, corev1.Resource("namespaces"), name)
	}
	return out, nil
}

// removable lets an update that takes the last finalizer away remove the namespace, but never before its content.
func removable(ctx context.Context, key string, obj, existing runtime.Object) bool {
	return len(obj.(*corev1.Namespace).Spec.Finalizers) == 0 && registry.ShouldDeleteDuringUpdate(ctx, key, obj, existing)
}

// read gets a namespace from the storage, without any cache.
func (n *namespaces) read(ctx context.Context, name string) (*corev1.Namespace, error) {
	obj, err := n.store.Get(ctx, name, &metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
	}
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Namespace), nil
}

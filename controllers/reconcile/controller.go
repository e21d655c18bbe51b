package reconcile

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// conflictPause is how long to wait for the cache after a status was refused as old.
const conflictPause = 50 * time.Millisecond

// Controller runs a Kind. It is a reconciler of controller-runtime.
type Controller[O Object[S], S, W any] struct {
	// Kind is the controller's knowledge.
	Kind Kind[O, S, W]
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Events takes what has happened.
	Events events.EventRecorder
	// Owner is the field manager of everything that is written.
	Owner string
	// Now is the clock.
	Now func() time.Time
}

// Reconcile makes one pass over one object.
func (c *Controller[O, S, W]) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	obj := c.Kind.New()
	if err := c.Client.Get(ctx, req.NamespacedName, obj); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	finalizer := c.Kind.Finalizer(obj)
	deleting := !obj.GetDeletionTimestamp().IsZero()
	if !deleting && finalizer != "" && !slices.Contains(obj.GetFinalizers(), finalizer) {
		// The write wakes us again, with the finalizer in place.
		return c.again(0, c.setFinalizers(ctx, obj, finalizer))
	}
	seen, err := c.Kind.Observe(ctx, obj)
	switch {
	case apierrors.IsConflict(err):
		return c.again(0, err)
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("observe %s: %w", req, err)
	}
	d := c.Kind.Decide(obj.DeepCopyObject().(O), seen, c.Now())
	changed := !reflect.DeepEqual(*obj.GetStatus(), d.Status)
	if changed {
		if err := c.storeStatus(ctx, obj, d.Status); err != nil {
			return c.again(0, err)
		}
		c.emit(obj, d.Events)
	}
	for _, e := range d.Do {
		if err := c.Kind.Perform(ctx, obj, e); err != nil {
			return c.again(0, fmt.Errorf("%T for %s: %w", e, req, err))
		}
	}
	if d.Release && deleting {
		return c.again(0, c.setFinalizers(ctx, obj))
	}
	return c.again(d.After, nil)
}

// again turns what a write met into when to look next. A conflict and a vanished object are not errors: both mean that
// the decision was made from an old look.
func (c *Controller[O, S, W]) again(after time.Duration, err error) (ctrl.Result, error) {
	var conflict *apierrors.StatusError
	switch {
	case err == nil:
		return ctrl.Result{RequeueAfter: after}, nil
	case errors.As(err, &conflict) && apierrors.IsConflict(conflict):
		return ctrl.Result{RequeueAfter: conflictPause}, nil
	case apierrors.IsNotFound(err):
		return ctrl.Result{RequeueAfter: conflictPause}, nil
	}
	return ctrl.Result{}, err
}

// storeStatus applies the whole status with the resourceVersion that it was decided from, and leaves the object with
// the new status and version.
func (c *Controller[O, S, W]) storeStatus(ctx context.Context, obj O, status S) error {
	u, err := c.skeleton(obj)
	if err != nil {
		return err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return fmt.Errorf("status of %s: %w", obj.GetName(), err)
	}
	u.Object["status"] = content
	u.SetResourceVersion(obj.GetResourceVersion())
	u.SetUID(obj.GetUID())
	err = c.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(c.Owner), client.ForceOwnership)
	if err != nil {
		return err
	}
	*obj.GetStatus() = status
	obj.SetResourceVersion(u.GetResourceVersion())
	return nil
}

// setFinalizers applies our finalizers: a set of which we own just these.
func (c *Controller[O, S, W]) setFinalizers(ctx context.Context, obj O, finalizers ...string) error {
	u, err := c.skeleton(obj)
	if err != nil {
		return err
	}
	u.SetFinalizers(finalizers)
	u.SetUID(obj.GetUID()) // never recreate an object that is gone
	owner := client.FieldOwner(c.Owner + "-finalizer")
	return c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), owner, client.ForceOwnership)
}

// skeleton is an apply configuration that names the object and owns nothing.
func (c *Controller[O, S, W]) skeleton(obj O) (*unstructured.Unstructured, error) {
	gvk, err := apiutil.GVKForObject(obj, c.Client.Scheme())
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	u.SetNamespace(obj.GetNamespace())
	u.SetName(obj.GetName())
	return u, nil
}

// emit tells people what happened. Events are best effort: a lost one changes nothing.
func (c *Controller[O, S, W]) emit(obj O, list []Event) {
	for _, e := range list {
		kind := corev1.EventTypeNormal
		if e.Warning {
			kind = corev1.EventTypeWarning
		}
		c.Events.Eventf(obj, nil, kind, e.Reason, e.Action, "%s", short(e.Message))
	}
}

// maxNote is the API's bound on an event's note, in bytes.
const maxNote = 1024

// short cuts a message to what an event can hold, at the end of a character.
func short(message string) string {
	if len(message) <= maxNote {
		return message
	}
	const ellipsis = "…"
	cut := maxNote - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + ellipsis
}

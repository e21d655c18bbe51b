package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

// The kinds of children.
const (
	KindService    = "Service"
	KindLoadClient = "LoadClient"
	KindSlurmJob   = "SlurmJob"
	KindSecret     = "Secret"
)

// Child is an object that a controller made for another object, as far as its removal needs it.
type Child struct {
	Kind, Name string
	UID        types.UID
	// Run is the label of the run that the child belongs to.
	Run string
	// Deleting says that the child is being deleted, Abandoned that it has the abandon annotation.
	Deleting, Abandoned bool
}

// Delete is the effect that deletes a child. An object of the same name with another UID stays.
type Delete struct {
	Kind, Name string
	UID        types.UID
}

// Abandon is the effect that hands the abandon annotation down to a SlurmJob.
type Abandon struct {
	Name string
	UID  types.UID
}

// Removal returns what brings the children nearer to being gone: SlurmJobs first, for the others are what their jobs
// speak of. Call it until no child is left. It returns nothing while everything that can be asked for was asked for.
func Removal(children []Child, abandon bool) []Effect {
	next := func(jobs bool) []Child {
		return slices.DeleteFunc(slices.Clone(children), func(c Child) bool { return (c.Kind == KindSlurmJob) != jobs })
	}
	stage := next(true)
	if len(stage) == 0 {
		stage = next(false)
	}
	var out []Effect
	for _, c := range stage {
		if abandon && c.Kind == KindSlurmJob && !c.Abandoned {
			out = append(out, Abandon{Name: c.Name, UID: c.UID})
		}
		if !c.Deleting {
			out = append(out, Delete{Kind: c.Kind, Name: c.Name, UID: c.UID})
		}
	}
	return out
}

// The pauses between two looks at children that are being removed. A watch tells of a SlurmJob that is gone; of a Secret
// nothing does, but it goes at once.
const (
	jobPause  = 2 * time.Second
	restPause = 20 * time.Millisecond
)

// RemovalPause is when to look again at children that are being removed.
func RemovalPause(children []Child) time.Duration {
	if slices.ContainsFunc(children, func(c Child) bool { return c.Kind == KindSlurmJob }) {
		return jobPause
	}
	return restPause
}

// IsAbandoned says whether an object's deletion may finish without proof that its jobs are gone.
func IsAbandoned(o client.Object) bool {
	return o.GetAnnotations()[v1alpha1.AnnotationAbandon] == "true"
}

// Children lists and removes children.
type Children struct {
	// Client writes; Live reads from the API server itself, never from a cache.
	Client client.Client
	Live   client.Reader
	// Owner is the field manager of what is written.
	Owner string
}

// Fresh returns a conflict unless the API server still holds an object as it was read: the cache of a controller may lag
// behind what the controller itself has just written. Ask before children are removed because of the object's status.
func (c Children) Fresh(ctx context.Context, o client.Object) error {
	stored, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object of an API", o)
	}
	if err := c.Live.Get(ctx, client.ObjectKeyFromObject(o), stored); err != nil {
		return fmt.Errorf("read %s again: %w", o.GetName(), err)
	}
	if stored.GetUID() == o.GetUID() && stored.GetResourceVersion() == o.GetResourceVersion() {
		return nil
	}
	return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), errors.New("it has changed since it was read"))
}

// List reads the children with these labels from the API server: SlurmJobs, LoadClients, Services and Secrets.
func (c Children) List(ctx context.Context, namespace string, selector labels.Set) ([]Child, error) {
	lists := []struct {
		kind string
		list client.ObjectList
	}{
		{KindSlurmJob, &v1alpha1.SlurmJobList{}},
		{KindLoadClient, &v1alpha1.LoadClientList{}},
		{KindService, &v1alpha1.ServiceList{}},
		{KindSecret, &corev1.SecretList{}},
	}
	var out []Child
	for _, l := range lists {
		found, err := c.list(ctx, l.kind, l.list, namespace, selector)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// Secrets reads only the Secrets with these labels from the API server.
func (c Children) Secrets(ctx context.Context, namespace string, selector labels.Set) ([]Child, error) {
	return c.list(ctx, KindSecret, &corev1.SecretList{}, namespace, selector)
}

func (c Children) list(ctx context.Context, kind string, list client.ObjectList, namespace string, selector labels.Set) ([]Child, error) {
	err := c.Live.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels(selector))
	if err != nil {
		return nil, fmt.Errorf("list %ss of %s: %w", kind, selector, err)
	}
	var out []Child
	for _, o := range objects(list) {
		out = append(out, NewChild(kind, o))
	}
	return out, nil
}

// NewChild takes what a removal needs from an object.
func NewChild(kind string, o client.Object) Child {
	return Child{
		Kind: kind, Name: o.GetName(), UID: o.GetUID(), Run: o.GetLabels()[v1alpha1.LabelRun],
		Deleting: !o.GetDeletionTimestamp().IsZero(), Abandoned: IsAbandoned(o),
	}
}

func objects(list client.ObjectList) []client.Object {
	var out []client.Object
	switch l := list.(type) {
	case *v1alpha1.SlurmJobList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *v1alpha1.LoadClientList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *v1alpha1.ServiceList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *corev1.SecretList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	}
	return out
}

// Delete deletes a child. That it is gone already, or that its name belongs to another object now, is not an error.
func (c Children) Delete(ctx context.Context, namespace string, e Delete) error {
	o, err := empty(e.Kind)
	if err != nil {
		return err
	}
	o.SetNamespace(namespace)
	o.SetName(e.Name)
	err = c.Client.Delete(ctx, o, client.Preconditions{UID: &e.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func empty(kind string) (client.Object, error) {
	switch kind {
	case KindService:
		return &v1alpha1.Service{}, nil
	case KindLoadClient:
		return &v1alpha1.LoadClient{}, nil
	case KindSlurmJob:
		return &v1alpha1.SlurmJob{}, nil
	case KindSecret:
		return &corev1.Secret{}, nil
	}
	return nil, fmt.Errorf("%s is no kind of child", kind)
}

// Abandon applies the abandon annotation to a SlurmJob, as a field manager of its own.
func (c Children) Abandon(ctx context.Context, namespace string, e Abandon) error {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(KindSlurmJob))
	u.SetNamespace(namespace)
	u.SetName(e.Name)
	u.SetUID(e.UID) // never recreate an object that is gone
	u.SetAnnotations(map[string]string{v1alpha1.AnnotationAbandon: "true"})
	owner := client.FieldOwner(c.Owner + "-abandon")
	err := c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), owner, client.ForceOwnership)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

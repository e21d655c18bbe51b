package coreapi

import (
	"context"
	"errors"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/storagebackend"
)

// Config is what the registry needs of its server.
type Config struct {
	// Backend is where the objects are stored. Its codec is not used.
	Backend storagebackend.Config
	// Authorizer answers the access reviews.
	Authorizer authorizer.Authorizer
	// Guard is the admission plug-in of the same server. Install hands the namespaces to it.
	Guard *NamespaceGuard
	// Now is the clock of ages and deletion times.
	Now func() time.Time
}

// API is the installed registry.
type API struct {
	namespaces *namespaces
	terminate  chan struct{}
}

// Install adds the built-in groups to a server that does not run yet.
func Install(s *server.GenericAPIServer, c Config) (*API, error) {
	scheme, err := NewScheme()
	if err != nil {
		return nil, err
	}
	api := &API{terminate: make(chan struct{}, 1)}
	stores := map[string]*store{}
	for _, r := range resources(c.Now) {
		if stores[r.plural], err = newStore(scheme, c.Backend, r); err != nil {
			return nil, err
		}
	}
	api.namespaces = &namespaces{store: stores["namespaces"], terminating: api.wake, now: c.Now}
	stores["namespaces"].ShouldDeleteDuringUpdate = removable
	c.Guard.namespaces.Store(api.namespaces)

	codecs := serializer.NewCodecFactory(scheme)
	group := func(name string, storage map[string]rest.Storage) *server.APIGroupInfo {
		info := server.NewDefaultAPIGroupInfo(name, scheme, runtime.NewParameterCodec(scheme), codecs)
		info.VersionedResourcesStorageMap["v1"] = storage
		return &info
	}
	core := group(corev1.GroupName, map[string]rest.Storage{
		"namespaces": api.namespaces, "secrets": stores["secrets"],
		"configmaps": stores["configmaps"], "events": stores["events"],
	})
	if err := s.InstallLegacyAPIGroup(server.DefaultLegacyAPIPrefix, core); err != nil {
		return nil, err
	}
	// The same store as in the core group, without its short name.
	events := &store{Store: stores["events"].Store}
	return api, s.InstallAPIGroups(
		group(coordinationv1.GroupName, map[string]rest.Storage{"leases": stores["leases"]}),
		group(eventsv1.GroupName, map[string]rest.Storage{"events": events}),
		group(authenticationv1.GroupName, authenticationReviews()),
		group(authorizationv1.GroupName, authorizationReviews(c.Authorizer)),
	)
}

// Prepare creates the namespaces default and kube-system.
func (a *API) Prepare(ctx context.Context) error {
	ctx = request.WithNamespace(ctx, metav1.NamespaceNone)
	for _, name := range permanent() {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		rest.FillObjectMetaSystemFields(ns)
		_, err := a.namespaces.store.Create(ctx, ns, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// wake asks Sweep to look at the terminating namespaces. One waiting request is enough for all of them.
func (a *API) wake() {
	select {
	case a.terminate <- struct{}{}:
	default:
	}
}

// Sweep ends terminating namespaces until ctx ends: it calls empty for each, and removes it once empty says that
// nothing is left. While something is left it looks again every interval; otherwise it waits for a deletion.
func (a *API) Sweep(ctx context.Context, interval time.Duration, empty func(ctx context.Context, namespace string) (bool, error)) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.terminate:
		}
		if left, err := a.sweepOnce(ctx, empty); left > 0 || err != nil {
			tick.Reset(interval)
		}
	}
}

func (a *API) sweepOnce(ctx context.Context, empty func(context.Context, string) (bool, error)) (left int, err error) {
	ctx = request.WithNamespace(ctx, metav1.NamespaceNone)
	obj, err := a.namespaces.store.List(ctx, nil)
	if err != nil {
		return 0, err
	}
	for _, ns := range obj.(*corev1.NamespaceList).Items {
		if ns.DeletionTimestamp == nil {
			continue
		}
		gone, oops := empty(ctx, ns.Name)
		if gone && oops == nil {
			oops = a.namespaces.finish(ctx, ns.Name)
		}
		if !gone || (oops != nil && !apierrors.IsNotFound(oops)) {
			left++
			err = errors.Join(err, oops)
		}
	}
	return left, err
}

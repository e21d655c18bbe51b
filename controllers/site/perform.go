package site

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// The effects of this controller. Each may be made again.
type (
	// Open opens the door, and shuts the one of before.
	Open struct{}
	// Shut closes the door.
	Shut struct{}
	// Probe looks through the door.
	Probe struct{}
	// Beat writes the origin's file.
	Beat struct{}
	// Sweep cancels what nobody wants any more.
	Sweep struct{}
)

// probeTimeout ends a probe of a site that hangs.
const probeTimeout = 20 * time.Second

// Perform makes one effect. What a site answers is kept in the registry for the next look, and is no error here.
func (k *Kind) Perform(ctx context.Context, site *v1alpha1.Site, e reconcile.Effect) error {
	name := client.ObjectKeyFromObject(site)
	switch e.(type) {
	case Open:
		o, ok := k.opener(site)
		if !ok || o.usesHost(&site.Spec) && !k.AllowHost {
			return fmt.Errorf("site %s: no door may be opened for this spec", site.Name)
		}
		k.Registry.unlock(ctx, site, o, k.secretsOf(site.Namespace))
	case Shut:
		k.Registry.shut(name)
	case Probe:
		k.probe(ctx, name)
	case Beat:
		k.beat(ctx, name)
	case Sweep:
		k.sweep(ctx, site)
	default:
		return fmt.Errorf("site: no effect %T", e)
	}
	return nil
}

// secretsOf reads Secrets of a namespace, live: a cache of them would hold every Secret of the cluster.
func (k *Kind) secretsOf(namespace string) Secrets {
	return func(ctx context.Context, name, key string) ([]byte, error) {
		var s corev1.Secret
		err := k.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("%w: the Secret %s does not exist in this namespace: create it", slurmbridge.ErrCredentials, name)
		}
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", name, err)
		}
		value, ok := s.Data[key]
		if !ok {
			return nil, fmt.Errorf("%w: the Secret %s has no key %s: add it", slurmbridge.ErrCredentials, name, key)
		}
		return value, nil
	}
}

func (k *Kind) probe(ctx context.Context, name client.ObjectKey) {
	e, ok := k.Registry.snapshot(name)
	if !ok || !e.open {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var err error
	if e.prober != nil {
		err = e.prober.Probe(ctx, e.door.WorkDir)
	} else {
		_, err = e.door.Jobs.List(ctx)
	}
	k.Registry.change(name, func(e *entry) { e.looks.probed, e.looks.failed = k.Now(), err })
}

// beat tries again at the next pass when it failed: a stale counter says so by itself.
func (k *Kind) beat(ctx context.Context, name client.ObjectKey) {
	e, ok := k.Registry.snapshot(name)
	if !ok || !e.open {
		return
	}
	if err := k.Origin.beat(ctx, e.door, k.Now()); err != nil {
		log.FromContext(ctx).Info("the origin's file was not written", "error", err.Error())
	}
	k.Registry.change(name, func(e *entry) { e.looks.beaten = k.Now() })
}

// tidyEvery is how often doors without a Site are looked at.
const tidyEvery = time.Minute

// tidy shuts the doors of Sites that are gone, once no SlurmJob refers to them, until the context ends; then all.
func (k *Kind) tidy(ctx context.Context) error {
	defer k.Registry.Close()
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			k.shutOrphans(ctx)
		}
	}
}

func (k *Kind) shutOrphans(ctx context.Context) {
	for _, name := range k.Registry.names() {
		err := k.Live.Get(ctx, name, &v1alpha1.Site{})
		if !apierrors.IsNotFound(err) {
			continue
		}
		if users, err := k.users(ctx, name); err == nil && len(users) == 0 {
			k.Registry.shut(name)
		}
	}
}

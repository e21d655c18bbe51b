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
	// Reopen opens the door anew under jobs that run, and keeps the one of before where it leads elsewhere or does not open.
	Reopen struct{}
	// Shut closes the door.
	Shut struct{}
	// Limit has the door keep the limits of the spec.
	Limit struct{}
	// Probe looks through the door.
	Probe struct{}
	// Beat writes the origin's file.
	Beat struct{}
	// Sweep cancels what nobody wants any more.
	Sweep struct{}
)

// probeTimeout ends a probe of a site that hangs, openTimeout the opening of one: some 20 MB may have to be sent there.
const (
	probeTimeout = 20 * time.Second
	openTimeout  = 5 * time.Minute
)

// Perform makes one effect. What a site answers is kept in the registry for the next look, and is no error here.
func (k *Kind) Perform(ctx context.Context, site *v1alpha1.Site, e reconcile.Effect) error {
	name := client.ObjectKeyFromObject(site)
	switch e.(type) {
	case Open:
		return k.open(ctx, site, k.Registry.unlock)
	case Reopen:
		return k.open(ctx, site, k.Registry.reopen)
	case Shut:
		k.Registry.shut(name)
	case Limit:
		k.Registry.limit(name, site.Spec.Limits)
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

// open opens the door that the spec asks for, in one way or the other.
func (k *Kind) open(ctx context.Context, site *v1alpha1.Site, way func(context.Context, *v1alpha1.Site, Opener, Secrets)) error {
	o, ok := k.opener(site)
	if !ok || o.usesHost(&site.Spec) && !k.AllowHost {
		return fmt.Errorf("site %s: no door may be opened for this spec", site.Name)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, fmt.Errorf("it was not open within %s", openTimeout))
	defer cancel()
	way(ctx, site, o, k.secretsOf(site.Namespace))
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
	err := Opened{Prober: e.prober, Jobs: e.door.Jobs}.probe(ctx, e.door.WorkDir, turnOf(e.limits))
	k.Registry.change(name, func(e *entry) { e.looks.probed, e.looks.failed = k.Now(), err })
}

// turnOf is how long a request may wait for its turn at a site that may be asked rarely.
func turnOf(l v1alpha1.SiteLimits) time.Duration {
	rate, err := l.Rate.Float()
	if l.Rate == "" || err != nil || rate <= 0 {
		return 0
	}
	return time.Duration(2 / rate * float64(time.Second))
}

// beat writes the origin's file, and keeps why that failed: who waits too long for it is taken for dead.
func (k *Kind) beat(ctx context.Context, name client.ObjectKey) {
	e, ok := k.Registry.snapshot(name)
	if !ok || !e.open {
		return
	}
	within, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	counter, err := k.Origin.beat(within, e.door, k.Now())
	if err != nil {
		log.FromContext(ctx).Info("the origin's file was not written", "error", err.Error())
	}
	k.Registry.change(name, func(e *entry) {
		e.looks.beaten, e.looks.unbeaten = k.Now(), err
		if err == nil {
			e.counter = counter
		}
	})
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

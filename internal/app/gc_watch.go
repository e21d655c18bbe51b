package app

import (
	"context"
	"fmt"
	"time"
)

// watches looks whether a control plane of another host writes its mark, by the reader's clock: its own may be off.
func (g gcOptions) watches(ctx context.Context, o *OS, one *origin) error {
	fmt.Fprintf(o.Stderr, "assay: %s: looks for %s whether %s writes its mark\n", one.short, g.watch, one.words)
	for _, p := range one.places {
		var err error
		if p.leases, err = p.reach.leases(ctx, one.full); err != nil {
			return err
		}
	}
	select {
	case <-time.After(g.watch):
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, p := range one.places {
		if err := p.stands(ctx, one.full); err != nil {
			return err
		}
	}
	return nil
}

// stands says that an origin's mark is as it was, and where that is the only sign of life that its jobs are told nothing
// new: a control plane that cannot write the one may well write the other.
func (p *place) stands(ctx context.Context, origin string) error {
	if !p.marked {
		return nil
	}
	now, err := p.reach.marks(ctx)
	if err != nil {
		return err
	}
	if m, there := now.of(origin); there && m.Counter != p.at.Counter {
		return usage(fmt.Errorf("it lives on %s: its mark at the Site %s advanced; nothing more is ended", m.Host, p.reach.name))
	}
	if p.leases == nil {
		return nil
	}
	leases, err := p.reach.leases(ctx, origin)
	if err != nil {
		return err
	}
	for line := range leases {
		if !p.leases[line] {
			return usage(fmt.Errorf("it lives on %s: it writes no mark at the Site %s, but tells its jobs that it is there; nothing more is ended", p.at.Host, p.reach.name))
		}
	}
	return nil
}

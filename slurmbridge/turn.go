package slurmbridge

import "context"

type turnsKey struct{}

// WithTurns is a context for one call of a transport, which has to wait for each of its requests to the batch system.
func WithTurns(ctx context.Context, wait func(context.Context) error) context.Context {
	return context.WithValue(ctx, turnsKey{}, wait)
}

// Turn waits until the batch system may be asked. A transport whose calls may be several requests, one after the other, has
// it before each of them; so a site is never asked more often than it bears, and each request is counted. Without a limit it
// returns at once. An error says that the context ended first, and that nothing was asked.
func Turn(ctx context.Context) error {
	wait, limited := ctx.Value(turnsKey{}).(func(context.Context) error)
	if !limited {
		return nil
	}
	return wait(ctx)
}

// Package reconcile is the kernel that every controller shares: observe, decide, store the intent, perform.
//
// A controller is a Kind: it reads the world, decides with a pure function, and performs single effects. The kernel
// runs these in an order that survives a crash at any instant:
//
//	observe ─► decide ─► store status (the intent) ─► emit events ─► perform effects ─► look again
//
// Data comes back only by observing. A status is stored with the resourceVersion that it was decided from, so a
// decision that was made from an old object is refused and made again.
package reconcile

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Object is an API object whose status has type S.
type Object[S any] interface {
	client.Object
	// GetStatus returns the status itself, not a copy.
	GetStatus() *S
}

// Kind is what one controller knows. O is the object, S its status, W what the controller sees of the world.
type Kind[O Object[S], S, W any] interface {
	// New returns an empty object.
	New() O
	// Finalizer returns the finalizer that the object needs before anything is started for it, or "" for none.
	Finalizer(obj O) string
	// Observe reads what Decide needs and changes nothing. An error says that it could not look; the kernel tries
	// again later and nothing else happens. What a look has found to be wrong belongs into W.
	Observe(ctx context.Context, obj O) (W, error)
	// Decide is pure. It gets a copy of the object and returns the whole new status.
	Decide(obj O, seen W, now time.Time) Decision[S]
	// Perform makes one effect and returns no data. It may be called again for an effect that was made already.
	Perform(ctx context.Context, obj O, e Effect) error
}

// Decision is what a controller wants next.
type Decision[S any] struct {
	// Status replaces the object's status.
	Status S
	// Do is performed in order, after Status is stored. The first error ends the pass.
	Do []Effect
	// Events are emitted once Status is stored, and only by a pass that changed it.
	Events []Event
	// After is when to look again if nothing happens before; zero for never.
	After time.Duration
	// Release removes the finalizer of an object that is being deleted.
	Release bool
}

// Effect is one change to the world, as data. Each kind has its own types.
type Effect any

// Event is something that has happened, for people.
type Event struct {
	// Warning marks what a person should look at.
	Warning bool
	// Reason and Action are CamelCase words; Message is a sentence.
	Reason, Action, Message string
}

package reconcile

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
)

// Own is a Service or a LoadClient that no Benchmark owns, so that it makes its own SlurmJob.
type Own struct {
	Object client.Object
	Kind   string
	// Suspend and Site as the spec has them; Found is that Site, nil when there is none.
	Suspend bool
	Site    string
	Found   *v1alpha1.Site
	// Closed is why the site's door is closed; "" for open.
	Closed string
	// Former are the jobs and credentials of another spec.
	Former []Child
	// Run is the name of the next run; "" when all are taken.
	Run string
}

// Obstacle is why an object cannot make its SlurmJob now.
type Obstacle struct {
	Kind            ObstacleKind
	Reason, Message string
	Do              []Effect
	// After is when to look again; 0 leaves it to a watch.
	After time.Duration
}

// ObstacleKind is what an obstacle asks for.
type ObstacleKind int

// Kinds of obstacles.
const (
	// Suspended until the spec changes.
	Suspended ObstacleKind = iota
	// Refused until a person changes something.
	Refused
	// Waits for something that comes by itself.
	Waits
	// Drains waits for the former job's end.
	Drains
)

// ownAgain is the pause before another look at what no watch tells of.
const ownAgain = 2 * time.Second

// Obstacle returns the first thing that is in the way, or nil.
func (o Own) Obstacle() *Obstacle {
	switch {
	case o.Suspend:
		return &Obstacle{Kind: Suspended, Message: "spec.suspend is true: nothing starts"}
	case o.Site == "":
		return o.refused(v1alpha1.ReasonSiteMissing, fmt.Sprintf("a %s that no Benchmark owns needs spec.site", o.Kind))
	case o.Found == nil:
		missing := o.refused(v1alpha1.ReasonSiteMissing, fmt.Sprintf("there is no Site %q in namespace %s: create it, or name another in spec.site",
			o.Site, o.Object.GetNamespace()))
		missing.After = ownAgain
		return missing
	}
	for _, c := range o.Found.Status.Conditions {
		if c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue {
			return o.refused(c.Reason, fmt.Sprintf("Site %s: %s", o.Site, c.Message))
		}
	}
	switch {
	case o.Closed != "":
		return &Obstacle{Kind: Waits, Reason: v1alpha1.ReasonWaiting, Message: fmt.Sprintf("waits for Site %s: %s", o.Site, o.Closed), After: ownAgain}
	case len(o.Former) > 0:
		return &Obstacle{Kind: Drains, Reason: v1alpha1.ReasonProgressing, Message: "waits until its former job is gone",
			Do: Removal(o.Former, IsAbandoned(o.Object)), After: RemovalPause(o.Former)}
	case o.Run == "":
		return o.refused(v1alpha1.ReasonInvalidParameters, fmt.Sprintf("too many former runs named g%d of a %s of this name are kept: remove some with assay prune",
			o.Object.GetGeneration(), o.Kind))
	}
	return nil
}

// Tell writes the conditions of an object that has an obstacle before it.
func (o *Obstacle) Tell(c Conditions) {
	switch o.Kind {
	case Suspended:
		c.Suspended(o.Message)
	case Refused:
		c.Stalled(o.Reason, o.Message)
	case Waits, Drains:
		c.Progressing(o.Reason, o.Message)
	}
}

func (o Own) refused(reason, message string) *Obstacle {
	return &Obstacle{Kind: Refused, Reason: reason, Message: message}
}

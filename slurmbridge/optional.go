package slurmbridge

import (
	"context"
	"errors"
	"net"
	"time"
)

// Accountant is implemented by a transport that can ask for jobs which the batch system itself has forgotten.
type Accountant interface {
	// Past returns the jobs under the keys that were submitted since an instant, from the site's accounting. The error wraps
	// ErrNoAccounting where the site keeps none: that is normal, and says nothing about any job.
	Past(ctx context.Context, since time.Time, keys ...Key) ([]Job, error)
}

// Preflighter is implemented by a transport that can ask whether a job could ever run.
type Preflighter interface {
	// Preflight asks about a script, without a job. The error wraps ErrRefused, with the batch system's words, when it would
	// be refused or never run, ErrNotNow when it would be refused now, and ErrNodesAway when it would be taken and wait for
	// nodes that are away; any other error leaves it open.
	Preflight(ctx context.Context, key Key, s Script) error
}

// ErrNoAccounting says that the site keeps no accounts of ended jobs.
var ErrNoAccounting = errors.New("the site keeps no accounts of jobs")

// Dialer is implemented by a transport that can reach a port of a node from outside, through the site's login node.
type Dialer interface {
	// Dial opens a TCP connection to host:port, as the login node knows them. Nothing is run there, and the batch system is
	// not asked. The connection takes no deadlines: whoever waits closes it. The error wraps ErrUnreachable where the login
	// node itself does not answer, ErrForwarding where it connects nobody, and neither where the port did not take the
	// connection before the context was over.
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// TokenHolder is implemented by a transport whose credentials are a token that expires.
type TokenHolder interface {
	// Token tells until when the token is valid that was used last, the zero time where that is not known, and why the last
	// attempt at a new one failed.
	Token() (expires time.Time, refresh error)
}

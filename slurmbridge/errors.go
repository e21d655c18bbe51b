package slurmbridge

import "errors"

// ErrUnreachable says that the site did not answer. Nothing is known, so nothing changes.
var ErrUnreachable = errors.New("the site does not answer")

// ErrRefused says that the batch system refused a job: it does not exist, and the same request will be refused again.
var ErrRefused = errors.New("the batch system refused the job")

// ErrNotNow says that the batch system takes no such job now: it does not exist, and the same request may be taken later.
var ErrNotNow = errors.New("the batch system takes no such job now")

// ErrUnclear says that the batch system answered a submit with an error whose words nobody here knows, and that such words
// do not tell of a matter of time. Whether the job exists is open: it has to be looked for.
var ErrUnclear = errors.New("the batch system did not take the job, in words that are not known")

// ErrNodesAway says that the job could not run on the nodes that are up. Others may come back, so in the queue it waits.
var ErrNodesAway = errors.New("the nodes that are up could not run the job")

// ErrWorkDir says that the work folder is missing, not writable, or open to other users.
var ErrWorkDir = errors.New("the work folder cannot be used")

// ErrForwarding says that the login node passes no connections on, or not this one.
var ErrForwarding = errors.New("the login node forwards no connections")

// ErrHostKey says that a host of the site is not the one that was pinned, or that none was pinned.
var ErrHostKey = errors.New("the host key is not the pinned one")

// ErrCredentials says that the site refused the credentials.
var ErrCredentials = errors.New("the site refused the credentials")

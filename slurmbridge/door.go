package slurmbridge

import (
	"errors"
	"time"
)

// Door is an open site: its jobs, its files, and where on it we work.
type Door struct {
	Jobs  Jobs
	Files Files
	// Dialer reaches ports of the nodes; nil for a site that has no such way.
	Dialer Dialer
	// WorkDir is the absolute path of the site's work folder.
	WorkDir string
	// Origin is the id of this control plane: the first folder below WorkDir, and its first 8 digits in every Key.
	Origin string
	// Node is the absolute path of the assay-node program on the site.
	Node string
	// Remembers is how long the batch system lists an ended job at least; 0 for one that forgets none of ours.
	Remembers time.Duration
}

// Doors finds open sites.
type Doors interface {
	// Door returns the open door of the Site with this namespace and name, or an error that wraps ErrNotOpen.
	Door(namespace, name string) (Door, error)
}

// ErrNotOpen says that a site does not exist, or that its controller has not opened it yet or was refused.
var ErrNotOpen = errors.New("the site is not open")

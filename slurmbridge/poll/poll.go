// Package poll asks a site once for everybody: one list of jobs and one batched read of small files per tick, whatever
// the number of jobs, and one shared look-up for all who are about to submit.
//
// It serves keys that it was told to watch, and only answers that were asked for after that. It never answers the
// look-up before a submit: Lookup goes to the batch system itself.
package poll

import (
	"time"

	"assay.bench/slurmbridge"
)

// Pace is how often a site is asked. The lists start at ListMin after every change, at twice that with a hundred jobs and so
// on, and grow to ListMax while nothing changes; the reads run every ReadStarting while a watched job is starting, else every ReadSteady.
type Pace struct {
	ListMin, ListMax time.Duration
	// ListFloor is the site's own limit: no two lists are ever closer. Zero for none.
	ListFloor                time.Duration
	ReadStarting, ReadSteady time.Duration
	// LookupWait is how long a look-up waits for others that can share its query.
	LookupWait time.Duration
}

// Remote is the pace for a site across a network.
func Remote() Pace {
	return Pace{
		ListMin: 5 * time.Second, ListMax: 60 * time.Second,
		ReadStarting: 2 * time.Second, ReadSteady: 10 * time.Second,
		LookupWait: time.Second,
	}
}

// Forgetful is the pace for a site that keeps no accounts of ended jobs, and lists them for no longer than it remembers
// them: each is to be in three lists before it is forgotten.
func (p Pace) Forgetful(remembers time.Duration) Pace {
	if remembers > 0 {
		p.ListMax = max(p.ListMin, min(p.ListMax, remembers/3))
	}
	return p
}

// Near is the pace for a batch system on this host, where a look costs next to nothing.
func Near() Pace {
	return Pace{
		ListMin: 500 * time.Millisecond, ListMax: time.Second,
		ReadStarting: 250 * time.Millisecond, ReadSteady: time.Second,
		LookupWait: 2 * time.Millisecond,
	}
}

// Options of a Poller. Jobs, Files and Pace are required.
type Options struct {
	Jobs  slurmbridge.Jobs
	Files slurmbridge.Files
	Pace  Pace
	// Notify is called, never with a lock held, when the view of a watched key changed: its jobs, its files, whether
	// the site answers, and at every good list that does not know the key. It must not block. nil for none.
	Notify func(slurmbridge.Key)
	// Now is the clock of View.Listed and View.Read; nil takes time.Now.
	Now func() time.Time
}

// Watched is what a key's watcher wants to see.
type Watched struct {
	// Paths are the absolute paths of small files.
	Paths []string
	// Starting asks for the faster pace of the reads.
	Starting bool
}

// View is what was seen of a key since Watch. Its slices and maps are shared: read only.
type View struct {
	// Jobs under the key in the newest good list, oldest first. More than one is a duplicate; none says, when Lists is
	// above 0, that the batch system answered and did not know the key.
	Jobs []slurmbridge.Job
	// Lists counts the good lists since Watch; Listed is when the newest of them was asked for.
	Lists  int64
	Listed time.Time
	// ListErr is why the newest list failed; nil when it was good. Jobs are then those of the last good one.
	ListErr error
	// Files by path in the newest good read; a missing file is missing here.
	Files map[string][]byte
	// Reads counts the good reads since Watch; Read is when the newest of them was asked for.
	Reads int64
	Read  time.Time
	// ReadErr is why the newest read failed; nil when it was good. Files are then those of the last good one.
	ReadErr error
}

// Stats counts what the site was asked since New.
type Stats struct {
	// Ticks of the list and lists sent: always equal. Reads, Finds and questions to accounting sent.
	Ticks, Lists, Reads, Finds, Pasts int64
}

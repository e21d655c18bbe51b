package limit

import (
	"context"
	"io"
	"net"
	"time"

	"assay.bench/slurmbridge"
)

// Verbs, as they stand in the metrics.
const (
	verbList      = "list"
	verbFind      = "find"
	verbPast      = "past"
	verbSubmit    = "submit"
	verbPreflight = "preflight"
	verbRelease   = "release"
	verbCancel    = "cancel"
	verbProbe     = "probe"
	verbRead      = "read"
	verbWrite     = "write"
	verbOpen      = "open"
	verbDial      = "dial"
)

// limitedJobs is j behind a gate, with those optional interfaces that j has and no others: whoever asks j for one finds
// it here too. They are found out once. (A door has its Prober, its Dialer and its TokenHolder beside its Jobs.)
func limitedJobs(j slurmbridge.Jobs, g gate) slurmbridge.Jobs {
	a, isAccountant := j.(slurmbridge.Accountant)
	p, isPreflighter := j.(slurmbridge.Preflighter)
	base, past, ask := jobs{j, g}, accountant{a, g}, preflighter{p, g}
	switch {
	case isAccountant && isPreflighter:
		return struct {
			jobs
			accountant
			preflighter
		}{base, past, ask}
	case isAccountant:
		return struct {
			jobs
			accountant
		}{base, past}
	case isPreflighter:
		return struct {
			jobs
			preflighter
		}{base, ask}
	}
	return base
}

type jobs struct {
	jobs slurmbridge.Jobs
	gate gate
}

// List takes a turn for each of its requests, as all calls do.
func (j jobs) List(ctx context.Context) (all []slurmbridge.Job, err error) {
	err = j.gate.ask(ctx, verbList, looking, func(ctx context.Context) error { all, err = j.jobs.List(ctx); return err })
	if err == nil {
		j.gate.meter.listed()
	}
	return all, err
}

// Find finds jobs, of which the site is asked at once whatever the number of keys.
func (j jobs) Find(ctx context.Context, keys ...slurmbridge.Key) (found []slurmbridge.Job, err error) {
	err = j.gate.ask(ctx, verbFind, looking, func(ctx context.Context) error { found, err = j.jobs.Find(ctx, keys...); return err })
	return found, err
}

// Submit hands a job in.
func (j jobs) Submit(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	return j.gate.ask(ctx, verbSubmit, starting, func(ctx context.Context) error { return j.jobs.Submit(ctx, key, s) })
}

// Release lets a job go.
func (j jobs) Release(ctx context.Context, id string) error {
	return j.gate.ask(ctx, verbRelease, ending, func(ctx context.Context) error { return j.jobs.Release(ctx, id) })
}

// Cancel ends a job.
func (j jobs) Cancel(ctx context.Context, id string) error {
	return j.gate.ask(ctx, verbCancel, ending, func(ctx context.Context) error { return j.jobs.Cancel(ctx, id) })
}

type accountant struct {
	accountant slurmbridge.Accountant
	gate       gate
}

// Past asks the accounts.
func (a accountant) Past(ctx context.Context, since time.Time, keys ...slurmbridge.Key) (found []slurmbridge.Job, err error) {
	err = a.gate.ask(ctx, verbPast, looking, func(ctx context.Context) error { found, err = a.accountant.Past(ctx, since, keys...); return err })
	return found, err
}

type preflighter struct {
	preflighter slurmbridge.Preflighter
	gate        gate
}

// Preflight asks whether a job could run.
func (p preflighter) Preflight(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	return p.gate.ask(ctx, verbPreflight, starting, func(ctx context.Context) error { return p.preflighter.Preflight(ctx, key, s) })
}

type prober struct {
	prober slurmbridge.Prober
	gate   gate
}

// Probe asks the batch system whether it answers, among others.
func (p prober) Probe(ctx context.Context, workDir string) error {
	return p.gate.ask(ctx, verbProbe, looking, func(ctx context.Context) error { return p.prober.Probe(ctx, workDir) })
}

// files are counted and not limited: they are no business of the batch system.
type files struct {
	files slurmbridge.Files
	gate  gate
}

// Read is one round trip.
func (f files) Read(ctx context.Context, paths ...string) (read map[string][]byte, err error) {
	err = f.gate.count(ctx, verbRead, func(ctx context.Context) error { read, err = f.files.Read(ctx, paths...); return err })
	return read, err
}

// Write is one round trip.
func (f files) Write(ctx context.Context, files map[string][]byte) error {
	return f.gate.count(ctx, verbWrite, func(ctx context.Context) error { return f.files.Write(ctx, files) })
}

// Open is timed until the file can be read.
func (f files) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	return f.gate.open(ctx, verbOpen, func(ctx context.Context) (io.ReadCloser, error) { return f.files.Open(ctx, path, offset) })
}

// dialer is counted and not limited, like files.
type dialer struct {
	dialer slurmbridge.Dialer
	gate   gate
}

// Dial is timed until the connection is there. How long that may take the caller says.
func (d dialer) Dial(ctx context.Context, address string) (c net.Conn, err error) {
	err = d.gate.time(verbDial, func() error { c, err = d.dialer.Dial(ctx, address); return err })
	return c, err
}

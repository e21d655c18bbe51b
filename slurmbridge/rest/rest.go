// Package rest is the batch system Slurm by slurmrestd, over HTTP: no program of Slurm has to be at hand, only a token.
//
// It carries no files: a site that is reached so needs another way to its run directory.
//
// Slurmrestd does not read the #SBATCH lines of a script, so a job's options are fields of the request. It has no filter
// for jobs: a list holds everybody's, of which ours are kept.
package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/wire"
)

// Options of Open. URL, Origin and Credentials are required.
type Options struct {
	// URL is where slurmrestd is, such as https://slurm-api.lxp.lu: what stands before /slurm. Over plain http everybody
	// on the way can read the token.
	URL string
	// Origin of the control plane, as for slurmbridge.NewKey.
	Origin string
	// Credentials is asked before each request, for a token lives for minutes. An error that wraps ErrUnreachable says nothing
	// about the credentials; any other one counts as their refusal.
	Credentials func(ctx context.Context) (Credentials, error)
	// Refresh makes a new token when half of the old one's life is over; nil leaves that to Credentials. Its token is used
	// until Credentials gives another than it did then. Its errors are as those of Credentials.
	Refresh func(ctx context.Context) (token string, err error)
	// Cure is what a person does about a token that is refused, for the message; empty for nothing.
	Cure string
	// CA are certificates in PEM that sign slurmrestd's, beside those of the system.
	CA []byte
	// Proxy chooses a proxy for a request; nil takes none.
	Proxy func(*http.Request) (*url.URL, error)
	// Transport makes the requests; nil makes one of CA and Proxy.
	Transport http.RoundTripper
	// Timeout of each request, whose context may be over earlier; 0 takes a minute.
	Timeout time.Duration
	// Now is the clock by which tokens age; nil takes time.Now.
	Now func() time.Time
}

// Slurm is a Slurm cluster. It implements slurmbridge.Jobs and Accountant. It is no Preflighter: slurmrestd has
// no request that asks without making a job, so an sbatch has to be asked, where there is one.
type Slurm struct {
	client *http.Client
	base   string
	origin string
	limit  time.Duration
	keeper *keeper
	chosen chosen
}

// Open agrees with slurmrestd on a version of its API.
func Open(ctx context.Context, o Options) (*Slurm, error) {
	origin := slurmbridge.Origin8(o.Origin)
	if len(origin) != 8 {
		return nil, fmt.Errorf("origin %q: it needs 8 hexadecimal digits", o.Origin)
	}
	base, err := baseOf(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Credentials == nil {
		return nil, errors.New("slurmrestd wants credentials: a user name and a token")
	}
	client, err := newClient(o)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Slurm{
		client: client, base: base, origin: origin, limit: cmp.Or(o.Timeout, time.Minute),
		keeper: newKeeper(o), chosen: chosen{turn: make(chan struct{}, 1)},
	}
	_, err = c.version(ctx)
	return c, err
}

// Facts are what the cluster was when a version was last agreed on.
func (c *Slurm) Facts() Facts { return c.chosen.facts() }

// Token tells until when the token is valid that was used last, the zero time where it does not say, and why the last
// attempt at a new one failed.
func (c *Slurm) Token() (expires time.Time, refresh error) { return c.keeper.state() }

// List returns the jobs of this origin, oldest first.
func (c *Slurm) List(ctx context.Context) ([]slurmbridge.Job, error) {
	return c.jobs(ctx, func(k slurmbridge.Key) bool { return k.Origin() == c.origin })
}

// All returns this user's jobs under the keys of every origin, oldest first.
func (c *Slurm) All(ctx context.Context) ([]slurmbridge.Job, error) {
	return c.jobs(ctx, slurmbridge.Key.Valid)
}

// Find returns the jobs under the keys, oldest first.
func (c *Slurm) Find(ctx context.Context, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return c.jobs(ctx, func(k slurmbridge.Key) bool { return slices.Contains(keys, k) })
}

// jobs asks slurmctld, and leaves the wanted ones, oldest first.
func (c *Slurm) jobs(ctx context.Context, want func(slurmbridge.Key) bool) ([]slurmbridge.Job, error) {
	var jobs []slurmbridge.Job
	err := c.ask(ctx, request{path: "jobs/", limit: mostList}, func(body io.Reader) (err error) {
		jobs, err = wire.ParseJobs(body, c.keeper.user())
		return err
	})
	if err != nil {
		return nil, err
	}
	return wanted(jobs, want), nil
}

func wanted(jobs []slurmbridge.Job, want func(slurmbridge.Key) bool) []slurmbridge.Job {
	jobs = slices.DeleteFunc(jobs, func(j slurmbridge.Job) bool { return !want(j.Key) })
	slices.SortFunc(jobs, wire.Oldest)
	return jobs
}

// keysPerRequest bounds the length of an address.
const keysPerRequest = 50

// Past returns the jobs under the keys from slurmdbd.
func (c *Slurm) Past(ctx context.Context, since time.Time, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	if c.Facts().without {
		return nil, slurmbridge.ErrNoAccounting
	}
	var all []slurmbridge.Job
	for some := range slices.Chunk(keys, keysPerRequest) {
		jobs, err := c.past(ctx, since, some)
		if err != nil {
			return nil, err
		}
		all = append(all, jobs...)
	}
	return wanted(all, func(k slurmbridge.Key) bool { return slices.Contains(keys, k) }), nil
}

func (c *Slurm) past(ctx context.Context, since time.Time, keys []slurmbridge.Key) ([]slurmbridge.Job, error) {
	version, err := c.version(ctx)
	if err != nil {
		return nil, err
	}
	var jobs []slurmbridge.Job
	err = c.ask(ctx, request{database: true, path: "jobs/?" + pastQuery(version, since, keys).Encode(), limit: mostList}, func(body io.Reader) (err error) {
		jobs, err = wire.ParsePastJobs(body, c.keeper.user())
		return err
	})
	return jobs, c.explain(ctx, err)
}

// explain tells what it means that accounting did not answer.
func (c *Slurm) explain(ctx context.Context, err error) error {
	f, ok := errors.AsType[*failure](err)
	switch {
	case !ok:
		return err
	case f.status == http.StatusNotFound && len(f.faults) == 0:
		return fmt.Errorf("%w: slurmrestd serves no slurmdb", slurmbridge.ErrNoAccounting)
	case slices.ContainsFunc(f.faults, wire.RESTError.IsDatabase):
		// An expired token and a slurmdbd that is down look the same here; slurmctld tells them apart.
		if other := c.check(ctx); errors.Is(other, slurmbridge.ErrCredentials) {
			return other
		}
	}
	return err
}

// check asks slurmctld for something short. A ping is none: it does not look at the token.
func (c *Slurm) check(ctx context.Context) error {
	return c.ask(ctx, request{path: "licenses/", limit: mostAnswer}, func(body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
}

// Release lifts the hold of a job of this origin. Of a heterogeneous job slurmrestd releases one component at a time: the
// leader is the last, so that the job counts as held until all of it is released.
func (c *Slurm) Release(ctx context.Context, id string) error {
	var parts []wire.Component
	err := c.look(ctx, id, func(body io.Reader) (err error) {
		parts, err = wire.ParseComponents(body, c.keeper.user())
		return err
	})
	for _, p := range parts {
		if p.Job != id || p.Key.Origin() != c.origin || !p.Held {
			continue
		}
		if err := c.change(ctx, request{method: http.MethodPost, path: "job/" + p.ID, body: map[string]bool{"hold": false}}); err != nil {
			return err
		}
	}
	return err
}

// Cancel ends a job of this origin: its programs get TERM, and after the site's KillWait what is left gets KILL.
func (c *Slurm) Cancel(ctx context.Context, id string) error {
	var jobs []slurmbridge.Job
	err := c.look(ctx, id, func(body io.Reader) (err error) {
		jobs, err = wire.ParseJobs(body, c.keeper.user())
		return err
	})
	for _, j := range jobs {
		if j.ID == id && j.Key.Origin() == c.origin && !j.Over() {
			return c.change(ctx, request{method: http.MethodDelete, path: "job/" + id})
		}
	}
	return err
}

// change changes a job. That there was nothing to change is no error.
func (c *Slurm) change(ctx context.Context, r request) error {
	r.limit = mostAnswer
	err := c.ask(ctx, r, wire.ParseDone)
	if f, ok := errors.AsType[*failure](err); ok && slices.ContainsFunc(f.faults, wire.RESTError.IsOver) {
		return nil
	}
	if f, ok := errors.AsType[wire.RESTError](err); ok && f.IsOver() {
		return nil
	}
	return err
}

// look asks for the job of an id: ids are given out again, so it is looked at before each change. Where nobody knows the
// id, read is not called.
func (c *Slurm) look(ctx context.Context, id string, read func(body io.Reader) error) error {
	if id == "" || strings.Trim(id, "0123456789") != "" {
		return nil
	}
	err := c.ask(ctx, request{path: "job/" + id, limit: mostAnswer}, read)
	if f, ok := errors.AsType[*failure](err); ok && slices.ContainsFunc(f.faults, wire.RESTError.IsUnknownJob) {
		return nil
	}
	return err
}

// Prober looks whether slurmctld answers and the work folder can be used, without a list of jobs.
type Prober struct {
	Slurm *Slurm
	// Files probes the work folder.
	Files slurmbridge.Prober
}

// Probe looks through both doors.
func (p Prober) Probe(ctx context.Context, workDir string) error {
	if err := p.Slurm.check(ctx); err != nil {
		return err
	}
	return p.Files.Probe(ctx, workDir)
}

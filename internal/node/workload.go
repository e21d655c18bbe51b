package node

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/inference"
	"assay.bench/internal/workloads/s3"
)

// workloadName is the workload of a client, for its result.
func workloadName(c *rundir.Client) string {
	switch {
	case c.Inference != nil:
		return "inference"
	case c.S3 != nil:
		return "s3"
	}
	return ""
}

// prepare makes the load of a repeat; offer is what it offers.
func (c *client) prepare(k int, offer load.Options, s start, clock load.Clock) (*load.Run, error) {
	workload, err := c.workload(k, s.endpoints, clock)
	if err != nil {
		return nil, err
	}
	offer.Clock, offer.Root, offer.Wall = clock, os.DirFS("/"), c.world.Now
	if !s.alone { // who is alone starts when all is prepared
		offer.T0 = s.t0.UnixNano()
		offer.Start = clock.Now() + offer.T0 - c.world.Now().UnixNano()
	}
	return load.New(offer, workload)
}

// workload makes the workload that the plan names.
func (c *client) workload(k int, servers []*rundir.Endpoint, clock load.Clock) (load.Workload, error) {
	if st := c.stage.Load(); st != nil {
		return st.objects, nil
	}
	if c.spec.Inference == nil {
		return nil, errors.New("the plan gives the client no workload that this assay-node knows: " +
			"use the assay and the assay-node of one release")
	}
	o := inference.Options{
		Plan: *c.spec.Inference, URL: c.spec.Target.URL, Client: c.name, Repeat: k,
		Seed:         load.RepeatSeed(c.spec.Seed, k),
		TimeoutFirst: c.spec.TimeoutFirst.D(), TimeoutIdle: c.spec.TimeoutIdle.D(), TimeoutTotal: c.spec.TimeoutTotal.D(),
		Clock: clock, Events: c.requestLog(),
	}
	o.TLS = trust(c.spec.Target.CA)
	if c.cred != nil {
		o.Token = c.cred.Token
	}
	if len(servers) == 0 {
		return inference.New(o)
	}
	if len(servers) > 1 && o.Events != nil {
		o.Events = &oneWriter{to: o.Events}
	}
	parts := make([]load.Workload, len(servers))
	for i, e := range servers {
		o.URL, o.Plan.Model = urlOf(e), cmp.Or(c.spec.Inference.Model, e.Model)
		var err error
		if parts[i], err = inference.New(o); err != nil {
			return nil, err
		}
	}
	return load.Spread(c.number, c.spec.Ranks, parts), nil
}

// oneWriter lets several workloads write lines to one file.
type oneWriter struct {
	mu sync.Mutex
	to io.Writer
}

// Write writes one line or more.
func (w *oneWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// trust is the configuration for an https URL whose authority the plan names; nil for those that the system trusts.
func trust(ca string) *tls.Config {
	if ca == "" {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca)) // none of what is none: then the server's certificate is refused
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func urlOf(e *rundir.Endpoint) string {
	return "http://" + net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
}

// objectsOf is the workload of an object store for a repeat of a client, for its first rank. Each repeat has a prefix of its
// own.
func objectsOf(spec *rundir.Client, cred *rundir.Credential, k int, clock load.Clock, wall func() time.Time) s3.Options {
	o := s3.Options{
		Plan: *spec.S3, URL: spec.Target.URL, Seed: load.RepeatSeed(spec.Seed, k), Clock: clock, Wall: wall, Ranks: spec.Ranks,
		Timeouts: http1.Timeouts{First: spec.TimeoutFirst.D(), Idle: spec.TimeoutIdle.D(), Total: spec.TimeoutTotal.D()},
		TLS:      trust(spec.Target.CA),
	}
	o.Plan.Prefix += "/r" + strconv.Itoa(k)
	switch {
	case spec.ClosedLoop != nil:
		o.InFlight, o.Closed = spec.ClosedLoop.Concurrency, true
	case spec.OpenLoop != nil:
		o.InFlight = spec.OpenLoop.MaxInFlight
	}
	if cred != nil {
		o.Credentials = s3.Credentials{AccessKey: cred.Username, SecretKey: cred.Password}
	}
	return o
}

// storer makes the workload of an object store for a repeat.
func (c *client) storer(k int, e *rundir.Endpoint, clock load.Clock) (storer, error) {
	o := objectsOf(c.spec, c.cred, k, clock, c.world.Now)
	o.Rank, o.Events = c.number, c.requestLog()
	if e != nil {
		if e.Protocol != rundir.ProtocolS3 {
			return nil, endf(rundir.ExitReasonSetUpFailed, "the service %s speaks %s, not S3: load it with another workload, or say in its command that it speaks S3",
				c.spec.Target.Service, e.Protocol)
		}
		o.URL = urlOf(e)
	}
	return s3.New(o)
}

// requestLog is where the workload writes one line for each request; nil when nobody asks for it, since it costs time.
// A server that logs its emissions asks: the two logs are there to be compared.
func (c *client) requestLog() io.Writer {
	if c.spec.RecordRequests {
		return c.spool.requests
	}
	for _, svc := range c.job.plan.Services {
		if svc.Name == c.spec.Target.Service && svc.Emissions != "" {
			return c.spool.requests
		}
	}
	return nil
}

// offer is the load of a repeat before its T0 is known. It takes the time to hash the schedule, which must not be taken
// beside the measurement.
func (c *client) offer(k int) (load.Options, error) {
	o := load.Options{
		Rank: c.number, Ranks: c.spec.Ranks, Seed: load.RepeatSeed(c.spec.Seed, k),
		Lengths: load.Lengths{Warmup: c.spec.Warmup.D(), Measure: c.spec.Duration.D(), Cooldown: c.spec.Cooldown.D()},
		Retries: c.spec.Retries, BackOff: c.spec.BackOff.D(), DrainTimeout: c.spec.TimeoutTotal.D(),
		Limits: load.Limits{SendLag: c.spec.Limits.SendLag.D(), RunQueueRatio: c.spec.Limits.RunQueueRatio},
	}
	if a := c.spec.Abort; a != nil {
		o.Abort = &load.Abort{ErrorRatio: a.ErrorRatio, Window: a.Window.D()}
	}
	if l := c.spec.ClosedLoop; l != nil {
		o.Closed = &load.ClosedLoop{Concurrency: l.Concurrency, ThinkTime: l.ThinkTime.D()}
	}
	if l := c.spec.OpenLoop; l != nil {
		o.Open = &load.OpenLoop{Rate: l.Rate, Arrival: l.Arrival, MaxInFlight: l.MaxInFlight}
	}
	var err error
	o.ScheduleHash, err = o.Hash()
	return o, err
}

package node

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"

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
	workload, err := c.workload(k, s.endpoint, clock)
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
func (c *client) workload(k int, e *rundir.Endpoint, clock load.Clock) (load.Workload, error) {
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
	if c.cred != nil {
		o.Token = c.cred.Token
	}
	if e != nil {
		if o.URL = urlOf(e); o.Plan.Model == "" {
			o.Plan.Model = e.Model
		}
	}
	return inference.New(o)
}

func urlOf(e *rundir.Endpoint) string {
	return "http://" + net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
}

// storer makes the workload of an object store for a repeat. Each repeat has a prefix of its own.
func (c *client) storer(k int, e *rundir.Endpoint, clock load.Clock) (storer, error) {
	o := s3.Options{
		Plan: *c.spec.S3, URL: c.spec.Target.URL, Seed: load.RepeatSeed(c.spec.Seed, k), Clock: clock, Wall: c.world.Now,
		Timeouts: http1.Timeouts{First: c.spec.TimeoutFirst.D(), Idle: c.spec.TimeoutIdle.D(), Total: c.spec.TimeoutTotal.D()},
	}
	o.Plan.Prefix += "/r" + strconv.Itoa(k)
	switch {
	case c.spec.ClosedLoop != nil:
		o.InFlight = c.spec.ClosedLoop.Concurrency
	case c.spec.OpenLoop != nil:
		o.InFlight = c.spec.OpenLoop.MaxInFlight
	}
	if c.cred != nil {
		o.Credentials = s3.Credentials{AccessKey: c.cred.Username, SecretKey: c.cred.Password}
	}
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

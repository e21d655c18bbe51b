package node

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/inference"
)

// workloadName is the workload of a client, for its result.
func workloadName(c *rundir.Client) string {
	if c.Inference != nil {
		return "inference"
	}
	return ""
}

// prepare makes the load of a repeat; offer is what it offers. done frees what it holds.
func (c *client) prepare(k int, offer load.Options, s start) (run *load.Run, done func(), err error) {
	clock, err := load.NewClock()
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = clock.Close() } // a timer
	workload, err := c.workload(k, s, clock)
	if err != nil {
		done()
		return nil, nil, err
	}
	offer.Clock, offer.Root, offer.Wall = clock, os.DirFS("/"), c.world.Now
	if !s.alone { // who is alone starts when all is prepared
		offer.T0 = s.t0.UnixNano()
		offer.Start = clock.Now() + offer.T0 - c.world.Now().UnixNano()
	}
	if run, err = load.New(offer, workload); err != nil {
		done()
		return nil, nil, err
	}
	return run, done, nil
}

// workload makes the workload that the plan names.
func (c *client) workload(k int, s start, clock load.Clock) (load.Workload, error) {
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
	if e := s.endpoint; e != nil {
		o.URL = "http://" + net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
		if o.Plan.Model == "" {
			o.Plan.Model = e.Model
		}
	}
	return inference.New(o)
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

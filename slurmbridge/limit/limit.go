// Package limit stands between the controllers and a site: it never lets the batch system be asked more often than the
// site bears, and it counts and times what the site is asked.
//
// Nothing is dropped: a request waits for its turn, for as long as its caller does. Who ends something goes before who
// starts something, and who only looks goes last. Once it is made it has AnswerWithin: a site that takes a request and
// never answers holds up nobody for ever.
package limit

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"assay.bench/slurmbridge"
)

// Door is what a transport opened. Prober, Dialer and Token are nil where it has none.
type Door struct {
	Jobs   slurmbridge.Jobs
	Files  slurmbridge.Files
	Prober slurmbridge.Prober
	Dialer slurmbridge.Dialer
	Token  slurmbridge.TokenHolder
}

// Options of New. Metrics is required.
type Options struct {
	// Namespace and Site name the Site in the metrics.
	Namespace, Site string
	// Rate of the requests to the batch system; the zero Rate is no limit.
	Rate    Rate
	Metrics *Metrics
}

// Limited is a door behind its limit. It holds the same optional interfaces as the door that it was made from.
type Limited struct {
	Door

	bucket *bucket
	end    func()
}

// New puts a limit before a door.
func New(d Door, o Options) *Limited {
	l := &Limited{bucket: newBucket(o.Rate)}
	gate := gate{bucket: l.bucket, meter: o.Metrics.enter(o.Namespace, o.Site, d.Token)}
	l.end = sync.OnceFunc(func() { o.Metrics.leave(gate.meter, d.Token) })
	l.Jobs = limitedJobs(d.Jobs, gate)
	l.Files = files{d.Files, gate}
	if d.Prober != nil {
		l.Prober = prober{d.Prober, gate}
	}
	if d.Dialer != nil {
		l.Dialer = dialer{d.Dialer, gate}
	}
	l.Token = d.Token // it asks nobody
	return l
}

// SetRate changes the limit, also for those who wait already.
func (l *Limited) SetRate(r Rate) { l.bucket.set(r) }

// Close ends the metrics of the site, unless another door of it is open.
func (l *Limited) Close() { l.end() }

// gate is where each request passes.
type gate struct {
	bucket *bucket
	meter  *siteMeter
}

// AnswerWithin is how long a site may take for one request. A slurmctld that is slow answers within its MessageTimeout,
// which sites raise to a minute; after that, what was asked for may have happened or not.
const AnswerWithin = 2 * time.Minute

// errSilent says that a request was given up.
var errSilent = fmt.Errorf("there was no answer within %s", AnswerWithin)

// ask makes one call, whose requests to the batch system each have a turn: the first before the call, and those after it
// where the transport has them (slurmbridge.Turn). The wait for a turn is no part of the time for an answer.
func (g gate) ask(ctx context.Context, verb string, p priority, call func(context.Context) error) error {
	r := &requests{gate: g, verb: verb, priority: p}
	if err := r.wait(ctx); err != nil {
		return err
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.silent = time.AfterFunc(AnswerWithin, func() { cancel(errSilent) })
	defer r.silent.Stop()
	err := call(slurmbridge.WithTurns(inner, r.turn))
	r.done(err)
	return err
}

// requests are those of one call, one after the other.
type requests struct {
	gate     gate
	verb     string
	priority priority
	// silent ends the call when there is no answer.
	silent *time.Timer
	// began is when the request began that is under way, the zero time while there is none.
	began time.Time
	// counted says that the transport has said of one request that it comes: the first had its turn before the call.
	counted bool
}

// turn lets a request of the call through.
func (r *requests) turn(ctx context.Context) error {
	if !r.counted {
		r.counted = true
		return nil
	}
	r.silent.Stop()
	r.done(nil)
	if err := r.wait(ctx); err != nil {
		return err
	}
	r.silent.Reset(AnswerWithin)
	return nil
}

// wait waits for a turn, with which a request begins.
func (r *requests) wait(ctx context.Context) error {
	came := time.Now()
	if err := r.gate.bucket.wait(ctx, r.priority); err != nil {
		return err
	}
	r.began = time.Now()
	r.gate.meter.waited(r.began.Sub(came))
	return nil
}

// done counts the request that was under way.
func (r *requests) done(err error) {
	if !r.began.IsZero() {
		r.gate.meter.asked(r.verb, time.Since(r.began), err)
	}
	r.began = time.Time{}
}

// count makes a request that is none to the batch system.
func (g gate) count(ctx context.Context, verb string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, AnswerWithin, errSilent)
	defer cancel()
	return g.time(verb, func() error { return call(ctx) })
}

// open makes a request whose answer is a stream, which may be read for as long as it takes.
func (g gate) open(ctx context.Context, verb string, call func(context.Context) (io.ReadCloser, error)) (r io.ReadCloser, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	silent := time.AfterFunc(AnswerWithin, func() { cancel(errSilent) })
	err = g.time(verb, func() error { r, err = call(ctx); return err })
	silent.Stop()
	end := func() { cancel(nil) }
	if err != nil {
		end()
		return nil, err
	}
	return stream{r, end}, nil
}

// stream is an open file, whose context ends with it.
type stream struct {
	io.ReadCloser

	end func()
}

// Close ends the stream.
func (s stream) Close() error {
	defer s.end()
	return s.ReadCloser.Close()
}

// time counts and times a request.
func (g gate) time(verb string, call func() error) error {
	began := time.Now()
	err := call()
	g.meter.asked(verb, time.Since(began), err)
	return err
}

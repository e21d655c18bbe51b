package llmsim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// errStopped is why requests end that outlive the grace of Serve.
var errStopped = errors.New("the server stops")

// Server is one simulated engine with its HTTP routes.
type Server struct {
	c         Config
	words     vocabulary
	queue     *queue
	stall     stall
	metrics   *metrics
	emissions *emissionLog // nil without a log
	started   time.Time    // on the monotonic clock, for Startup
	created   int64        // seconds since 1970, of the model
	ordinal   atomic.Uint64
	underWay  sync.RWMutex // held for reading by each request that generates
}

// New returns a server that behaves as c says, or what is wrong with c.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	s := &Server{
		c: c, words: newVocabulary(), queue: &queue{limit: c.MaxNumSeqs},
		metrics: newMetrics(c.Model, c.MaxModelLen, c.Now()), started: time.Now(), created: c.Now().Unix(),
	}
	s.metrics.watch(s.queue, c.Model, float64(c.MaxNumSeqs)*float64(c.MaxModelLen))
	if c.Stall != nil {
		s.stall.Stall = *c.Stall
	}
	if c.EmissionLog != nil {
		s.emissions = &emissionLog{out: c.EmissionLog}
	}
	return s, nil
}

// ready says whether the time of Startup is over.
func (s *Server) ready() bool { return time.Since(s.started) >= s.c.Startup }

// Serve answers on l until ctx ends. Then it closes l, lets the requests in flight end for Config.Grace and cuts off
// those that are left. When it returns, every record of the emission log is written. It returns nil after a stop, or
// the error of l or of the emission log.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(errStopped)
	srv := &http.Server{
		Handler:           s.Handler(),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(base, s.c.Grace)
		defer cancel()
		err = srv.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
	}
	cut(errStopped)
	err = errors.Join(err, srv.Close())
	s.underWay.Lock() // waits for the requests that were cut off
	defer s.underWay.Unlock()
	if s.emissions != nil {
		err = errors.Join(err, s.emissions.failure())
	}
	return err
}

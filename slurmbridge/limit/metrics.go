package limit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"assay.bench/slurmbridge"
)

// Metrics are what is counted of all sites of a process. A site is named by its namespace and its name; nothing is
// labelled by a job, so that the number of series is that of the sites times a constant.
type Metrics struct {
	duration, turns, queued   *prometheus.HistogramVec
	errors                    *prometheus.CounterVec
	duplicates, orphans, lost *prometheus.CounterVec
	jobs                      *prometheus.GaugeVec
	pollAge, tokenExpiry      *prometheus.Desc
	now                       func() time.Time

	mu    sync.Mutex
	sites map[[2]string]*siteMeter
}

// NewMetrics makes the metrics and registers them. now is the clock of the poll's age.
func NewMetrics(r prometheus.Registerer, now func() time.Time) (*Metrics, error) {
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, append(siteLabels(), labels...))
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(siteLabels(), labels...))
	}
	m := &Metrics{
		duration: histogram("slurmbridge_rpc_duration_seconds", "Time that a request to a site took, without the wait for its turn.",
			[]float64{.01, .05, .1, .5, 1, 5, 10, 60}, "verb"),
		turns: histogram("slurmbridge_rpc_turn_wait_seconds", "Time that a request waited for its turn under the limit of the site.",
			[]float64{.001, .1, 1, 10, 60}),
		queued: histogram("slurmbridge_queue_wait_seconds", "Time from the submit of a job to its start, by the site's clock.",
			[]float64{1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}),
		errors:     counter("slurmbridge_rpc_errors_total", "Requests to a site that ended with an error, a refusal among them.", "verb"),
		duplicates: counter("slurmbridge_duplicates_prevented_total", "Jobs that a second submit would have doubled and that were adopted, or that were cancelled as doubles."),
		orphans:    counter("slurmbridge_orphans_cancelled_total", "Jobs that were cancelled because nothing wanted them any more."),
		lost:       counter("slurmbridge_jobs_lost_total", "Jobs that the batch system did not know any more."),
		jobs: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "slurmbridge_jobs", Help: "SlurmJobs of a site by the phase in their status; Waiting for those without one.",
		}, append(siteLabels(), "state")),
		pollAge: prometheus.NewDesc("slurmbridge_poll_age_seconds",
			"Time since the batch system last listed the jobs, while there are some.", siteLabels(), nil),
		tokenExpiry: prometheus.NewDesc("slurmbridge_token_expiry_timestamp_seconds",
			"When the token ends that the site was asked with last.", siteLabels(), nil),
		now: now, sites: map[[2]string]*siteMeter{},
	}
	if err := r.Register(m); err != nil {
		return nil, fmt.Errorf("metrics of the bridge: %w", err)
	}
	return m, nil
}

func siteLabels() []string { return []string{"namespace", "site"} }

// vectors are all that keep a value of their own.
func (m *Metrics) vectors() []interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
} {
	return []interface {
		prometheus.Collector
		DeletePartialMatch(labels prometheus.Labels) int
	}{m.duration, m.turns, m.queued, m.errors, m.duplicates, m.orphans, m.lost, m.jobs}
}

// Describe tells what there is.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, v := range m.vectors() {
		v.Describe(out)
	}
	out <- m.pollAge
	out <- m.tokenExpiry
}

// Collect tells how it stands.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, v := range m.vectors() {
		v.Collect(out)
	}
	m.mu.Lock()
	sites := maps.Clone(m.sites)
	m.mu.Unlock()
	for name, s := range sites {
		age, expires := s.instants(m.now())
		if age > 0 {
			out <- prometheus.MustNewConstMetric(m.pollAge, prometheus.GaugeValue, age.Seconds(), name[0], name[1])
		}
		if !expires.IsZero() {
			out <- prometheus.MustNewConstMetric(m.tokenExpiry, prometheus.GaugeValue, float64(expires.Unix()), name[0], name[1])
		}
	}
}

// DuplicatesPrevented counts jobs that would have run twice.
func (m *Metrics) DuplicatesPrevented(namespace, site string, n int) {
	m.duplicates.WithLabelValues(namespace, site).Add(float64(n))
}

// OrphanCancelled counts a job that nothing wanted any more.
func (m *Metrics) OrphanCancelled(namespace, site string) {
	m.orphans.WithLabelValues(namespace, site).Inc()
}

// Lost counts a job that the batch system forgot.
func (m *Metrics) Lost(namespace, site string) { m.lost.WithLabelValues(namespace, site).Inc() }

// Queued takes the time that a job was in the queue.
func (m *Metrics) Queued(namespace, site string, wait time.Duration) {
	m.queued.WithLabelValues(namespace, site).Observe(max(0, wait.Seconds()))
}

// Jobs sets the number of a site's jobs by state, and how many of them the batch system may know: without any, no list
// is due.
func (m *Metrics) Jobs(namespace, site string, byState map[string]int, live int) {
	m.jobs.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "site": site})
	for state, n := range byState {
		m.jobs.WithLabelValues(namespace, site, state).Set(float64(n))
	}
	m.site(namespace, site).setLive(live, m.now())
}

// site is the meter of a site, which it makes where there is none.
func (m *Metrics) site(namespace, name string) *siteMeter {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{namespace, name}
	if m.sites[key] == nil {
		m.sites[key] = &siteMeter{metrics: m, namespace: namespace, name: name}
		// The counters are there from the start, so that the first event is an increase.
		for _, c := range []*prometheus.CounterVec{m.duplicates, m.orphans, m.lost} {
			c.WithLabelValues(namespace, name)
		}
	}
	return m.sites[key]
}

// enter is site for a door that is opened, with its token where it has one.
func (m *Metrics) enter(namespace, name string, token slurmbridge.TokenHolder) *siteMeter {
	s := m.site(namespace, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doors = append(s.doors, token)
	return s
}

// leave ends the metrics of a site when the last of its doors is shut: a new one is opened before the old one is shut.
func (m *Metrics) leave(s *siteMeter, token slurmbridge.TokenHolder) {
	s.mu.Lock()
	if i := slices.Index(s.doors, token); i >= 0 {
		s.doors = slices.Delete(s.doors, i, i+1)
	}
	last := len(s.doors) == 0
	s.mu.Unlock()
	if last {
		m.forget(s.namespace, s.name)
	}
}

// forget drops all series of a site.
func (m *Metrics) forget(namespace, name string) {
	m.mu.Lock()
	delete(m.sites, [2]string{namespace, name})
	m.mu.Unlock()
	for _, v := range m.vectors() {
		v.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "site": name})
	}
}

// siteMeter is what is counted of one site.
type siteMeter struct {
	metrics         *Metrics
	namespace, name string

	mu sync.Mutex
	// doors are the tokens of the doors that are open, the newest last; nil for one without.
	doors []slurmbridge.TokenHolder
	live  int
	// since is when the newest good list came, or when the first job did of which one is due.
	since time.Time
}

// asked takes a request that was made.
func (s *siteMeter) asked(verb string, took time.Duration, err error) {
	s.metrics.duration.WithLabelValues(s.namespace, s.name, verb).Observe(took.Seconds())
	failed := s.metrics.errors.WithLabelValues(s.namespace, s.name, verb)
	if err != nil && !errors.Is(err, slurmbridge.ErrNoAccounting) {
		failed.Inc()
	}
}

// waited takes the time until a turn came.
func (s *siteMeter) waited(length time.Duration) {
	s.metrics.turns.WithLabelValues(s.namespace, s.name).Observe(length.Seconds())
}

// listed notes a good list.
func (s *siteMeter) listed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = s.metrics.now()
}

func (s *siteMeter) setLive(live int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == 0 && live > 0 {
		s.since = now
	}
	s.live = live
}

// instants are the age of the poll, 0 where no list is due, and when the token ends.
func (s *siteMeter) instants(now time.Time) (age time.Duration, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live > 0 {
		age = max(time.Nanosecond, now.Sub(s.since))
	}
	if n := len(s.doors); n > 0 && s.doors[n-1] != nil {
		expires, _ = s.doors[n-1].Token()
	}
	return age, expires
}

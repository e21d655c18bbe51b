package rundir

// Counters is r<k>/counters.json of a service's rank: what its counters said before the first request of a repeat and
// after the last, and how well it was watched.
type Counters struct {
	Version int             `json:"version"`
	Service string          `json:"service"`
	Rank    int             `json:"rank"`
	Repeat  int             `json:"repeat"`
	Targets []CounterTarget `json:"targets"`
}

// CounterTarget is one scrape target over one repeat.
type CounterTarget struct {
	Name string `json:"name"`
	// Due scrapes and Good ones; their ratio is the coverage.
	Due  int64 `json:"due"`
	Good int64 `json:"good"`
	// FirstGood and LastGood say whether the scrapes that count, the first and the last, worked: without both the
	// increases are lower bounds.
	FirstGood bool `json:"firstGood"`
	LastGood  bool `json:"lastGood"`
	// Error is the last failure's words.
	Error  string          `json:"error,omitempty"`
	Series []CounterSeries `json:"series"`
}

// CounterSeries is one counter. Buckets, counts and sums of histograms and summaries are counters too.
type CounterSeries struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	First  float64           `json:"first"`
	Last   float64           `json:"last"`
	// Resets is how often the counter fell; Increase is last - first plus what was counted before each fall.
	Resets   int     `json:"resets,omitempty"`
	Increase float64 `json:"increase"`
}

// Increase sums the increases of the series that a check asks for. known is false when the target or the metric is
// missing, or when the first or the last scrape failed: a metric that has series, but none with these labels, has not
// counted any such thing.
func (c *Counters) Increase(check CrossCheck) (sum float64, known bool) {
	for _, t := range c.Targets {
		if t.Name != check.Target || !t.FirstGood || !t.LastGood {
			continue
		}
		for _, s := range t.Series {
			if s.Name != check.Metric {
				continue
			}
			known = true
			if s.has(check.Labels) {
				sum += s.Increase
			}
		}
	}
	return sum, known
}

// Read says that the scrapes of a target that count, the first and the last, worked.
func (c *Counters) Read(target string) bool {
	for _, t := range c.Targets {
		if t.Name == target && t.FirstGood && t.LastGood {
			return true
		}
	}
	return false
}

func (s *CounterSeries) has(labels map[string]string) bool {
	for name, value := range labels {
		if s.Labels[name] != value {
			return false
		}
	}
	return true
}

// ParseCounters reads counters.json. An unknown version is a *VersionError.
func ParseCounters(b []byte) (*Counters, error) {
	var c Counters
	if err := parse(CountersFile, b, &c); err != nil {
		return nil, err
	}
	return &c, nil
}

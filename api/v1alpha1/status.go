package v1alpha1

// Ended says that there was a run and that its outcome is stored. The condition Complete speaks of the Benchmark: it
// becomes False again as soon as another run is asked for.
func (r *RunStatus) Ended() bool { return r != nil && r.EndTime != nil }

// GetStatus returns the status itself, not a copy.
func (o *Site) GetStatus() *SiteStatus { return &o.Status }

// GetStatus returns the status itself, not a copy.
func (o *Benchmark) GetStatus() *BenchmarkStatus { return &o.Status }

// GetStatus returns the status itself, not a copy.
func (o *Service) GetStatus() *ServiceStatus { return &o.Status }

// GetStatus returns the status itself, not a copy.
func (o *LoadClient) GetStatus() *LoadClientStatus { return &o.Status }

// GetStatus returns the status itself, not a copy.
func (o *SlurmJob) GetStatus() *SlurmJobStatus { return &o.Status }

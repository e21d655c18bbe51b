package v1alpha1

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

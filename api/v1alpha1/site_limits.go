package v1alpha1

// SiteLimits bound what the jobs of a Site take, and how often its batch system is asked.
//
// +kubebuilder:validation:XValidation:rule="!has(self.rate) || double(self.rate) >= 0.05",message="rate is below 0.05, one request in 20 seconds, at which no job would be followed"
// +kubebuilder:validation:XValidation:rule="!has(self.rate) || double(self.rate) <= 1000.0",message="rate is above 1000 requests a second, which limits nothing, so leave it out"
type SiteLimits struct {
	// rate is how many requests a second the batch system is sent at most, over a longer time. Where it is left out that
	// is 5 for Slurm, and no limit for local and sim.
	// +optional
	Rate Decimal `json:"rate,omitempty"`
	// burst is how many requests may follow each other at once after a silence. Where it is left out that is 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Burst int32 `json:"burst,omitempty"`
	// jobs is how many SlurmJobs may be with the batch system at a time, in its queue or on its nodes. The others wait with
	// the reason SiteBusy, and go in the order of their creation. No limit where it is left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Jobs int32 `json:"jobs,omitempty"`
	// gpuHours is how many GPU-hours this Site's jobs may use, all together and for ever: what they have used, and for each
	// that has not ended its GPUs times its time limit. It counts from when it was set. No limit where it is left out.
	// +optional
	GPUHours Decimal `json:"gpuHours,omitempty"`
}

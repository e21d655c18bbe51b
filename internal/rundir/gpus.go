package rundir

// GPUCheck is what came of the comparison of the GPUs that a step may use with those that its server sees.
type GPUCheck struct {
	// State is GPUVerified, GPUUnverified or GPUWrong.
	State string `json:"state"`
	// Message says why they could not be compared, or how they differ; empty for GPUVerified.
	Message string `json:"message,omitempty"`
	// Given are the UUIDs of the devices that the step may use, Seen those that its server sees; a part of a GPU (MIG) has
	// a UUID of its own. A device that the server is told to use and that nothing lists is called as it was told.
	Given []string `json:"given,omitempty"`
	Seen  []string `json:"seen,omitempty"`
}

// States of a GPUCheck.
const (
	// GPUVerified: the server sees the devices that its step was given, and no other.
	GPUVerified = "Verified"
	// GPUUnverified: nothing told the devices apart, as on a node without nvidia-smi.
	GPUUnverified = "Unverified"
	// GPUWrong: the server would use another device, or lack one.
	GPUWrong = "Wrong"
)
